//! Deliveries as workers post them, one after the other on kept connections: judged by their head, read and answered
//! without a general HTTP server.
//!
//! All other requests are left to HTTP, and so are the refusals.

use std::io::ErrorKind;
use std::time::Duration;

use hyper::Method;
use soundoff_common::pipeline::deliver::{DELIVER_PATH, MAX_REQUEST_BYTES, Promised, SIGNED_HEADER};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::deliver::{self, Refused};
use crate::edge::Edge;
use crate::places::Seat;

/// How long a signed request's body, and then its answer, may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sender may say nothing. Workers close after 90 s, before they meet a connection that is being closed.
const IDLE: Duration = Duration::from_secs(100);
/// The most header fields of a post; workers send half a dozen.
const FIELDS: usize = 16;
/// Header fields that change how a post ends or goes on.
const UNUSUAL: [&str; 4] = ["transfer-encoding", "connection", "expect", "upgrade"];
/// The least room that is made for what comes next, and the most that a head may have.
const READ_BYTES: usize = 4096;
/// The most memory that a waiting connection keeps. A larger body waits for memory.
const KEPT_BYTES: usize = 64 * 1024;

/// What the bytes begin with.
#[derive(Debug, PartialEq, Eq)]
enum Begins<'a> {
    /// A post of deliveries: the lengths of its header and body in bytes, and the signature. Its body may still be
    /// incomplete.
    Post {
        header: usize,
        body: usize,
        signed: &'a str,
    },
    /// Too few bytes to decide.
    Unclear,
    Other,
}

/// What is left to HTTP.
pub(crate) struct Rest {
    /// What was read of it.
    pub(crate) read: Vec<u8>,
    /// Deliveries that must be refused.
    pub(crate) refused: Option<Refused>,
}

/// A post whose head was found good.
struct Good {
    header: usize,
    body: usize,
    promised: Promised,
}

/// Takes deliveries until the connection ends or brings something else.
pub(crate) async fn serve(edge: &Edge, seat: &mut Seat, stream: &TcpStream) -> Option<Rest> {
    let mut read = Vec::new();
    let mut until = seat.first();
    loop {
        let judged = match begins(&read) {
            Begins::Post { header, body, signed } => {
                deliver::judge(edge, body, signed).map(|promised| Good { header, body, promised })
            }
            Begins::Unclear => {
                more(stream, &mut read, READ_BYTES, until).await?;
                continue;
            }
            Begins::Other => return Some(Rest { read, refused: None }),
        };
        let taken = match judged {
            Ok(good) => {
                seat.prove();
                take(edge, seat, stream, &mut read, good).await?
            }
            Err(refused) => Err(refused),
        };
        if let Err(refused) = taken {
            return Some(Rest { read, refused: Some(refused) });
        }
        if read.is_empty() {
            read.shrink_to(KEPT_BYTES);
        }
        until = Instant::now() + IDLE;
    }
}

/// Reads the rest of a post, takes it and answers it; `None` when the connection ends or is too slow.
async fn take(
    edge: &Edge,
    seat: &Seat,
    stream: &TcpStream,
    read: &mut Vec<u8>,
    good: Good,
) -> Option<Result<(), Refused>> {
    let Good { header, body, promised } = good;
    if body > MAX_REQUEST_BYTES {
        return Some(Err(Refused::TooLarge));
    }
    let (whole, until) = (header + body, Instant::now() + BODY_TIMEOUT);
    let _memory = if body > KEPT_BYTES { Some(seat.memory(body, until).await?) } else { None };
    while read.len() < whole {
        let wanted = whole - read.len();
        more(stream, read, wanted, until).await?;
    }
    let said = match deliver::take(edge, &promised, &read[header..whole]) {
        Ok(said) => said,
        Err(refused) => return Some(Err(refused)),
    };
    write(stream, &answer(&said), until).await?;
    read.drain(..whole);
    Some(Ok(()))
}

/// The answer to deliveries that were taken, as it goes over the wire.
fn answer(body: &[u8]) -> Vec<u8> {
    let mut answer = Vec::with_capacity(128 + body.len());
    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ");
    answer.extend_from_slice(body.len().to_string().as_bytes());
    answer.extend_from_slice(b"\r\n\r\n");
    answer.extend_from_slice(body);
    answer
}

fn begins(bytes: &[u8]) -> Begins<'_> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let header = match request.parse(bytes) {
        Ok(httparse::Status::Complete(header)) => header,
        Ok(httparse::Status::Partial) if bytes.len() < READ_BYTES => return Begins::Unclear,
        _ => return Begins::Other,
    };
    let what = (request.method, request.path, request.version);
    if what != (Some(Method::POST.as_str()), Some(DELIVER_PATH), Some(1)) {
        return Begins::Other;
    }
    let (mut body, mut signed) = (None, None);
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let slot = if is("content-length") {
            &mut body
        } else if is(SIGNED_HEADER) {
            &mut signed
        } else if UNUSUAL.into_iter().any(is) {
            return Begins::Other;
        } else {
            continue;
        };
        let Ok(value) = std::str::from_utf8(field.value) else { return Begins::Other };
        if slot.replace(value).is_some() {
            return Begins::Other;
        }
    }
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let body = body.filter(digits).and_then(|body| body.parse().ok());
    match (body, signed) {
        (Some(body), Some(signed)) => Begins::Post { header, body, signed },
        _ => Begins::Other,
    }
}

/// Reads more; `None` when nothing more comes in time.
async fn more(stream: &TcpStream, read: &mut Vec<u8>, wanted: usize, until: Instant) -> Option<()> {
    // Bytes that are only announced take no room yet.
    read.reserve(wanted.clamp(READ_BYTES, KEPT_BYTES));
    loop {
        match stream.try_read_buf(read) {
            Ok(0) => return None,
            Ok(_) => return Some(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        timeout_at(until, stream.readable()).await.ok()?.ok()?;
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8], until: Instant) -> Option<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                timeout_at(until, stream.writable()).await.ok()?.ok()?;
            }
            Err(_) => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_post_of_deliveries_is_taken() {
        let post = "POST /deliver HTTP/1.1\r\nhost: x\r\nContent-Length: 4\r\nX-SoundOff-Signed: a b\r\n\r\n";
        let expected = Begins::Post { header: post.len(), body: 4, signed: "a b" };
        assert_eq!(begins(format!("{post}body and more").as_bytes()), expected);
        for end in 0..post.len() {
            assert_eq!(begins(&post.as_bytes()[..end]), Begins::Unclear, "{end} bytes");
        }
        for (from, to) in [
            ("POST", "PUT"),
            ("/deliver", "/deliver?"),
            ("/deliver", "/metrics"),
            ("1.1", "1.0"),
            ("host: x", "connection: close"),
            ("host: x", "Transfer-Encoding: chunked"),
            ("host: x", "expect: 100-continue"),
            ("host: x", "content-length: 4"),
            ("host: x", "x-soundoff-signed: a b"),
            ("Length: 4", "Length: +4"),
            ("Length: 4", "Length: 99999999999999999999"),
            ("Length: 4", "Length: "),
            ("Content-Length", "Content-Size"),
            ("X-SoundOff-Signed", "x-soundoff-signature"),
            ("Signed: a b", "Signed: \u{e9}\u{0}"),
        ] {
            let other = post.replacen(from, to, 1);
            assert_eq!(begins(other.as_bytes()), Begins::Other, "{to} instead of {from}");
        }
        assert_eq!(begins(format!("POST /{}", "x".repeat(READ_BYTES)).as_bytes()), Begins::Other);
    }
}
