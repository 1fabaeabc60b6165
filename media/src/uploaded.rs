//! `media.uploaded`: a client has uploaded the bytes of a medium to the bucket, and the bucket says so.
//!
//! Where clients upload to the bucket, the bucket's own notifications are this queue's messages: no envelopes of ours,
//! each delivered at least once, in any order, and for every upload, also those that this service wrote itself. Every
//! raw blob is followed by a notification, and what is done for it depends only on the medium's state, which never goes
//! back. So whatever happens at the same time is harmless:
//!
//! - The service's own uploads are claimed before their bytes become the blob: their notification finds them in state
//!   `Checking`.
//! - Two notifications of one medium, or one and the collector: a claim succeeds only if the item is still as it was
//!   read; the loser is retried and finds what the other did. The collector deletes bytes after the state is `Gone`,
//!   and bytes that are uploaded later are deleted by their own notification.
//! - When a check is queued twice, it is done once, by the message that comes first ([`crate::check`]); so bytes that
//!   are uploaded during it are never shown. `media.checked` deletes them when it has ended the state `Checking`, and
//!   bytes that are uploaded after that find the new state here.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::media::State;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::queues::Message;
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::ErrorBody;
use ulid::Ulid;

use crate::turns::Turns;
use crate::{blob, items};

/// What the bucket says: the parts of S3's event message that are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Notification {
    /// Objects were created.
    Created {
        /// One each.
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
    /// Notifications were set up: `s3:TestEvent`.
    Test {
        /// Which event.
        #[serde(rename = "Event")]
        event: String,
    },
}

/// One object.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Record {
    /// Where it is.
    s3: Place,
}

/// An object's place.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Place {
    /// The object.
    object: Object,
}

/// An object's name.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Object {
    /// Encoded as in a URL's query: `+` for a space, `%` before two digits.
    key: String,
}

/// Why a message of the bucket cannot be worked on.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("no notification of a bucket")]
    NoNotification,
    #[error("an event that nobody asked for")]
    OtherEvent,
    #[error("a key that is not encoded as keys are")]
    BadKey,
    #[error("an object that is no upload")]
    NoUpload,
}

/// Queues the checks of uploads.
pub(crate) struct Uploaded {
    tables: Arc<dyn Tables>,
    blobs: Arc<dyn Blobs>,
    turns: Turns,
}

impl Uploaded {
    pub(crate) fn new(world: &World) -> anyhow::Result<Self> {
        let World { tables, outward, .. } = world.clone();
        let turns = Turns { tables: tables.clone(), outward };
        Ok(Self { tables, blobs: world.blobs()?, turns })
    }

    /// The raw bytes of a medium are in the bucket. Every error is worth another try.
    async fn uploaded(&self, id: Ulid) -> Result<(), Failure> {
        let name = blob::raw(id);
        let stored = items::read(&*self.tables, id).await?;
        let Some(stored) = stored.filter(|stored| matches!(stored.state, State::Uploading | State::Checking))
        else {
            // Late: after the check, or after it was collected. An id is never used again, so nobody needs the bytes.
            return Ok(self.blobs.delete(&name).await?);
        };
        if stored.check.is_some() {
            // Its check is going on, and the bytes will be deleted after it.
            return Ok(());
        }
        let stored = match stored.state {
            State::Uploading => {
                if self.blobs.size(&name).await?.is_none() {
                    return Ok(());
                }
                let claimed = items::claim(&*self.tables, id, &stored).await?;
                claimed.ok_or_else(|| Failure::Wait(anyhow::anyhow!("somebody else was faster")))?
            }
            _ => stored,
        };
        // Also when it was claimed before: the process that claimed it may have died between the two steps.
        self.turns.ask(id, &stored).await
    }

    /// Works on all of some media, even after one has failed; returns the first error.
    async fn all_uploaded(&self, media: Vec<Ulid>) -> Result<(), Failure> {
        let mut done = Ok(());
        for id in media {
            done = done.and(self.uploaded(id).await);
        }
        done
    }
}

/// The media whose uploads a message is about.
fn parse(message: &Message) -> Result<Vec<Ulid>, Unreadable> {
    match serde_json::from_slice(&message.body).map_err(|_| Unreadable::NoNotification)? {
        Notification::Created { records } => {
            records.iter().map(|record| medium(&record.s3.object.key)).collect()
        }
        Notification::Test { event } if event == "s3:TestEvent" => Ok(Vec::new()),
        Notification::Test { .. } => Err(Unreadable::OtherEvent),
    }
}

/// The medium whose upload has a key: the name of a blob, behind the prefix that the bucket keeps blobs under.
fn medium(key: &str) -> Result<Ulid, Unreadable> {
    let key = decode(key).ok_or(Unreadable::BadKey)?;
    let name = key.rsplit('/').next().unwrap_or_default();
    blob::of_raw(name).ok_or(Unreadable::NoUpload)
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(16 * digit(rest.next())? + digit(rest.next())?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::from)
}

#[async_trait]
impl Job for Uploaded {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for message in batch {
            verdicts.push(match parse(message) {
                Ok(media) => match self.all_uploaded(media).await {
                    Ok(()) => Verdict::Done,
                    Err(failure) => {
                        failure.verdict().unwrap_or_else(|error| Verdict::Dead(error.to_string()))
                    }
                },
                Err(error) => Verdict::Dead(error.to_string()),
            });
        }
        verdicts
    }

    /// Nobody waits for an answer: the message names no user, and its medium is collected as if it had never been
    /// uploaded.
    async fn give_up(&self, _message: &Message, _reason: &str) {}

    async fn refuse(&self, _message: &Message, _error: &ErrorBody) {}
}

#[cfg(test)]
mod tests {
    use super::{decode, medium};

    #[test]
    fn a_key_names_its_medium_however_it_is_encoded() {
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for key in [format!("media/{id}.raw"), format!("media%2F{id}%2Eraw"), format!("{id}.raw")] {
            assert_eq!(medium(&key).unwrap().to_string(), id, "{key}");
        }
        for key in [
            format!("media/{id}.full"),
            format!("media/{id}"),
            format!("media/{id}.raw/"),
            format!("media/{}.raw", id.to_lowercase()),
            format!("media/{id}.raw%"),
            format!("media/{id}.raw%0"),
            format!("media/{id}+.raw"),
            "%ff".to_owned(),
            String::new(),
        ] {
            assert!(medium(&key).is_err(), "{key}");
        }
        assert_eq!(decode("a+b%20%C3%A9").unwrap(), "a b é");
    }
}
