//! The archive on Firehose, which gathers and packs the records and stores them in S3.
//!
//! Each line is a record of Firehose: several lines in one record would have to be split again before each could be
//! stored by its type and hour. While one call is under way the next gathers, so that calls are full when there is much
//! to archive.

mod provision;
mod sender;

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::error::DisplayErrorContext;
use bytes::Bytes;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Archive, Record, rules};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use provision::provision;
use sender::{Job, Sender};

use crate::Aws;

/// The most calls that wait for the sender; further callers wait for a place.
const MAX_WAITING: usize = 1_024;
/// The most bytes that wait, in KiB; further callers wait for room.
const MAX_WAITING_KIB: u32 = 32 * 1_024;
/// The most bytes that Firehose takes in one record.
const MAX_LINE_BYTES: usize = 1_000 * 1_024;

/// [`Archive`] on one delivery stream.
#[derive(Debug)]
pub struct FirehoseArchive {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

impl FirehoseArchive {
    /// Looks up the delivery stream, and starts its sender.
    ///
    /// # Errors
    /// When there is no such stream, or Firehose does not answer.
    pub async fn open(aws: &Aws, stream: &str) -> anyhow::Result<Arc<Self>> {
        let client = aws.firehose();
        client.describe_delivery_stream().delivery_stream_name(stream).send().await.map_err(|error| {
            anyhow::anyhow!(
                "firehose: {}; the delivery stream {stream:?} is made by Terraform or by `soundoff provision`",
                DisplayErrorContext(error)
            )
        })?;
        // The sender makes its own retries: it knows which records are left to send.
        let once = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let sender = Sender::new(Client::from_conf(once), stream.to_owned(), aws.meter().clone());
        tokio::runtime::Handle::try_current()
            .context("the archive needs a runtime")?
            .spawn(sender.run(waiting));
        Ok(Arc::new(Self { jobs, room: Arc::new(Semaphore::new(MAX_WAITING_KIB as usize)) }))
    }

    async fn ask(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<(), Unavailable>>,
    ) -> Result<(), Unavailable> {
        let stopped = || Unavailable("firehose: the sender has stopped".to_owned());
        self.jobs.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// A record as it is sent to Firehose.
fn encode(record: &Record) -> Result<Bytes, Unavailable> {
    let place = rules::time(record)?.format("%Y-%m-%d%H").to_string();
    // The stream takes day and hour from the text of `ts`, so a text with another time zone would be stored under
    // another hour.
    let named = record.ts.get(..10).zip(record.ts.get(11..13)).map(|(dt, hour)| format!("{dt}{hour}"));
    if named.as_ref() != Some(&place) {
        return Err(Unavailable(format!("firehose: a time to archive by must be in UTC: {:?}", record.ts)));
    }
    let mut line = Vec::with_capacity(512);
    rules::write_line(record, &mut line)?;
    if line.len() > MAX_LINE_BYTES {
        return Err(Unavailable(format!("firehose: a record of {} bytes is too large", line.len())));
    }
    Ok(line.into())
}

#[async_trait]
impl Archive for FirehoseArchive {
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable> {
        if records.is_empty() {
            return Ok(());
        }
        let lines = records.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        drop(records);
        let bytes: usize = lines.iter().map(Bytes::len).sum();
        // A put that is larger than the whole room takes all of it.
        let wanted = u32::try_from(bytes / 1_024 + 1).unwrap_or(u32::MAX).min(MAX_WAITING_KIB);
        let room = self.room.clone().acquire_many_owned(wanted).await;
        let room = room.map_err(|_| Unavailable("firehose: the archive is closed".to_owned()))?;
        let (answer, result) = oneshot::channel();
        self.ask(Job::Put { lines, answer, room }, result).await
    }

    /// Waits for the calls under way; Firehose itself decides when it writes a file.
    async fn flush(&self) -> Result<(), Unavailable> {
        let (answer, result) = oneshot::channel();
        self.ask(Job::Flush { answer }, result).await
    }
}
