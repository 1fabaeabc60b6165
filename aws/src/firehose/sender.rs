//! The task that makes the calls: full ones, one at a time. Each record is tried until Firehose has it or its time is
//! over.

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_firehose::operation::put_record_batch::{PutRecordBatchError, PutRecordBatchOutput};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use bytes::Bytes;
use soundoff_common::ports::Unavailable;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Meter;
use crate::prices::FIREHOSE_5KB;

/// The limits of one call, by Firehose's rules.
const MAX_RECORDS: usize = 500;
const MAX_BYTES: usize = 4_000_000;
/// How long one call's records are tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between tries, at most; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const BILLED_BYTES: usize = 5 * 1_024;

type Answer = oneshot::Sender<Result<(), Unavailable>>;

#[derive(Debug)]
pub(super) enum Job {
    Put {
        lines: Vec<Bytes>,
        answer: Answer,
        /// Released when the records are sent.
        room: OwnedSemaphorePermit,
    },
    Flush {
        answer: Answer,
    },
}

/// A put with lines that are not sent yet.
struct Waiting {
    left: usize,
    failed: Option<Unavailable>,
    answer: Answer,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Sender {
    client: Client,
    stream: String,
    meter: Meter,
}

impl Sender {
    pub(super) fn new(client: Client, stream: String, meter: Meter) -> Self {
        Self { client, stream, meter }
    }

    /// Runs until the archive is dropped, and then sends what waits.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            let (mut puts, mut lines, mut flushes) = (Vec::new(), VecDeque::new(), Vec::new());
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Flush { answer } => flushes.push(answer),
                    Job::Put { lines: more, answer, room } => {
                        let left = more.len();
                        lines.extend(more.into_iter().map(|line| (puts.len(), line)));
                        puts.push(Some(Waiting { left, failed: None, answer, _room: room }));
                    }
                }
                if lines.len() < MAX_RECORDS {
                    next = jobs.try_recv().ok();
                }
            }
            while !lines.is_empty() {
                let call = cut(&mut lines);
                self.send(call, &mut puts).await;
            }
            for flush in flushes {
                // The caller may be gone.
                drop(flush.send(Ok(())));
            }
        }
    }

    /// Sends the lines of one call until Firehose has all of them or the time is over.
    async fn send(&self, mut call: Vec<(usize, Bytes)>, puts: &mut [Option<Waiting>]) {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let records = call.iter().map(|(_, line)| record(line)).collect::<Result<Vec<_>, _>>();
            let asked = async {
                let request = self.client.put_record_batch().delivery_stream_name(&self.stream);
                match records {
                    Ok(records) => request.set_records(Some(records)).send().await,
                    Err(error) => Err(SdkError::construction_failure(error)),
                }
            };
            let why = match timeout_at(deadline, asked).await {
                Ok(Ok(output)) => {
                    let why = self.sort(&output, &mut call, puts);
                    if call.is_empty() {
                        return;
                    }
                    why
                }
                Ok(Err(error)) => {
                    let why = format!("firehose: {}", DisplayErrorContext(&error));
                    if !passes(&error) {
                        return fail(call, puts, &why);
                    }
                    why
                }
                Err(_) => "firehose: no answer in time".to_owned(),
            };
            // With jitter, so that processes that were refused together do not try again together.
            let wait = pause.mul_f64(rand::random::<f64>());
            if Instant::now() + wait >= deadline {
                return fail(call, puts, &why);
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Settles the lines that were taken and leaves the others in `call`. Returns why those were refused.
    fn sort(
        &self,
        output: &PutRecordBatchOutput,
        call: &mut Vec<(usize, Bytes)>,
        puts: &mut [Option<Waiting>],
    ) -> String {
        let answers = output.request_responses();
        if answers.len() != call.len() {
            return format!("firehose: {} answers to {} records", answers.len(), call.len());
        }
        let mut why = String::new();
        let mut left = Vec::new();
        for ((put, line), answer) in std::mem::take(call).into_iter().zip(answers) {
            if answer.record_id().is_some() && answer.error_code().is_none() {
                let units = u32::try_from(line.len().div_ceil(BILLED_BYTES)).unwrap_or(u32::MAX);
                self.meter.bill(FIREHOSE_5KB, f64::from(units));
                settle(puts, put, None);
            } else {
                why =
                    format!("firehose: a record was refused: {}", answer.error_code().unwrap_or("no reason"));
                left.push((put, line));
            }
        }
        *call = left;
        why
    }
}

/// Takes lines from the front that fit into one call: at least one.
fn cut(lines: &mut VecDeque<(usize, Bytes)>) -> Vec<(usize, Bytes)> {
    let (mut call, mut bytes) = (Vec::new(), 0);
    while let Some((_, line)) = lines.front() {
        bytes += line.len();
        if call.len() == MAX_RECORDS || (bytes > MAX_BYTES && !call.is_empty()) {
            break;
        }
        call.extend(lines.pop_front());
    }
    call
}

fn record(line: &Bytes) -> Result<Record, aws_sdk_firehose::error::BuildError> {
    Record::builder().data(Blob::new(line.to_vec())).build()
}

/// Whether a later try may succeed.
fn passes(error: &SdkError<PutRecordBatchError>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(refused) => {
            let throttled = error.code().is_some_and(|code| {
                code.contains("Throttl")
                    || code.contains("LimitExceeded")
                    || code == "ServiceUnavailableException"
            });
            let status = refused.raw().status().as_u16();
            throttled || status >= 500 || status == 429
        }
        _ => true,
    }
}

fn fail(call: Vec<(usize, Bytes)>, puts: &mut [Option<Waiting>], why: &str) {
    tracing::error!(records = call.len(), why, "cannot archive records");
    for (put, _) in call {
        settle(puts, put, Some(why));
    }
}

/// One line of a put is settled; the last one answers the put.
fn settle(puts: &mut [Option<Waiting>], put: usize, failed: Option<&str>) {
    let Some(place) = puts.get_mut(put) else { return };
    let Some(waiting) = place else { return };
    if let Some(why) = failed {
        waiting.failed = Some(Unavailable(why.to_owned()));
    }
    waiting.left -= 1;
    if waiting.left == 0
        && let Some(done) = place.take()
    {
        // The caller may be gone; the records are archived all the same.
        drop(done.answer.send(done.failed.map_or(Ok(()), Err)));
    }
}
