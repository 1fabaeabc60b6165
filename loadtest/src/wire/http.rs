//! The part of HTTP/1.1 that answers on a kept connection need.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// No answer of a server under test has a longer head.
const HEAD_BYTES: usize = 16 * 1024;

/// An answer's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Its length with the empty line.
    pub(super) bytes: usize,
    /// The body's length.
    length: usize,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Range<usize>,
}

/// The head at the start of some bytes, once it is complete.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        ensure!(bytes.len() < HEAD_BYTES, "the server's answer has no end of its head");
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).context("the server's answer is no HTTP")?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3));
    let status =
        status.and_then(|status| status.parse().ok()).context("the server's answer is no HTTP/1.1")?;
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("the server's content-length is no number")?;
        }
        ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "the server answers in chunks");
    }
    Ok(Some(Head { status, bytes: end + 4, length }))
}

/// The answer at the start of some bytes, once it is complete.
pub(super) fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(head) = head(bytes)? else { return Ok(None) };
    let body = head.bytes..head.bytes + head.length;
    Ok((bytes.len() >= body.end).then_some(Answer { status: head.status, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nokHTTP/1.1 ";
        let end = text.len() - 9;
        for cut in 0..end {
            assert_eq!(answer(&text[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(answer(text).unwrap(), Some(Answer { status: 200, body: end - 2..end }));
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(answer(chunks).unwrap_err().to_string().contains("chunks"));
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
    }
}
