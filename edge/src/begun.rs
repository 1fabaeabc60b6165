//! A connection whose first bytes were read already, and are read again from memory.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use soundoff_common::web::paced::Reset;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connection, and the bytes that come before what it still brings.
#[derive(Debug)]
pub(crate) struct Begun {
    stream: TcpStream,
    read: Vec<u8>,
    /// How many bytes of `read` have been read again.
    at: usize,
}

impl Begun {
    pub(crate) fn new(stream: TcpStream, read: Vec<u8>) -> Self {
        Self { stream, read, at: 0 }
    }

    /// The bare connection. All of `read` must have been read again.
    pub(crate) fn into_inner(self) -> TcpStream {
        debug_assert_eq!(self.at, self.read.len());
        self.stream
    }
}

impl Reset for Begun {
    fn reset(&self) {
        self.stream.reset();
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let left = &self.read[self.at..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        self.at += taken;
        if self.at == self.read.len() {
            // Connections live long: the memory is freed at once.
            (self.read, self.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
}
