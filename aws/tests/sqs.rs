//! The laws of the Queues port on SQS, and what packs add to them.

#[path = "sqs/asking.rs"]
mod asking;
#[path = "sqs/bench.rs"]
mod bench;
#[path = "sqs/faults.rs"]
mod faults;
#[path = "sqs/held.rs"]
mod held;
#[path = "sqs/letters.rs"]
mod letters;
#[path = "support/queue.rs"]
mod queue;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_aws::sqs::{self, SqsOptions, SqsQueues};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::ports::queues::contract::{self, Harness};
use soundoff_common::ports::queues::{MAX_BODY_BYTES, Message, Outgoing, QueueName, Queues};
use soundoff_common::telemetry::Metrics;

/// The queues of one engine, under a new prefix for each fresh start.
struct Engine {
    endpoint: String,
    prefix: std::sync::Mutex<String>,
}

impl Engine {
    fn new(variable: &str) -> Self {
        let endpoint = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names no engine"));
        Self { endpoint, prefix: std::sync::Mutex::default() }
    }

    async fn open(&self, fresh: bool) -> Arc<SqsQueues> {
        let config = AwsConfig { sqs_endpoint: Some(self.endpoint.clone()), ..AwsConfig::default() };
        let aws = Aws::connect(config, &Weather::new(Metrics::new())).await.expect("a region");
        if fresh {
            *self.prefix.lock().expect("no panic") =
                format!("t{}-", ulid::Ulid::generate().to_string().to_lowercase());
        }
        let options = SqsOptions { prefix: self.prefix.lock().expect("no panic").clone() };
        let names = [QueueName::new("alpha_q"), QueueName::new("beta_q")];
        if fresh {
            sqs::provision(&aws, &names, &options).await.expect("queues are made");
        }
        SqsQueues::open(&aws, &names, options).await.expect("queues are there")
    }
}

#[async_trait]
impl Harness for Engine {
    async fn fresh(&self) -> Arc<dyn Queues> {
        self.open(true).await
    }

    async fn restarted(&self, queues: Arc<dyn Queues>) -> Arc<dyn Queues> {
        drop(queues);
        self.open(false).await
    }
}

mod ministack {
    use super::*;

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn send_answers_per_entry() {
        contract::send_answers_per_entry(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn sent_survives_a_restart() {
        contract::sent_survives_a_restart(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn hidden_until_visibility_lapses() {
        contract::hidden_until_visibility_lapses(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn receive_is_bounded() {
        contract::receive_is_bounded(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn receive_wakes_at_once() {
        contract::receive_wakes_at_once(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn one_batch_wakes_many_receivers() {
        contract::one_batch_wakes_many_receivers(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn receive_wakes_for_a_lapse() {
        contract::receive_wakes_for_a_lapse(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn ack_is_for_good() {
        contract::ack_is_for_good(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn ack_takes_stale_receipts() {
        contract::ack_takes_stale_receipts(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn acked_stays_away_after_a_restart() {
        contract::acked_stays_away_after_a_restart(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn extend_replaces_visibility() {
        contract::extend_replaces_visibility(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn stale_extend_changes_nothing() {
        contract::stale_extend_changes_nothing(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn attempts_are_counted() {
        contract::attempts_are_counted(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn given_back_counts_no_receive() {
        contract::given_back_counts_no_receive(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn bury_moves_to_the_dead_letters() {
        contract::bury_moves_to_the_dead_letters(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn redrive_brings_back() {
        contract::redrive_brings_back(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn redriven_ignores_old_receipts() {
        contract::redriven_ignores_old_receipts(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn unacked_is_visible_after_a_restart() {
        contract::unacked_is_visible_after_a_restart(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn many_receivers_share() {
        contract::many_receivers_share(&Engine::new("TEST_MINISTACK")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn unknown_queues_are_refused() {
        contract::unknown_queues_are_refused(&Engine::new("TEST_MINISTACK")).await;
    }
}

/// A second opinion, on the laws that it keeps: it lets a stale receipt change the visibility timeout, and is too slow
/// for many receivers.
mod moto {
    use super::*;

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn send_answers_per_entry() {
        contract::send_answers_per_entry(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn sent_survives_a_restart() {
        contract::sent_survives_a_restart(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn hidden_until_visibility_lapses() {
        contract::hidden_until_visibility_lapses(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn ack_is_for_good() {
        contract::ack_is_for_good(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn attempts_are_counted() {
        contract::attempts_are_counted(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn given_back_counts_no_receive() {
        contract::given_back_counts_no_receive(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn redrive_brings_back() {
        contract::redrive_brings_back(&Engine::new("TEST_MOTO")).await;
    }

    #[tokio::test]
    #[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
    async fn unknown_queues_are_refused() {
        contract::unknown_queues_are_refused(&Engine::new("TEST_MOTO")).await;
    }
}

fn alpha() -> QueueName {
    QueueName::new("alpha_q")
}

fn batch(bodies: impl IntoIterator<Item = String>) -> Vec<Outgoing> {
    bodies.into_iter().map(|body| Outgoing { queue: alpha(), body: Bytes::from(body), user: None }).collect()
}

async fn take(queues: &SqsQueues, count: usize, visibility: Duration) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < count {
        let got = queues.receive(&alpha(), 64, Duration::from_secs(20), visibility).await.expect("receive");
        assert!(
            !got.is_empty() && got.len() <= 64,
            "at most max, and none missing: {} of {count}",
            all.len()
        );
        all.extend(got);
    }
    all
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_crowd_is_packed() {
    let queues = Engine::new("TEST_MINISTACK").open(true).await;
    let sends = (0..2000).map(|n| queues.send(batch([format!("envelope {n}")])));
    for answers in futures_util::future::join_all(sends).await {
        assert!(answers[0].is_ok(), "{answers:?}");
    }
    let depth = queues.depth(&alpha()).await.expect("depth");
    assert!(depth.visible < 100, "packed: {depth:?}");
    println!("2000 envelopes lie in {} messages", depth.visible);
    let got = take(&queues, 2000, LONG).await;
    let bodies: BTreeSet<_> = got.iter().map(|message| message.body.clone()).collect();
    assert_eq!((got.len(), bodies.len()), (2000, 2000), "each once");
    queues.ack(&alpha(), got.into_iter().map(|message| message.receipt).collect()).await.expect("ack");
    let depth = queues.depth(&alpha()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight), (0, 0), "acks delete packs");
}

/// Law 10 for what a process holds; and the engines take the name of a user with a message.
async fn a_greedy_user_s_pack_holds_nobody_up(variable: &str) {
    let queues = Engine::new(variable).open(true).await;
    let of = |user: Option<&str>, body: String| Outgoing {
        user: user.map(|user| user.parse().expect("a handle")),
        ..batch([body]).remove(0)
    };
    let greedy = (0..300).map(|n| of(Some("greedy"), format!("greedy {n}")));
    let others =
        [of(Some("ann"), "ann".to_owned()), of(Some("bob"), "bob".to_owned()), of(None, "-".to_owned())];
    let answers = queues.send(greedy.chain(others).collect()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let depth = queues.depth(&alpha()).await.expect("depth");
    assert_eq!(depth.visible, 2, "one pack of the greedy user's, and one of all others'");
    let mut got = take(&queues, 16, LONG).await;
    let first: Vec<_> = got.iter().map(|message| message.body.clone()).collect();
    for other in ["ann", "bob", "-"] {
        assert!(first.iter().take(16).any(|body| *body == other), "{other} waits for {first:?}");
    }
    got.extend(take(&queues, 303 - got.len(), LONG).await);
    queues.ack(&alpha(), got.into_iter().map(|message| message.receipt).collect()).await.expect("ack");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_greedy_user_s_pack_holds_nobody_up_on_ministack() {
    a_greedy_user_s_pack_holds_nobody_up("TEST_MINISTACK").await;
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_greedy_user_s_pack_holds_nobody_up_on_moto() {
    a_greedy_user_s_pack_holds_nobody_up("TEST_MOTO").await;
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn one_member_is_tried_again_alone() {
    let queues = Engine::new("TEST_MINISTACK").open(true).await;
    queues.send(batch((0..20).map(|n| n.to_string()))).await;
    let mut got = take(&queues, 20, LONG).await;
    let retried = got.pop().expect("twenty");
    queues.extend(&alpha(), vec![retried.receipt], Duration::from_secs(1)).await.expect("extend");
    let again = take(&queues, 1, LONG).await;
    assert_eq!((again.len(), again[0].attempt, &again[0].body), (1, 2, &retried.body));
    assert_eq!(again[0].sent_at, retried.sent_at, "sent_at is carried along");
    let receipts = got.into_iter().chain(again).map(|message| message.receipt).collect();
    queues.ack(&alpha(), receipts).await.expect("ack");
    let depth = queues.depth(&alpha()).await.expect("depth");
    assert_eq!((depth.visible, depth.in_flight), (0, 0), "nothing else came again");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_crash_brings_a_pack_back() {
    let engine = Engine::new("TEST_MINISTACK");
    let queues = engine.open(true).await;
    queues.send(batch((0..20).map(|n| n.to_string()))).await;
    let got = queues.receive(&alpha(), 5, LONG, Duration::from_secs(1)).await.expect("receive");
    assert_eq!(got.len(), 5, "at most max");
    drop(queues);
    let queues = engine.open(false).await;
    let bodies: BTreeSet<_> = take(&queues, 20, LONG).await.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies.len(), 20, "everything that was not settled comes again");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn every_character_travels() {
    let queues = Engine::new("TEST_MINISTACK").open(true).await;
    let strange = "\u{fffe}\u{ffff}\u{85}\u{1f600}\"'~~so1 0 0 1\n<&>\r\t".to_owned();
    let low: String = ('\u{0}'..='\u{ffff}').step_by(3).collect();
    let largest = ["~", "\u{0}", "\u{fffe}"].map(|c| c.repeat(MAX_BODY_BYTES / c.len()));
    for body in [strange, low].into_iter().chain(largest) {
        assert!(queues.send(batch([body.clone()])).await[0].is_ok());
        let got = take(&queues, 1, LONG).await;
        assert!(got[0].body == body, "byte for byte");
        queues.ack(&alpha(), vec![got[0].receipt.clone()]).await.expect("ack");
    }
}
