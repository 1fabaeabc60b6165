//! Jobs whose messages are envelopes: parsed once, and every outcome turned into a verdict in one place.

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;

use crate::pipeline::consumer::{Job, Verdict};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::handler::Failure;
use crate::pipeline::worker::Outward;
use crate::ports::queues::Message;
use crate::protocol::{ErrorBody, ErrorCode, numbers};

/// What a job does with one message.
#[async_trait]
pub trait EnvelopeJob: Send + Sync + 'static {
    /// The body of a message.
    type Body: DeserializeOwned + Send;

    /// Works on one message. A sender who waits for an answer gets [`Failure::Reject`] as the answer; a message of our
    /// own that is rejected goes to the dead letters.
    async fn work(&self, envelope: &Envelope, body: Self::Body) -> Result<(), Failure>;

    /// Whether the job has a [`work_together`](Self::work_together) of its own.
    const TOGETHER: bool = false;

    /// Works on all messages that were received together; `None` when each must be worked on by itself.
    async fn work_together(&self, _batch: &[(Envelope, Self::Body)]) -> Option<Result<(), Failure>> {
        None
    }

    /// Ends what a message has begun, before it goes to the dead letters.
    async fn give_up(&self, _envelope: &Envelope, _body: Self::Body) {}

    /// The way to senders who wait for an answer; `None` where only we send messages of this type.
    fn answers(&self) -> Option<&Outward> {
        None
    }
}

/// The [`Job`] of an [`EnvelopeJob`].
pub struct OnEnvelopes<J>(pub J);

fn parsed<B: DeserializeOwned>(envelope: &Envelope) -> Result<B, Failure> {
    let body = numbers::read(envelope.body.get());
    body.map_err(|e| Failure::reject(ErrorCode::BadMessage, format!("{}: {e}", envelope.message_type)))
}

impl<J: EnvelopeJob> OnEnvelopes<J> {
    async fn one(&self, message: &Message) -> Verdict {
        let envelope = match Envelope::of(message) {
            Ok(envelope) => envelope,
            Err(verdict) => return verdict,
        };
        let done = match parsed(&envelope) {
            Ok(body) => self.0.work(&envelope, body).await,
            Err(failure) => Err(failure),
        };
        match (done, self.0.answers()) {
            (Ok(()), _) => Verdict::Done,
            (Err(failure), outward) => match (failure.verdict(), outward) {
                (Ok(verdict), _) => verdict,
                (Err(error), Some(_)) => Verdict::Refused(error),
                (Err(ErrorBody { message, .. }), None) => Verdict::Dead(message),
            },
        }
    }

    /// One verdict for all, where the job takes them together.
    async fn together(&self, batch: &[Message]) -> Option<Vec<Verdict>> {
        let each = batch.iter().map(|message| {
            let envelope = Envelope::of(message).ok()?;
            let body = parsed(&envelope).ok()?;
            Some((envelope, body))
        });
        let each: Vec<_> = each.collect::<Option<_>>()?;
        let verdict = match self.0.work_together(&each).await? {
            Ok(()) => Verdict::Done,
            // Nobody knows which of them a rejection is about.
            Err(failure) => failure.retried(),
        };
        Some(vec![verdict; batch.len()])
    }
}

#[async_trait]
impl<J: EnvelopeJob> Job for OnEnvelopes<J> {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        if J::TOGETHER
            && batch.len() > 1
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
        let Ok(envelope) = Envelope::of(message) else { return };
        if let Ok(body) = parsed(&envelope) {
            self.0.give_up(&envelope, body).await;
        }
    }

    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        if let Some(outward) = self.0.answers() {
            outward.refuse(message, error).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use serde::Deserialize;
    use ulid::Ulid;

    use super::*;
    use crate::guard::Weather;
    use crate::pipeline::catalog::Catalog;
    use crate::pipeline::deliver::InternalKey;
    use crate::pipeline::handler::raw;
    use crate::pipeline::replies::Replies;
    use crate::ports::memory::{MemoryQueues, MemorySessions};
    use crate::ports::queues::Receipt;
    use crate::telemetry::Metrics;

    /// What a message wants to happen to it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Wish {
        Done,
        Retry,
        Reject,
    }

    #[derive(Default)]
    struct Wishes {
        answers: Option<Outward>,
        /// The outcome of all messages at once; `None` where each is worked on by itself.
        together: Option<Wish>,
        worked: Mutex<Vec<Wish>>,
        given_up: Mutex<Vec<Wish>>,
    }

    fn outcome(wish: Wish) -> Result<(), Failure> {
        match wish {
            Wish::Done => Ok(()),
            Wish::Retry => Err(Failure::Retry(anyhow::anyhow!("the disk is full"))),
            Wish::Reject => Err(Failure::reject(ErrorCode::Conflict, "it is taken")),
        }
    }

    #[async_trait]
    impl EnvelopeJob for Wishes {
        type Body = Wish;

        async fn work(&self, _: &Envelope, wish: Wish) -> Result<(), Failure> {
            self.worked.lock().unwrap().push(wish);
            outcome(wish)
        }

        const TOGETHER: bool = true;

        async fn work_together(&self, _: &[(Envelope, Wish)]) -> Option<Result<(), Failure>> {
            self.together.map(outcome)
        }

        async fn give_up(&self, _: &Envelope, wish: Wish) {
            self.given_up.lock().unwrap().push(wish);
        }

        fn answers(&self) -> Option<&Outward> {
            self.answers.as_ref()
        }
    }

    fn outward() -> Outward {
        let key = InternalKey::new(&[7; 32]).unwrap();
        let replies = Replies::start(Arc::new(MemorySessions::default()), key, Weather::new(Metrics::new()));
        Outward {
            queues: Arc::new(MemoryQueues::new([])),
            replies,
            catalog: Arc::new(Catalog::new(Vec::new())),
        }
    }

    fn message(body: impl Into<Bytes>) -> Message {
        Message { receipt: Receipt(Bytes::new()), body: body.into(), attempt: 1, sent_at: 1 }
    }

    fn wish(wish: &str) -> Message {
        let envelope = Envelope {
            mid: Ulid(1),
            id: "id".to_owned(),
            message_type: "wish.make".to_owned(),
            from: "ann".parse().unwrap(),
            origin: None,
            at: 1,
            body: raw(&wish),
        };
        message(envelope.bytes())
    }

    /// The start of a verdict's text, after its name.
    fn said(verdict: &Verdict) -> String {
        let text = match verdict {
            Verdict::Done => return "done".to_owned(),
            Verdict::Retry(text) => format!("retry: {text}"),
            Verdict::Wait(text) => format!("wait: {text}"),
            Verdict::Refused(error) => format!("refused: {}", error.message),
            Verdict::Dead(text) => format!("dead: {text}"),
        };
        text.split(" at line").next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn every_outcome_of_one_message_has_its_verdict() {
        let bad_body = "wish.make: unknown variant `fly`, expected one of `done`, `retry`, `reject`";
        for (of, ours, answered) in [
            (
                message("not json"),
                "dead: not an envelope: expected ident",
                "dead: not an envelope: expected ident",
            ),
            (
                message("{}"),
                "dead: not an envelope: missing field `mid`",
                "dead: not an envelope: missing field `mid`",
            ),
            (wish("fly"), &*format!("dead: {bad_body}"), &*format!("refused: {bad_body}")),
            (wish("done"), "done", "done"),
            (wish("retry"), "retry: the disk is full", "retry: the disk is full"),
            (wish("reject"), "dead: it is taken", "refused: it is taken"),
        ] {
            for (answers, expected) in [(None, ours), (Some(outward()), answered)] {
                let waiting = answers.is_some();
                let job = OnEnvelopes(Wishes { answers, ..Wishes::default() });
                let verdicts = job.run(std::slice::from_ref(&of)).await;
                let verdicts: Vec<String> = verdicts.iter().map(said).collect();
                assert_eq!(verdicts, [expected], "{of:?}, with a sender who waits: {waiting}");
            }
        }
    }

    #[tokio::test]
    async fn messages_that_come_together_have_one_verdict_where_the_job_takes_them_together() {
        let batch = [wish("done"), wish("retry")];
        for (together, expected) in [
            (None, ["done", "retry: the disk is full"]),
            (Some(Wish::Done), ["done", "done"]),
            (Some(Wish::Retry), ["retry: the disk is full"; 2]),
        ] {
            let job = OnEnvelopes(Wishes { together, ..Wishes::default() });
            let verdicts: Vec<String> = job.run(&batch).await.iter().map(said).collect();
            assert_eq!(verdicts, expected, "{together:?}");
            let by_itself = job.0.worked.lock().unwrap().len();
            assert_eq!(by_itself, if together.is_none() { 2 } else { 0 }, "{together:?}");
        }
    }

    #[tokio::test]
    async fn one_bad_message_among_others_is_judged_by_itself() {
        let job = OnEnvelopes(Wishes { together: Some(Wish::Done), ..Wishes::default() });
        for (bad, expected) in
            [(message("{}"), "dead: not an envelope: missing field `mid`"), (wish("reject"), "done")]
        {
            let verdicts: Vec<String> = job.run(&[wish("done"), bad]).await.iter().map(said).collect();
            assert_eq!(verdicts, ["done", expected]);
        }
        assert_eq!(*job.0.worked.lock().unwrap(), [Wish::Done], "only the message beside the bad one");
    }

    #[tokio::test]
    async fn what_is_given_up_is_ended_where_it_can_be_read() {
        let job = OnEnvelopes(Wishes { answers: Some(outward()), ..Wishes::default() });
        for given_up in [wish("retry"), wish("fly"), message("{}")] {
            job.give_up(&given_up, "five tries").await;
        }
        assert_eq!(*job.0.given_up.lock().unwrap(), [Wish::Retry]);
    }
}
