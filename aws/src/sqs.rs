//! The [`Queues`] port on SQS.
//!
//! Under load, envelopes that gather between two sends share one message of at most 64 KiB (a *pack*), which SQS bills
//! as one request. A body that must be escaped makes a message of up to 513 KiB; SQS takes 1 MiB where the queue's
//! `MaximumMessageSize` allows it. This bends some laws of the port:
//!
//! - After a crash, members of a pack that were acked may come again if not all members of the pack were settled.
//! - When the visibility timeout of one member expires, the process that holds it sends that member again as a message
//!   of its own. An ack by the old receipt removes both, unless another process has received the new message meanwhile:
//!   then the member is handled once more.
//! - SQS counts every receive, so what is given back is sent again as a message of its own, with the count from before.
//! - `bury` and `redrive` first send and then delete, so a crash in between leaves both messages. `bury` works only in
//!   the process that received.
//! - When the answer to a send is lost, the SDK makes the whole request again: its messages may come twice.
//! - [`Depth`] counts SQS messages, and its age is that of the oldest message that this process holds.
//! - SQS serves users in turn by its own measure (fair queues), see [`request`]; a process does so by the law with what
//!   it holds, where a pack of several users is like one more user. It refuses no user for what they hold.
//! - With about 120,000 messages in flight SQS returns nothing, without an error.
//!
//! Dropping the adapter waits for nothing. Messages that are buffered or handed out are received again once their
//! visibility timeout has expired (at most half a minute for buffered ones). What gathers to be sent is still sent as
//! long as the runtime exists.

mod calls;
mod copies;
mod dead;
mod lane;
mod packs;
mod part;
mod receive;
mod request;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use soundoff_common::lock::lock;
use soundoff_common::ports::queues::{
    DeadLetter, Depth, MAX_BODY_BYTES, Message, Outgoing, QueueError, QueueName, Queues, Receipt,
};
use soundoff_common::protocol::now_ms;
use tokio::sync::oneshot;

use crate::Aws;
use crate::prices::SQS_REQUEST;
use calls::{Calls, unavailable};
use lane::Lane;
use packs::{Again, MARGIN};
use part::Part;
use request::Waiting;

/// After how many receives SQS itself moves a message to the dead letters: far above our own limit, as a queue that
/// answers only now and then lets messages be received again and again without a try.
const MAX_RECEIVES: u32 = 1000;
/// How long SQS keeps a message: 14 days, its maximum.
const RETENTION_SECONDS: u32 = 14 * 24 * 3600;
const VISIBILITY_SECONDS: u32 = 30;
/// How many queues are looked up in parallel.
const OPENED_AT_ONCE: usize = 8;

/// Why a receipt cannot be buried: it does not hold the body.
const UNKNOWN_RECEIPT: &str = "sqs: this process no longer holds this message, so its body cannot be buried: it was acked, or discarded \
     for newer ones, or another process received it; unless it was acked, it will be received again";

/// The names of the queues.
#[derive(Debug, Clone)]
pub struct SqsOptions {
    /// The prefix of every queue's name.
    pub prefix: String,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self { prefix: "soundoff-".to_owned() }
    }
}

impl SqsOptions {
    fn names(&self, queue: &QueueName) -> (String, String) {
        (format!("{}{queue}", self.prefix), format!("{}{queue}_dlq", self.prefix))
    }
}

/// Queues on SQS.
#[derive(Debug)]
pub struct SqsQueues {
    lanes: HashMap<QueueName, Arc<Lane>>,
}

impl SqsQueues {
    /// Looks up the queues.
    ///
    /// # Errors
    /// When one is missing or the engine does not answer.
    pub async fn open(aws: &Aws, names: &[QueueName], options: SqsOptions) -> anyhow::Result<Arc<Self>> {
        let calls = Calls { client: aws.sqs(), meter: aws.meter().clone() };
        let open = names.iter().cloned().map(|name| {
            let ((queue, dlq), calls) = (options.names(&name), calls.clone());
            async move {
                let (url, dlq_url) = tokio::try_join!(url(&calls, &queue), url(&calls, &dlq))?;
                anyhow::Ok((name.clone(), Lane::new(name, url, dlq_url, calls)))
            }
        });
        let lanes: HashMap<_, _> = stream::iter(open).buffer_unordered(OPENED_AT_ONCE).try_collect().await?;
        for lane in lanes.values() {
            tokio::spawn(receive::keeper(Arc::downgrade(lane)));
        }
        Ok(Arc::new(Self { lanes }))
    }

    fn lane(&self, queue: &QueueName) -> Result<&Arc<Lane>, QueueError> {
        self.lanes.get(queue).ok_or_else(|| QueueError::UnknownQueue(queue.clone()))
    }
}

async fn url(calls: &Calls, name: &str) -> anyhow::Result<String> {
    let call = calls.client.get_queue_url().queue_name(name).customize();
    let answer = call.interceptor(calls.meter.each_try(SQS_REQUEST, 1.0)).send().await.map_err(unavailable);
    let missing = || format!("there is no queue {name}: run `soundoff provision` or apply Terraform");
    answer.with_context(missing)?.queue_url.with_context(missing)
}

/// Creates the queues and their dead letter queues if they are missing.
///
/// # Errors
/// When the engine refuses, as for a queue that exists with other attributes.
pub async fn provision(aws: &Aws, names: &[QueueName], options: &SqsOptions) -> anyhow::Result<()> {
    let calls = Calls { client: aws.sqs(), meter: aws.meter().clone() };
    let client = &calls.client;
    for name in names {
        let (queue, dlq) = options.names(name);
        let create = |name: &str| {
            let call = client.create_queue().queue_name(name);
            call.attributes(QueueAttributeName::VisibilityTimeout, VISIBILITY_SECONDS.to_string())
                .attributes(QueueAttributeName::MessageRetentionPeriod, RETENTION_SECONDS.to_string())
        };
        let bill = || aws.meter().each_try(SQS_REQUEST, 1.0);
        let made = create(&dlq).customize().interceptor(bill()).send().await.map_err(unavailable)?;
        let dlq_url = made.queue_url.with_context(|| format!("no URL for {dlq}"))?;
        let arn = arn(&calls, &dlq_url).await?;
        let policy =
            serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES.to_string() });
        let call = create(&queue).attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
        call.customize().interceptor(bill()).send().await.map_err(unavailable)?;
    }
    Ok(())
}

async fn arn(calls: &Calls, url: &str) -> anyhow::Result<String> {
    let call = calls.client.get_queue_attributes().queue_url(url);
    let call = call.attribute_names(QueueAttributeName::QueueArn).customize();
    let answer =
        call.interceptor(calls.meter.each_try(SQS_REQUEST, 1.0)).send().await.map_err(unavailable)?;
    let arn = answer.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
    arn.with_context(|| format!("no ARN for {url}"))
}

/// Allows a bucket of the same account, and nobody else, to send to a queue; returns the queue's ARN.
pub(crate) async fn open_to_bucket(
    aws: &Aws,
    queue: &QueueName,
    options: &SqsOptions,
    bucket: &str,
) -> anyhow::Result<String> {
    let calls = Calls { client: aws.sqs(), meter: aws.meter().clone() };
    let url = url(&calls, &options.names(queue).0).await?;
    let arn = arn(&calls, &url).await?;
    let account = arn.split(':').nth(4).with_context(|| format!("no account in {arn}"))?;
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "Bucket",
            "Effect": "Allow",
            "Principal": { "Service": "s3.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {
                "ArnEquals": { "aws:SourceArn": format!("arn:aws:s3:::{bucket}") },
                "StringEquals": { "aws:SourceAccount": account },
            },
        }],
    });
    let call = calls.client.set_queue_attributes().queue_url(url);
    let call = call.attributes(QueueAttributeName::Policy, policy.to_string()).customize();
    call.interceptor(calls.meter.each_try(SQS_REQUEST, 1.0)).send().await.map_err(unavailable)?;
    Ok(arn)
}

async fn counts(lane: &Lane, url: &str) -> Result<(u64, u64), QueueError> {
    let (visible, hidden) = (
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    );
    let call = lane.calls.client.get_queue_attributes().queue_url(url);
    let call = call.attribute_names(visible.clone()).attribute_names(hidden.clone()).customize();
    let bill = lane.calls.meter.each_try(SQS_REQUEST, 1.0);
    let all = call.interceptor(bill).send().await.map_err(unavailable)?.attributes.unwrap_or_default();
    let count = |name| all.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok((count(visible), count(hidden)))
}

#[async_trait]
impl Queues for SqsQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let mut lanes: HashMap<QueueName, Vec<_>> = HashMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        for Outgoing { queue, body, user } in batch {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let refusal = if body.len() > MAX_BODY_BYTES {
                QueueError::TooLarge(body.len())
            } else if !self.lanes.contains_key(&queue) {
                QueueError::UnknownQueue(queue)
            } else if let Ok(text) = std::str::from_utf8(&body) {
                lanes.entry(queue).or_default().push(Waiting { body: text.to_owned(), user, answer });
                continue;
            } else {
                QueueError::Unavailable("sqs: a body is not UTF-8".into())
            };
            let _ = answer.send(Err(refusal));
        }
        for (queue, bodies) in lanes {
            if let Some(lane) = self.lanes.get(&queue) {
                lane.gather(bodies);
            }
        }
        let broken = |_| Err(QueueError::Unavailable("sqs: a send was broken off".into()));
        let mut results = Vec::with_capacity(answers.len());
        for answered in answers {
            results.push(answered.await.unwrap_or_else(broken));
        }
        results
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        receive::receive(self.lane(queue)?, max, wait, visibility).await
    }

    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        let lane = self.lane(queue)?;
        let done: Vec<_> = {
            let mut packs = lock(&lane.packs);
            receipts.iter().filter_map(Part::of).flat_map(|part| packs.settle(&part)).collect()
        };
        lane.delete_in_time(&done).await
    }

    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let lane = self.lane(queue)?;
        let (mut singles, mut packed, mut again) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut packs = lock(&lane.packs);
            for part in receipts.iter().filter_map(Part::of) {
                if part.packed && visibility.is_zero() {
                    again.extend(packs.leave(&part));
                } else if let Some(named) = packs.extend(&part, visibility) {
                    if part.packed { packed.push(named) } else { singles.push(named) }
                }
            }
        }
        let again = receive::again(lane, again).await;
        let singles = lane.hide(&singles, visibility).await;
        let packed = lane.hide(&packed, visibility + MARGIN).await;
        again.and(singles).and(packed)
    }

    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        let lane = self.lane(queue)?;
        let leaving = {
            let mut packs = lock(&lane.packs);
            let leave = |part| packs.leave(&part).map(Again::unreceived);
            receipts.iter().filter_map(Part::of).filter_map(leave).collect()
        };
        receive::again(lane, leaving).await
    }

    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError> {
        let lane = self.lane(queue)?;
        let part = Part::of(&receipt);
        let letter = part.as_ref().and_then(|part| lock(&lane.packs).get(part));
        let letter = letter.ok_or_else(|| QueueError::Unavailable(UNKNOWN_RECEIPT.into()))?;
        dead::bury(lane, &letter.body, reason, Some(letter.attempt), now_ms()).await?;
        self.ack(queue, vec![receipt]).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError> {
        let lane = self.lane(queue)?;
        let (visible, in_flight) = counts(lane, &lane.url).await?;
        let (dead, listed) = counts(lane, &lane.dlq).await?;
        let oldest = lock(&lane.packs).oldest().filter(|_| visible + in_flight > 0);
        let oldest_age_ms = oldest.map_or(0, |sent| now_ms().saturating_sub(sent));
        Ok(Depth { visible, in_flight, oldest_age_ms, dead: dead + listed })
    }

    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        dead::list(self.lane(queue)?, limit).await
    }

    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError> {
        dead::redrive(self.lane(queue)?, limit).await
    }
}
