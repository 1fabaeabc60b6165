//! A connection whose other end must take what it is sent: who asks and reads slowly, or not at all, holds our memory
//! and a place that others wait for.

use std::future::Future as _;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The kernel keeps about so many bytes of a connection that the network has not taken yet
/// (`TCP_NOTSENT_LOWAT`). Without it, it may keep megabytes, and nobody sees how slowly they are taken.
pub const UNSENT_BYTES: u32 = 16 * 1024;

/// The least pace of a peer while something waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many bytes it must take …
    pub bytes: usize,
    /// … in such a time, from when something began to wait.
    pub within: Duration,
}

impl Pace {
    /// As slow as the slowest upload may be. The time is longer than that of uploads: the kernel takes what waits in
    /// steps of up to 80 KiB.
    pub const LEAST: Self = Self { bytes: 64 * 1024, within: Duration::from_secs(20) };
}

/// When it is cancelled, the connection that a request came on ends at its next write, or at once if one waits. The
/// servers attach it to each request.
#[derive(Debug, Clone, Default)]
pub struct Hangup(pub CancellationToken);

/// What can be ended without what was written to it being sent.
pub trait Reset {
    /// Lets the end of the connection be a reset: what the kernel still holds of it is dropped, too.
    fn reset(&self);
}

impl Reset for TcpStream {
    fn reset(&self) {
        // If it fails, the kernel holds some 100 KB for a while longer.
        let _ = self.set_zero_linger();
    }
}

/// A connection that ends when its peer is slower than a [`Pace`], or when it is hung up.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    pace: Pace,
    hangup: Hangup,
    wait: Option<Wait>,
}

/// A stretch of time in which something waited.
#[derive(Debug)]
struct Wait {
    until: Pin<Box<Sleep>>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    taken: usize,
}

impl<S: Reset> Paced<S> {
    /// Holds the other end of `stream` to `pace`.
    pub fn new(stream: S, pace: Pace, hangup: Hangup) -> Self {
        Self { stream, pace, hangup, wait: None }
    }

    /// The bare connection.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// What a write with this outcome means.
    fn judge(&mut self, cx: &mut Context<'_>, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                if let Some(wait) = &mut self.wait {
                    wait.taken += bytes;
                    if wait.taken >= self.pace.bytes {
                        self.wait = None;
                    }
                }
                wrote
            }
            Poll::Ready(Err(_)) => wrote,
            Poll::Pending => {
                let begin = || Wait {
                    until: Box::pin(sleep(self.pace.within)),
                    hung_up: Box::pin(self.hangup.0.clone().cancelled_owned()),
                    taken: 0,
                };
                let wait = self.wait.get_or_insert_with(begin);
                if wait.hung_up.as_mut().poll(cx).is_pending() {
                    ready!(wait.until.as_mut().poll(cx));
                }
                Poll::Ready(Err(self.cut()))
            }
        }
    }

    fn cut(&self) -> Error {
        self.stream.reset();
        Error::new(ErrorKind::TimedOut, "the peer reads too slowly")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Reset + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.hangup.0.is_cancelled() {
            return Poll::Ready(Err(self.cut()));
        }
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, wrote)
    }

    /// Everything was taken, and nothing waits any more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.wait = None;
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
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.hangup.0.is_cancelled() {
            return Poll::Ready(Err(self.cut()));
        }
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, wrote)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    impl Reset for DuplexStream {
        fn reset(&self) {}
    }

    /// Sends a megabyte to a reader that takes `bytes` every `pause`; returns for how long that went well.
    async fn sent_to(bytes: usize, pause: Duration) -> (Result<()>, Duration) {
        let (ours, mut theirs) = duplex(8 * 1024);
        let mut ours = Paced::new(ours, Pace::LEAST, Hangup::default());
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; bytes];
            loop {
                tokio::time::sleep(pause).await;
                if theirs.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let begun = Instant::now();
        let sent = ours.write_all(&vec![0; 1 << 20]).await;
        reading.abort();
        (sent, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_below_the_pace_is_cut_and_its_own_traffic_puts_nothing_off() {
        let second = Duration::from_secs(1);
        for (what, bytes, pause) in [
            ("silent", 1, 1000 * second),
            ("a byte at a time", 1, second),
            ("a little too slow", 3 << 10, second),
            ("in gulps", 30 << 10, 10 * second),
        ] {
            let (sent, took) = sent_to(bytes, pause).await;
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::TimedOut, "{what}");
            assert!(took <= 2 * Pace::LEAST.within, "{what}: {took:?}");
        }
        for (what, bytes, pause) in
            [("slow", 4 << 10, second), ("in gulps, but enough", 80 << 10, 18 * second)]
        {
            let (sent, took) = sent_to(bytes, pause).await;
            assert!(sent.is_ok() && took > 5 * Pace::LEAST.within, "{what}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_answer() {
        let (ours, mut theirs) = duplex(8 * 1024);
        let mut ours = Paced::new(ours, Pace::LEAST, Hangup::default());
        for _ in 0..3 {
            let reading = async {
                take(&mut theirs, 10_000).await;
                Ok(())
            };
            tokio::try_join!(ours.write_all(&[0; 10_000]), reading).unwrap();
            ours.flush().await.unwrap();
            // The next request comes later than a slow reader would have been cut.
            tokio::time::sleep(2 * Pace::LEAST.within).await;
        }
    }

    async fn take(theirs: &mut DuplexStream, bytes: usize) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        theirs.read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_hung_up_on_is_cut_at_once() {
        for is_waiting in [true, false] {
            let (ours, _theirs) = duplex(8 * 1024);
            let hangup = Hangup::default();
            let mut ours = Paced::new(ours, Pace::LEAST, hangup.clone());
            let begun = Instant::now();
            // In a task of its own: only the cut itself may wake the write.
            let ending = tokio::spawn(async move {
                if is_waiting {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                hangup.0.cancel();
            });
            if !is_waiting {
                ending.await.unwrap();
            }
            let sent = ours.write_all(&vec![0; 1 << 20]).await;
            assert!(sent.is_err() && begun.elapsed() < Duration::from_secs(2), "{is_waiting}");
        }
    }
}
