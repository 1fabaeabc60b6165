//! Jobs whose messages are envelopes: parsed once, and every outcome turned into a verdict in one place.

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;

use crate::pipeline::consumer::{Job, Verdict};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::handler::Failure;
use crate::pipeline::worker::Outward;
use crate::ports::queues::Message;
use crate::protocol::{ErrorBody, ErrorCode};

/// What a job does with one message.
#[async_trait]
pub trait EnvelopeJob: Send + Sync + 'static {
    /// What the message says.
    type Body: DeserializeOwned + Send;

    /// Works on one message. [`Failure::Reject`] is told to a sender who waits for an answer; a message of our own that is rejected goes to the
    /// dead letters.
    async fn work(&self, envelope: &Envelope, body: Self::Body) -> Result<(), Failure>;

    /// Works on all messages that were received together; `None` when each has to be judged by itself.
    async fn work_together(&self, _batch: &[(Envelope, Self::Body)]) -> Option<Result<(), Failure>> {
        None
    }

    /// Ends what a message has begun, before it goes to the dead letters.
    async fn give_up(&self, _envelope: &Envelope, _body: Self::Body) {}

    /// The way to senders who wait for an answer; `None` where only we send such messages.
    fn answers(&self) -> Option<&Outward> {
        None
    }
}

/// The [`Job`] of an [`EnvelopeJob`].
pub struct OnEnvelopes<J>(pub J);

/// An envelope of a queue's message.
///
/// # Errors
/// The verdict on a message that is none: another try would find the same.
pub fn envelope(message: &Message) -> Result<Envelope, Verdict> {
    Envelope::parse(&message.body).map_err(|error| Verdict::Dead(format!("not an envelope: {error}")))
}

fn parsed<B: DeserializeOwned>(envelope: &Envelope) -> Result<B, Failure> {
    let body = serde_json::from_str(envelope.body.get());
    body.map_err(|e| Failure::reject(ErrorCode::BadMessage, format!("{}: {e}", envelope.message_type)))
}

impl<J: EnvelopeJob> OnEnvelopes<J> {
    async fn one(&self, message: &Message) -> Verdict {
        let envelope = match envelope(message) {
            Ok(envelope) => envelope,
            Err(verdict) => return verdict,
        };
        let done = match parsed(&envelope) {
            Ok(body) => self.0.work(&envelope, body).await,
            Err(failure) => Err(failure),
        };
        match (done, self.0.answers()) {
            (Ok(()), _) => Verdict::Done,
            (Err(Failure::Retry(error)), _) => Verdict::Retry(format!("{error:#}")),
            (Err(Failure::Reject(error)), Some(outward)) => {
                outward.refuse(&envelope, &error).await;
                Verdict::Done
            }
            (Err(Failure::Reject(ErrorBody { message, .. })), None) => Verdict::Dead(message),
        }
    }

    /// One verdict for all, where the job takes them together.
    async fn together(&self, batch: &[Message]) -> Option<Vec<Verdict>> {
        let each = batch.iter().map(|message| {
            let envelope = envelope(message).ok()?;
            let body = parsed(&envelope).ok()?;
            Some((envelope, body))
        });
        let each: Vec<_> = each.collect::<Option<_>>()?;
        let verdict = match self.0.work_together(&each).await? {
            Ok(()) => Verdict::Done,
            Err(failure) => Verdict::Retry(failure.to_string()),
        };
        Some(vec![verdict; batch.len()])
    }
}

#[async_trait]
impl<J: EnvelopeJob> Job for OnEnvelopes<J> {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        if batch.len() > 1
            && let Some(verdicts) = self.together(batch).await
        {
            return verdicts;
        }
        join_all(batch.iter().map(|message| self.one(message))).await
    }

    async fn give_up(&self, message: &Message, _reason: &str) {
        if let Some(outward) = self.0.answers() {
            outward.give_up(message).await;
        }
        let Ok(envelope) = envelope(message) else { return };
        if let Ok(body) = parsed(&envelope) {
            self.0.give_up(&envelope, body).await;
        }
    }
}
