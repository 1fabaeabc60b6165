//! The batched calls: bounded, billed, with retries for each failed entry.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    SendMessageBatchRequestEntry,
};
use rand::Rng as _;
use soundoff_common::ports::queues::QueueError;

use super::wire::CHUNK;
use crate::meter::Meter;
use crate::prices::SQS_REQUEST;

#[cfg(test)]
mod tests;

/// The most entries that SQS takes in one request.
pub(super) const ENTRIES: usize = 10;
/// How often an entry is tried.
const TRIES: u32 = 5;

#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) client: Client,
    pub(super) meter: Meter,
}

pub(super) fn unavailable(error: impl std::error::Error) -> QueueError {
    QueueError::Unavailable(format!("sqs: {}", DisplayErrorContext(error)))
}

pub(super) fn units(bytes: usize) -> f64 {
    u32::try_from(bytes.div_ceil(CHUNK).max(1)).map_or(f64::MAX, f64::from)
}

/// One kind of batch.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// With the group of each message.
    Send(&'a [Option<String>]),
    Delete,
    Visibility(i32),
}

pub(super) type Answer = Result<(), QueueError>;

impl Calls {
    /// Sends messages, each with its group if it has one, in batches.
    pub(super) async fn send(&self, url: &str, bodies: &[String], groups: &[Option<String>]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(bodies.len());
        for (bodies, groups) in bodies.chunks(ENTRIES).zip(groups.chunks(ENTRIES)) {
            answers.extend(self.batch(url, bodies, Kind::Send(groups)).await);
        }
        answers
    }

    /// Sends one message, which may be as large as a request may be; returns its id.
    pub(super) async fn send_alone(
        &self,
        url: &str,
        body: String,
        group: Option<String>,
    ) -> Result<String, QueueError> {
        let bill = self.meter.each_try(SQS_REQUEST, units(body.len()));
        let call = self.client.send_message().queue_url(url).message_body(body).set_message_group_id(group);
        let sent = call.customize().interceptor(bill).send().await.map_err(unavailable)?;
        Ok(sent.message_id.unwrap_or_default())
    }

    /// Deletes by receipt handles, in batches. A handle that the engine no longer knows counts as deleted.
    pub(super) async fn delete(&self, url: &str, handles: &[String]) -> Vec<Answer> {
        self.chunks(url, handles, Kind::Delete).await
    }

    /// Sets the visibility by receipt handles, in batches.
    pub(super) async fn visibility(
        &self,
        url: &str,
        handles: &[String],
        visibility: Duration,
    ) -> Vec<Answer> {
        self.chunks(url, handles, Kind::Visibility(seconds(visibility))).await
    }

    async fn chunks(&self, url: &str, handles: &[String], kind: Kind<'_>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(handles.len());
        for chunk in handles.chunks(ENTRIES) {
            answers.extend(self.batch(url, chunk, kind).await);
        }
        answers
    }

    async fn batch(&self, url: &str, items: &[String], kind: Kind<'_>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; items.len()];
        for round in 1..=TRIES {
            let open: Vec<usize> = (0..items.len()).filter(|at| answers[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            match self.once(url, items, &open, kind).await {
                Ok(failed) => {
                    for at in open {
                        let failure = failed.iter().find(|entry| entry.id == at.to_string());
                        match failure {
                            None => answers[at] = Some(Ok(())),
                            Some(entry) if entry.sender_fault || round == TRIES => {
                                answers[at] = Some(refused(entry, kind));
                            }
                            Some(_) => {}
                        }
                    }
                }
                // The SDK has retried the whole request. A send whose answer was lost was made twice, which the port
                // allows.
                Err(error) => {
                    open.into_iter().for_each(|at| answers[at] = Some(Err(error.clone())));
                }
            }
            if answers.iter().any(Option::is_none) {
                let most = 50_u64 << round;
                let pause = rand::rng().random_range(most / 2..=most);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        let unanswered = || Err(QueueError::Unavailable("sqs: no answer for an entry".into()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    async fn once(
        &self,
        url: &str,
        items: &[String],
        open: &[usize],
        kind: Kind<'_>,
    ) -> Result<Vec<BatchResultErrorEntry>, QueueError> {
        let bytes =
            if matches!(kind, Kind::Send(_)) { open.iter().map(|at| items[*at].len()).sum() } else { 0 };
        let bill = self.meter.each_try(SQS_REQUEST, units(bytes));
        match kind {
            Kind::Send(groups) => {
                let entries = open.iter().filter_map(|at| {
                    let entry = SendMessageBatchRequestEntry::builder().id(at.to_string());
                    let group = groups.get(*at).cloned().flatten();
                    entry.message_body(&items[*at]).set_message_group_id(group).build().ok()
                });
                let call =
                    self.client.send_message_batch().queue_url(url).set_entries(Some(entries.collect()));
                call.customize().interceptor(bill).send().await.map(|out| out.failed).map_err(unavailable)
            }
            Kind::Delete => {
                let entries = open.iter().filter_map(|at| {
                    let entry = DeleteMessageBatchRequestEntry::builder().id(at.to_string());
                    entry.receipt_handle(&items[*at]).build().ok()
                });
                let call =
                    self.client.delete_message_batch().queue_url(url).set_entries(Some(entries.collect()));
                call.customize().interceptor(bill).send().await.map(|out| out.failed).map_err(unavailable)
            }
            Kind::Visibility(seconds) => {
                let entries = open.iter().filter_map(|at| {
                    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(at.to_string());
                    entry.receipt_handle(&items[*at]).visibility_timeout(seconds).build().ok()
                });
                let call = self.client.change_message_visibility_batch().queue_url(url);
                let call = call.set_entries(Some(entries.collect()));
                call.customize().interceptor(bill).send().await.map(|out| out.failed).map_err(unavailable)
            }
        }
    }
}

fn refused(entry: &BatchResultErrorEntry, kind: Kind<'_>) -> Answer {
    if !matches!(kind, Kind::Send(_)) && entry.sender_fault {
        return Ok(()); // The message is deleted or was received by another: nothing to do.
    }
    Err(QueueError::Unavailable(format!("sqs: an entry was refused: {}", entry.code)))
}

/// Whole seconds, rounded up, and at most 12 hours, the maximum of SQS.
pub(super) fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(43_200).min(43_200)
}
