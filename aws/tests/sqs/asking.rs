//! How many requests the engine gets: each costs money.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::consumer::{ConsumerConfig, Job, Verdict, consume};
use soundoff_common::ports::queues::{Message, QueueName};
use soundoff_common::protocol::ErrorBody;
use soundoff_common::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, DELETE, HIDE, LONG, SEND};
use crate::queue::signed;

const Q: &str = "alpha_q";

#[tokio::test]
async fn what_comes_soon_after_a_send_goes_in_one_message() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    let send = |text: &str, after| {
        let (bench, text) = (bench.clone(), text.to_owned());
        async move {
            tokio::time::sleep(after).await;
            let sent = bench.send(Q, vec![text]).await;
            assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        }
    };
    // The engine answers at once, so only the pace keeps the last two together. A machine that pauses may separate them
    // now and then.
    for _ in 0..20 {
        send("first", Duration::ZERO).await;
        tokio::join!(
            send("soon", Duration::ZERO),
            send("sooner than a third send", Duration::from_millis(5))
        );
        if bench.fake.calls(Q, SEND).len() == 2 {
            return;
        }
    }
    panic!("every body was sent by itself");
}

struct Done(AtomicUsize);

#[async_trait]
impl Job for Done {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        self.0.fetch_add(batch.len(), Ordering::AcqRel);
        vec![Verdict::Done; batch.len()]
    }

    async fn give_up(&self, _: &Message, _: &str) {}

    async fn refuse(&self, _: &Message, _: &ErrorBody) {}
}

#[tokio::test]
async fn deletes_gather_behind_the_first() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    let (stop, done) = (CancellationToken::new(), Arc::new(Done(AtomicUsize::new(0))));
    // One slot: without gathering, each message would be deleted by its own call.
    let config = ConsumerConfig { slots: 1, ..ConsumerConfig::default() };
    (0..30).for_each(|n| bench.fake.put(Q, &format!("single {n}")));
    let consumer = consume(
        bench.queues.clone(),
        QueueName::new(Q),
        config,
        done.clone(),
        Weather::new(Metrics::new()),
        stop.clone(),
    );
    let consumer = tokio::spawn(consumer);
    bench.emptied(Q).await;
    stop.cancel();
    consumer.await.expect("it ends");
    assert_eq!(done.0.load(Ordering::Acquire), 30);
    let deletes: Vec<_> = bench.fake.calls(Q, DELETE).iter().map(|call| call.entries.len()).collect();
    assert!(deletes.len() <= 10, "{deletes:?}");
}

#[tokio::test]
async fn after_a_pack_nothing_is_hidden_again() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    for (members, hidden) in [(["a", "b"], 1), (["c", "d"], 0), (["e", "f"], 0)] {
        bench.pack(Q, &members);
        let got = bench.receive(Q, 10, LONG).await;
        assert_eq!(got.len(), 2);
        assert_eq!(bench.fake.calls(Q, HIDE).len(), hidden, "{members:?}");
    }
    // A message of one is hidden for as long as requested, and not longer.
    bench.fake.put(Q, "single");
    assert_eq!(bench.receive(Q, 10, LONG).await.len(), 1);
    let set: Vec<_> = bench.fake.calls(Q, HIDE).iter().map(|call| call.visibility).collect();
    assert_eq!(set, [LONG.as_secs()]);
    bench.fake.put(Q, "another");
    assert_eq!(bench.receive(Q, 10, Duration::from_secs(30)).await.len(), 1);
    assert!(bench.fake.calls(Q, HIDE).is_empty(), "singles are expected again");
}
