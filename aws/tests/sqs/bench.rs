//! The adapter with a fake SQS that fails on demand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use soundoff_aws::sqs::{SqsOptions, SqsQueues};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::ports::queues::{Message, Outgoing, QueueError, QueueName, Queues as _, Receipt};
use soundoff_common::telemetry::Metrics;

use crate::queue::Fake;

pub(crate) const SEND: &str = "SendMessageBatch";
pub(crate) const ALONE: &str = "SendMessage";
pub(crate) const DELETE: &str = "DeleteMessageBatch";
pub(crate) const HIDE: &str = "ChangeMessageVisibilityBatch";
pub(crate) const RECEIVE: &str = "ReceiveMessage";
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One engine and one process that uses it.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) fake: Fake,
    pub(crate) queues: Arc<SqsQueues>,
}

impl Bench {
    pub(crate) async fn new(names: &[&str]) -> Self {
        Self::before(Fake::serve(Duration::ZERO).await, names).await
    }

    pub(crate) async fn before(fake: Fake, names: &[&str]) -> Self {
        let queues = open(&fake, names).await;
        Self { fake, queues }
    }

    pub(crate) async fn send(&self, queue: &str, bodies: Vec<String>) -> Vec<Result<(), QueueError>> {
        let queue = QueueName::new(queue);
        let outgoing = bodies.into_iter().map(|body| Outgoing {
            queue: queue.clone(),
            body: Bytes::from(body),
            user: None,
        });
        self.queues.send(outgoing.collect()).await
    }

    /// Adds a pack whose members have these bodies.
    pub(crate) fn pack(&self, queue: &str, members: &[&str]) {
        let lengths: Vec<_> = members.iter().map(|member| member.len().to_string()).collect();
        self.fake.put(queue, &format!("~so1 0 0 {}\n{}", lengths.join(","), members.concat()));
    }

    pub(crate) async fn receive(&self, queue: &str, max: usize, visibility: Duration) -> Vec<Message> {
        let (queue, wait) = (QueueName::new(queue), Duration::from_secs(5));
        loop {
            match self.queues.receive(&queue, max, wait, visibility).await {
                // The tries of one request that were far apart have opened its breaker.
                Err(QueueError::Unavailable(why)) if why.contains("not asked") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                got => return got.expect("received"),
            }
        }
    }

    /// Receives, and expects nothing.
    pub(crate) async fn nothing(&self, queue: &str) {
        let wait = Duration::from_secs(1);
        let got = self.queues.receive(&QueueName::new(queue), 64, wait, LONG).await.expect("received");
        assert!(got.is_empty(), "{:?}", bodies(&got));
    }

    pub(crate) async fn ack(&self, queue: &str, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.queues.ack(&QueueName::new(queue), receipts).await
    }

    pub(crate) async fn extend(
        &self,
        queue: &str,
        receipts: Vec<Receipt>,
        seconds: u64,
    ) -> Result<(), QueueError> {
        self.queues.extend(&QueueName::new(queue), receipts, Duration::from_secs(seconds)).await
    }

    /// Waits until a queue of the engine is empty.
    pub(crate) async fn emptied(&self, queue: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        while !self.fake.bodies(queue).is_empty() {
            assert!(Instant::now() < until, "left over: {:?}", self.fake.bodies(queue));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) async fn open(fake: &Fake, names: &[&str]) -> Arc<SqsQueues> {
    let config = AwsConfig { sqs_endpoint: Some(fake.endpoint.clone()), ..AwsConfig::default() };
    let aws = Aws::connect(config, &Weather::new(Metrics::new())).await.expect("a region");
    let names: Vec<_> = names.iter().map(|name| QueueName::new(name)).collect();
    SqsQueues::open(&aws, &names, SqsOptions { prefix: String::new() }).await.expect("queues are there")
}

pub(crate) fn receipts(messages: &[Message]) -> Vec<Receipt> {
    messages.iter().map(|message| message.receipt.clone()).collect()
}

/// The bodies, sorted.
pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    let mut all: Vec<_> =
        messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
    all.sort();
    all
}
