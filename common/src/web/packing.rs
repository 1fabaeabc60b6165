//! Answers that are made while somebody waits, compressed as the client likes: JSON, problems, and metrics.
//!
//! What holds a secret stays as it is. The length of a compressed answer says how much of a text that somebody chose
//! occurs in the rest of it (BREACH). Tokens are answers to POST, and codes are below `/dev/`; both are left alone.

use std::io::{self, Write as _};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use tokio::sync::Semaphore;

use crate::web::coding::Coding;
use crate::web::http::{Answer, whole};

/// Below this many bytes an answer fits into one packet, however it is coded.
const LEAST_BYTES: u64 = 1024;
/// Above this many bytes packing would hold too much memory and time; no answer of ours is that large.
const MOST_BYTES: u64 = 16 << 20;
/// How many answers of a process are packed at once. Who comes when all are taken gets the plain answer at once.
const PACKED_AT_ONCE: usize = 4;
/// The lowest with all of Brotli's cheap models. Of the 94 KB of `/metrics` it leaves 6.3 KB, and gzip 7.4 KB.
const BROTLI_QUALITY: i32 = 5;
/// The window, as the power of two that is its bytes. It decides how much memory is taken.
const BROTLI_WINDOW: i32 = 18;

static PLACES: Semaphore = Semaphore::const_new(PACKED_AT_ONCE);

/// What a request says about how its answer may be packed.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    coding: Coding,
    /// Whether its answer, if it is no refusal, may hold a secret.
    is_secret: bool,
}

impl Packing {
    /// Looks at a plain request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        // A client that excludes every coding still has to know how its call went.
        let coding = Coding::choose(request.headers()).unwrap_or(Coding::Identity);
        let is_secret = request.method() != Method::GET || request.uri().path().starts_with("/dev/");
        Self { coding, is_secret }
    }

    /// The answer as the client likes it, if it is a whole one of a kind that is packed.
    pub async fn pack(self, mut answer: Answer) -> Answer {
        if !self.may_pack(&answer) {
            return answer;
        }
        answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        let is_fit = |bytes: u64| (LEAST_BYTES..=MOST_BYTES).contains(&bytes);
        let is_packed =
            self.coding != Coding::Identity && answer.body().size_hint().exact().is_some_and(is_fit);
        let Some(_place) = is_packed.then(|| PLACES.try_acquire().ok()).flatten() else { return answer };
        let (mut head, body) = answer.into_parts();
        let plain = body.collect().await.map(http_body_util::Collected::to_bytes);
        let Ok(plain) = plain else { unreachable!("a body of a known length is in memory") };
        let (coding, kept) = (self.coding, plain.clone());
        // It takes milliseconds, in which this thread has others to serve.
        let packed = tokio::task::spawn_blocking(move || packed(coding, &plain)).await;
        let body = match packed {
            Ok(Ok(packed)) => {
                head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
                packed.into()
            }
            // Only if the process ends, or has no memory.
            Ok(Err(_)) | Err(_) => kept,
        };
        whole(hyper::Response::from_parts(head, Full::new(body)))
    }

    fn may_pack(self, answer: &Answer) -> bool {
        let headers = answer.headers();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let is_kind = match kind {
            "application/problem+json" => true,
            "application/json" | "application/openmetrics-text" | "text/plain" => !self.is_secret,
            _ => false,
        };
        is_kind && !headers.contains_key(header::CONTENT_ENCODING)
    }
}

fn packed(coding: Coding, mut plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(plain.len() / 4);
    match coding {
        Coding::Identity => packed.extend_from_slice(plain),
        Coding::Gzip => {
            let mut packing = GzEncoder::new(&mut packed, Compression::default());
            packing.write_all(plain)?;
            packing.finish()?;
        }
        Coding::Brotli => {
            let params = BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: BROTLI_WINDOW,
                size_hint: plain.len(),
                ..BrotliEncoderParams::default()
            };
            brotli::BrotliCompress(&mut plain, &mut packed, &params)?;
        }
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use hyper::StatusCode;

    use super::*;
    use crate::web::http::{json, refuse};

    async fn coded(line: &str, accept: &str, answer: Answer) -> (String, String, Bytes) {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("accept-encoding", accept);
        let answer = Packing::of(&request.body(()).unwrap()).pack(answer).await;
        let named = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let said = (named(header::CONTENT_ENCODING), named(header::VARY));
        (said.0, said.1, answer.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn what_is_large_and_no_secret_is_packed_as_the_client_likes() {
        let value = "abc ".repeat(1000);
        let plain = serde_json::to_vec(&value).unwrap();
        for (accept, coding) in
            [("gzip", "gzip"), ("br, gzip", "br"), ("", ""), ("gzip;q=0", ""), ("*", "br"), ("*;q=0", "")]
        {
            let (said, vary, body) = coded("GET /v1/x", accept, json(StatusCode::OK, &value)).await;
            assert_eq!((&*said, &*vary), (coding, "accept-encoding"), "{accept}");
            let mut unpacked = Vec::new();
            match coding {
                "gzip" => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).unwrap()),
                "br" => brotli::BrotliDecompress(&mut &body[..], &mut unpacked).unwrap(),
                _ => unpacked = body.to_vec(),
            }
            assert!(unpacked == plain && (coding.is_empty() || body.len() < 100), "{accept}");
        }
    }

    #[tokio::test]
    async fn what_is_small_or_may_hold_a_secret_stays_as_it_is() {
        let long = "x".repeat(2000);
        for line in ["POST /v1/auth/refresh", "GET /dev/outbox", "DELETE /v1/x"] {
            let (said, vary, _) = coded(line, "br", json(StatusCode::OK, &long)).await;
            assert_eq!((&*said, &*vary), ("", ""), "{line}");
        }
        let (said, vary, _) = coded("GET /v1/x", "br", json(StatusCode::OK, &"x".repeat(1021))).await;
        assert_eq!((&*said, &*vary), ("", "accept-encoding"), "1023 bytes");
        let (said, ..) = coded("GET /v1/x", "br", json(StatusCode::OK, &"x".repeat(1022))).await;
        assert_eq!(said, "br", "1024 bytes");
        let refused = refuse(StatusCode::BAD_REQUEST, "bad_message", &long);
        assert_eq!(coded("POST /v1/auth/refresh", "br", refused).await.0, "br", "a refusal holds no secret");
    }
}
