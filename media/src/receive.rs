//! From a request's body to a blob: piece by piece, bounded in bytes and time, refused as soon as it turns out to be no
//! picture.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use soundoff_common::ports::blobs::BlobWriter;
use soundoff_common::web::http::{Answer, refuse};
use tokio_util::sync::CancellationToken;

use crate::config::MediaConfig;
use crate::kind::{Kind, SNIFF_BYTES, describe};
use crate::places::Place;
use crate::refusals::{gave_way, unavailable};

/// How many bytes are gathered before they are written.
const PIECE: usize = 256 * 1024;
/// How much of a refused body is still read, and for how long, so that its sender reads the refusal.
const DRAINED_BYTES: u64 = 64 << 20;
const DRAINED_FOR: Duration = Duration::from_secs(10);

/// What is known of the bytes before they arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// The most bytes.
    AtMost(u64),
    /// The exact number of bytes.
    Exactly(u64),
}

/// What arrived.
pub(crate) struct Received {
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    /// Not finished yet: the caller may have to do something first.
    pub(crate) writer: Box<dyn BlobWriter>,
}

fn refused(status: StatusCode, code: &str, detail: &str) -> Box<Answer> {
    Box::new(refuse(status, code, detail))
}

fn too_large(most: u64) -> Box<Answer> {
    let detail = format!(
        "at most {most} bytes are taken here; scale the picture down, or ask for an upload of its own with media.begin"
    );
    refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &detail)
}

fn wrong_length(expected: u64) -> Box<Answer> {
    refused(StatusCode::BAD_REQUEST, "bad_message", &format!("exactly {expected} bytes were announced"))
}

/// Refuses a body whose length does not fit, before any of it is read.
fn judge_length(body: &Incoming, expected: Expected) -> Result<(), Box<Answer>> {
    let Some(length) = body.size_hint().exact() else { return Ok(()) };
    match expected {
        Expected::AtMost(most) if length > most => Err(too_large(most)),
        Expected::Exactly(exact) if length != exact => Err(wrong_length(exact)),
        _ => Ok(()),
    }
}

/// Where an upload has its place.
pub(crate) struct Seated {
    pub(crate) place: Place,
    /// Cancelled when the place goes to somebody else.
    pub(crate) gives_way: CancellationToken,
    pub(crate) config: MediaConfig,
}

/// Receives a body into a blob that is being written.
pub(crate) async fn receive(
    mut body: Incoming,
    writer: Box<dyn BlobWriter>,
    expected: Expected,
    seated: &mut Seated,
) -> Result<Received, Box<Answer>> {
    let judged = match judge_length(&body, expected) {
        Ok(()) => {
            let gives_way = seated.gives_way.clone();
            let intake = Intake { writer, kind: None, waiting: BytesMut::new(), bytes: 0 };
            tokio::select! {
                received = intake.run(&mut body, expected, seated) => received,
                () = gives_way.cancelled() => Err(gave_way()),
            }
        }
        Err(refusal) => Err(refusal),
    };
    if judged.is_err() && !body.is_end_stream() {
        tokio::spawn(drain(body));
    }
    judged
}

/// Reads what nobody wants: a sender who is cut off while sending often never reads the reason.
pub(crate) async fn drain(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > DRAINED_BYTES {
                return;
            }
        }
    };
    let _given_up = tokio::time::timeout(DRAINED_FOR, reading).await;
}

struct Intake {
    writer: Box<dyn BlobWriter>,
    kind: Option<Kind>,
    waiting: BytesMut,
    bytes: u64,
}

impl Intake {
    async fn run(
        mut self,
        body: &mut Incoming,
        expected: Expected,
        seated: &mut Seated,
    ) -> Result<Received, Box<Answer>> {
        let Seated { place, config, .. } = seated;
        let mut pace = Pace { since: Instant::now(), bytes: 0 };
        let (Expected::AtMost(most) | Expected::Exactly(most)) = expected;
        loop {
            let frame = match tokio::time::timeout(config.pause, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => {
                    return Err(refused(StatusCode::BAD_REQUEST, "bad_message", "the upload broke off"));
                }
                Ok(None) => break,
                Err(_) => return Err(too_slow("the upload paused for too long; begin it again")),
            };
            let Ok(data) = frame.into_data() else { continue };
            self.bytes += data.len() as u64;
            if self.bytes > most {
                return Err(too_large(most));
            }
            if pace.is_too_slow(data.len() as u64, Instant::now(), config) {
                return Err(too_slow("the upload is too slow; send a smaller picture"));
            }
            place.moved(data.len() as u64);
            self.take(data).await?;
        }
        if let Expected::Exactly(exact) = expected
            && self.bytes != exact
        {
            return Err(wrong_length(exact));
        }
        self.sniff()?;
        self.write().await?;
        let kind = self.kind.ok_or_else(|| not_taken(&[]))?;
        Ok(Received { kind, bytes: self.bytes, writer: self.writer })
    }

    async fn take(&mut self, data: Bytes) -> Result<(), Box<Answer>> {
        self.waiting.extend_from_slice(&data);
        if self.waiting.len() >= SNIFF_BYTES {
            self.sniff()?;
        }
        if self.waiting.len() >= PIECE {
            self.write().await?;
        }
        Ok(())
    }

    /// Decides the kind by the first bytes, once.
    fn sniff(&mut self) -> Result<(), Box<Answer>> {
        if self.kind.is_none() {
            self.kind = Some(Kind::sniff(&self.waiting).ok_or_else(|| not_taken(&self.waiting))?);
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), Box<Answer>> {
        let piece = self.waiting.split().freeze();
        self.writer.write(piece).await.map_err(|error| unavailable(&error))
    }
}

fn not_taken(head: &[u8]) -> Box<Answer> {
    let detail = format!("this is {}; JPEG, PNG, GIF and WebP are taken", describe(head));
    refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_message", &detail)
}

fn too_slow(detail: &str) -> Box<Answer> {
    refused(StatusCode::REQUEST_TIMEOUT, "bad_message", detail)
}

/// How much has arrived in the current stretch of time. Every stretch counts by itself, so that a fast beginning does
/// not make up for a slow rest.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn is_too_slow(&mut self, bytes: u64, now: Instant, config: &MediaConfig) -> bool {
        self.bytes += bytes;
        if now - self.since < config.pause {
            return false;
        }
        let enough = self.bytes >= config.slowest;
        *self = Self { since: now, bytes: 0 };
        !enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stretch_of_an_upload_must_bring_enough() {
        let config = MediaConfig { slowest: 1000, ..MediaConfig::default() };
        let begun = Instant::now();
        let mut pace = Pace { since: begun, bytes: 0 };
        let mut comes = |bytes, at: f64| pace.is_too_slow(bytes, begun + config.pause.mul_f64(at), &config);
        assert!(!comes(50_000, 0.5) && !comes(1, 0.9) && !comes(1, 1.0), "the first stretch");
        assert!(!comes(999, 1.5) && !comes(1, 2.0), "just enough");
        assert!(comes(999, 3.0), "a fast beginning does not count any more");
    }
}
