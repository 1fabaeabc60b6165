//! The pull loop on queues of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job, Verdict, consume};
use soundoff_common::ports::queues::{Message, Outgoing, QueueName, Queues as _};
use soundoff_common::protocol::ErrorBody;
use soundoff_common::telemetry::Metrics;
use soundoff_embedded::queues::{EmbeddedQueues, Options};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const SLOTS: usize = 20;
const SLOW: usize = 4;
// Long enough that a busy machine can extend it in time.
const VISIBILITY: Duration = Duration::from_secs(1);

/// Records each run, and holds some of them until the test lets them go.
#[derive(Default)]
struct Slow {
    runs: Mutex<BTreeMap<String, usize>>,
    let_go: Notify,
}

impl Slow {
    fn runs(&self) -> BTreeMap<String, usize> {
        self.runs.lock().unwrap().clone()
    }
}

#[async_trait]
impl Job for Slow {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        for message in batch {
            let body = String::from_utf8_lossy(&message.body).into_owned();
            *self.runs.lock().unwrap().entry(body.clone()).or_default() += 1;
            if body.starts_with("slow") {
                self.let_go.notified().await;
            }
        }
        vec![Verdict::Done; batch.len()]
    }

    async fn give_up(&self, _: &Message, reason: &str) {
        panic!("given up: {reason}");
    }

    async fn refuse(&self, _: &Message, error: &ErrorBody) {
        panic!("refused: {error}");
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let all = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn slow_messages_are_kept_out_of_sight_and_hold_up_no_other() {
    let (dir, queue) = (tempfile::tempdir().unwrap(), QueueName::main());
    let queues = EmbeddedQueues::open(dir.path(), std::slice::from_ref(&queue), Options::default()).unwrap();
    let left = async || {
        let depth = queues.depth(&queue).await.unwrap();
        (depth.visible, depth.in_flight)
    };
    let send = async |bodies: &[String]| {
        let outgoing =
            |body: &String| Outgoing { queue: queue.clone(), body: Bytes::from(body.clone()), user: None };
        let sent = queues.send(bodies.iter().map(outgoing).collect()).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    };
    // The slow ones are received together with quick ones and share their tasks. There are fewer slots than messages,
    // so the quick ones need theirs again.
    let name = |n: usize| {
        if n < SLOTS && n.is_multiple_of(SLOTS / SLOW) { format!("slow{n}") } else { format!("quick{n}") }
    };
    let bodies: Vec<String> = (0..3 * SLOTS).map(name).collect();
    send(&bodies).await;
    let (job, stop) = (Arc::new(Slow::default()), CancellationToken::new());
    let config = ConsumerConfig { slots: SLOTS, visibility: VISIBILITY, ..ConsumerConfig::default() };
    let consumer = tokio::spawn(consume(
        queues.clone(),
        queue.clone(),
        config,
        job.clone(),
        Weather::new(Metrics::default()),
        stop.clone(),
    ));
    until("all quick ones are done", async || left().await == (0, SLOW as u64)).await;
    // Without extensions their visibility timeout would have expired meanwhile, and there were free slots to receive
    // them again.
    tokio::time::sleep(2 * VISIBILITY).await;
    send(&["last".to_owned()]).await;
    until("the last is done", async || job.runs().contains_key("last")).await;
    until("but for the slow ones", async || left().await == (0, SLOW as u64)).await;
    let once = bodies.iter().cloned().chain(["last".to_owned()]).map(|body| (body, 1)).collect();
    assert_eq!(job.runs(), once);
    job.let_go.notify_waiters();
    until("all are done", async || left().await == (0, 0)).await;
    stop.cancel();
    consumer.await.unwrap();
}
