//! `media.uploaded`: a client has put the bytes of a medium into the bucket by itself, and the bucket says so.
//!
//! Where clients upload past us, the bucket's own notifications are this queue's messages: no envelopes of ours, at least once each, in
//! any order, and for every upload, also those that this service wrote itself. Each raw blob that ever comes to lie there is followed
//! by a notification, and what is done for one depends only on the medium's state, which never goes back. So whatever may happen at
//! the same time is harmless:
//!
//! - The service's own uploads are claimed before their bytes become the blob: their notification finds them in state `Checking`.
//! - Two notifications of one medium, or one and the collector: a claim holds only as the item was read; who loses comes again and finds
//!   what the other made of it. The collector deletes bytes after the state is `Gone`, and what is put there later is deleted by its
//!   own notification.
//! - A check that asks twice is done once, by whichever message is there first ([`crate::check`]); so bytes that are put while it
//!   goes on are never shown. `media.checked` sweeps them away when it has made the medium something else than `Checking`, and what is
//!   put after that finds it so here.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::media::State;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::ports::queues::Message;
use ulid::Ulid;

use crate::blob;
use crate::service::Media;

/// The MessageType of what the bucket says, which is a job: [`Media::job`].
pub const UPLOADED: &str = "media.uploaded";

/// What the bucket says: S3's event message, as much of it as is needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Notification {
    /// Objects were made.
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
    /// As in a URL's query: `+` for a space, `%` before two digits.
    key: String,
}

pub(crate) struct Uploaded(pub(crate) Arc<Media>);

impl Media {
    /// A medium's raw bytes have come to lie in the bucket.
    async fn uploaded(&self, id: Ulid) -> Result<(), String> {
        let name = blob::raw(id);
        let stored = self.read(id).await.map_err(|error| error.to_string())?;
        let Some(stored) = stored.filter(|stored| matches!(stored.state, State::Uploading | State::Checking))
        else {
            // Late: after the check, or after it was collected. An id is never used again, so nobody needs them.
            return self.deps.blobs.delete(&name).await.map_err(|error| error.to_string());
        };
        if stored.check.is_some() {
            // It is being looked into, and will be swept.
            return Ok(());
        }
        if stored.state == State::Uploading {
            if self.deps.blobs.size(&name).await.map_err(|error| error.to_string())?.is_none() {
                return Ok(());
            }
            if !self.claim(id, &stored).await.map_err(|error| error.to_string())? {
                return Err("somebody else was faster".to_owned());
            }
        }
        // Also when it was claimed before: whoever did may have been cut off between the two steps.
        self.ask_for_check(id, &stored.owner).await
    }
}

/// The media whose uploads a message is about.
fn parse(message: &Message) -> Result<Vec<Ulid>, String> {
    let said = serde_json::from_slice(&message.body);
    let said = said.map_err(|_| "no notification of a bucket".to_owned())?;
    match said {
        Notification::Created { records } => {
            records.iter().map(|record| medium(&record.s3.object.key)).collect()
        }
        Notification::Test { event } if event == "s3:TestEvent" => Ok(Vec::new()),
        Notification::Test { .. } => Err("an event that nobody asked for".to_owned()),
    }
}

/// The medium whose upload lies at a key: the name of a blob, behind whatever the bucket keeps blobs under.
fn medium(key: &str) -> Result<Ulid, String> {
    let key = decode(key).ok_or("a key that is not encoded as keys are")?;
    let name = key.rsplit('/').next().unwrap_or_default();
    blob::of_raw(name).ok_or_else(|| "an object that is no upload".to_owned())
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
            let media = match parse(message) {
                Ok(media) => media,
                Err(error) => {
                    verdicts.push(Verdict::Dead(error));
                    continue;
                }
            };
            let mut done = Ok(());
            for id in media {
                done = done.and(self.0.uploaded(id).await);
            }
            verdicts.push(done.map_or_else(Verdict::Retry, |()| Verdict::Done));
        }
        verdicts
    }

    /// Nobody waits for an answer: the message says no user, and its medium is collected as one that was never uploaded.
    async fn give_up(&self, _message: &Message, _reason: &str) {}
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
