//! The usual way to use SQS, for comparison: no packs, and one request for each step of one envelope or of ten.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long envelopes gather: the same as for our own packs.
const LINGER: Duration = Duration::from_millis(50);
const SENDS_AT_ONCE: usize = 64;
const POLLERS: usize = 64;

/// One envelope on its way, and the caller that waits for it.
pub(crate) type Waiting = (String, oneshot::Sender<()>);

/// A queue, and how many envelopes go into one request.
#[derive(Clone)]
pub(crate) struct Plain {
    client: Client,
    url: String,
    most: usize,
}

impl Plain {
    pub(crate) fn new(endpoint: &str, queue: &str, most: usize) -> Self {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "example"))
            .endpoint_url(endpoint)
            .build();
        Self { client: Client::from_conf(config), url: format!("{endpoint}/0/{queue}"), most }
    }

    /// Sends envelopes: each as it comes, or gathered until there are enough or the first has waited long enough.
    pub(crate) async fn send(self, mut envelopes: mpsc::Receiver<Waiting>) {
        let (places, mut sends) = (Arc::new(Semaphore::new(SENDS_AT_ONCE)), JoinSet::new());
        while let Some(first) = envelopes.recv().await {
            let mut batch = vec![first];
            let _full_or_over = tokio::time::timeout(LINGER, async {
                while batch.len() < self.most
                    && let Some(next) = envelopes.recv().await
                {
                    batch.push(next);
                }
            })
            .await;
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            let queue = self.clone();
            sends.spawn(async move {
                queue.send_batch(batch).await;
                drop(place);
            });
            while sends.try_join_next().is_some() {}
        }
        sends.join_all().await;
    }

    async fn send_batch(&self, batch: Vec<Waiting>) {
        let entries = batch.iter().enumerate().map(|(n, (body, _))| {
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(body);
            entry.build().expect("it has all it needs")
        });
        let call = self.client.send_message_batch().queue_url(&self.url);
        call.set_entries(Some(entries.collect())).send().await.expect("the engine takes it");
        for (_, waiting) in batch {
            let _nobody_waits = waiting.send(());
        }
    }

    /// Receives, hands on, and deletes.
    pub(crate) async fn consume(
        self,
        done: impl Fn(Vec<String>) + Clone + Send + Sync + 'static,
        stop: CancellationToken,
    ) {
        let mut pollers = JoinSet::new();
        for _ in 0..POLLERS {
            let (queue, done, stop) = (self.clone(), done.clone(), stop.clone());
            pollers.spawn(async move {
                while let Some(()) = stop.run_until_cancelled(queue.poll(&done)).await {}
            });
        }
        pollers.join_all().await;
    }

    async fn poll(&self, done: &impl Fn(Vec<String>)) {
        let most = i32::try_from(self.most).expect("it is small");
        let call = self.client.receive_message().queue_url(&self.url).max_number_of_messages(most);
        let got =
            call.wait_time_seconds(20).send().await.expect("the engine answers").messages.unwrap_or_default();
        if got.is_empty() {
            return;
        }
        let entries = got.iter().enumerate().map(|(n, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
            let entry = entry.receipt_handle(message.receipt_handle().unwrap_or_default());
            entry.build().expect("it has all it needs")
        });
        let call = self.client.delete_message_batch().queue_url(&self.url);
        call.set_entries(Some(entries.collect())).send().await.expect("the engine deletes");
        done(got.into_iter().filter_map(|message| message.body).collect());
    }
}
