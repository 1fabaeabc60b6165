//! Batches that fail in part: only failed entries are tried again, each once, and each entry has its own answer.

use std::time::Duration;

use futures_util::future::join_all;
use soundoff_common::ports::queues::QueueError;

use crate::bench::{ALONE, Bench, DELETE, HIDE, LONG, RECEIVE, SEND, bodies, receipts};
use crate::queue::{Fake, Reply, signed};

const LANES: usize = 32;

/// Queues to use in parallel.
async fn lanes() -> (Bench, Vec<String>) {
    let names: Vec<_> = (0..LANES).map(|n| format!("lane_{n}")).collect();
    let bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (bench, names)
}

fn chosen<T: Clone>(all: &[T], mask: u32) -> Vec<T> {
    all.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, one)| one.clone()).collect()
}

async fn ten(bench: &Bench, queue: &str) -> Vec<soundoff_common::ports::queues::Message> {
    (0..10).for_each(|n| bench.fake.put(queue, &n.to_string()));
    let got = bench.receive(queue, 10, LONG).await;
    assert_eq!(got.len(), 10, "all at once");
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subset_of_a_delete_may_fail_once() {
    if !signed() {
        return;
    }
    let (bench, names) = lanes().await;
    let bench = &bench;
    let all = names.iter().enumerate().map(|(lane, queue)| async move {
        for mask in (1..1024_u32).filter(|mask| *mask as usize % LANES == lane) {
            let got = ten(bench, queue).await;
            bench.fake.next(queue, DELETE, [Reply::Failing(mask, false)]);
            bench.ack(queue, receipts(&got)).await.expect("in the end");
            let calls = bench.fake.calls(queue, DELETE);
            assert_eq!(calls.len(), 2, "subset {mask:b}");
            assert_eq!(calls[0].entries.len(), 10);
            assert_eq!(calls[1].entries, chosen(&calls[0].entries, mask), "each failed one again, once");
            assert!(bench.fake.bodies(queue).is_empty(), "nothing is left");
        }
    });
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_of_a_visibility_change_may_fail_once() {
    if !signed() {
        return;
    }
    let (bench, names) = lanes().await;
    let bench = &bench;
    let all = names.iter().enumerate().map(|(lane, queue)| async move {
        let got = ten(bench, queue).await;
        for mask in (1..1024_u32).step_by(7).filter(|mask| *mask as usize % LANES == lane) {
            bench.fake.next(queue, HIDE, [Reply::Failing(mask, false)]);
            bench.extend(queue, receipts(&got), 90).await.expect("in the end");
            let calls = bench.fake.calls(queue, HIDE);
            assert_eq!(calls.len(), 2, "subset {mask:b}");
            assert_eq!(calls[1].entries, chosen(&calls[0].entries, mask), "each failed one again, once");
            assert_eq!(calls[1].visibility, 90);
        }
    });
    join_all(all).await;
}

/// Bodies that are sent as separate messages of one request.
fn apart() -> Vec<String> {
    (0..7).map(|n| if n % 2 == 0 { n.to_string() } else { n.to_string().repeat(65_500) }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subset_of_a_send_may_fail_once() {
    if !signed() {
        return;
    }
    let (bench, names) = lanes().await;
    let bench = &bench;
    let all = names.iter().enumerate().map(|(lane, queue)| async move {
        for mask in (1..128_u32).filter(|mask| *mask as usize % LANES == lane) {
            bench.fake.next(queue, SEND, [Reply::Failing(mask, false)]);
            let answers = bench.send(queue, apart()).await;
            assert!(answers.len() == 7 && answers.iter().all(Result::is_ok), "{answers:?}");
            let calls = bench.fake.calls(queue, SEND);
            assert_eq!(calls.len(), 2, "subset {mask:b}");
            assert!(calls[0].entries == apart() && calls[1].entries == chosen(&apart(), mask));
            let mut kept = bench.fake.bodies(queue);
            kept.sort();
            assert!(kept == apart(), "each once: {}", kept.len());
            let got = bench.receive(queue, 10, LONG).await;
            bench.ack(queue, receipts(&got)).await.expect("acked");
        }
    });
    join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_sender_is_not_sent_again() {
    if !signed() {
        return;
    }
    let (bench, names) = lanes().await;
    let bench = &bench;
    let all = names.iter().enumerate().map(|(lane, queue)| async move {
        for mask in (1..128_u32).filter(|mask| *mask as usize % LANES == lane) {
            bench.fake.next(queue, SEND, [Reply::Failing(mask, true)]);
            let answers = bench.send(queue, apart()).await;
            let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
            let refusals: Vec<_> = (0..7).map(|n| mask >> n & 1 == 1).collect();
            assert_eq!(refused, refusals, "each entry its own answer, in order");
            assert_eq!(bench.fake.calls(queue, SEND).len(), 1, "it is no use");
            let mut kept = bench.fake.bodies(queue);
            kept.sort();
            assert!(kept == chosen(&apart(), !mask), "the others arrived");
            let got = bench.receive(queue, 10, Duration::from_secs(20)).await;
            bench.ack(queue, receipts(&got)).await.expect("acked");
        }
    });
    // Where nothing arrived there is nothing to receive.
    join_all(all.take(LANES - 1)).await;
}

#[tokio::test]
async fn one_that_fails_always_leaves_the_others_alone() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&["alpha_q"]).await;
    let again = [Reply::Failing(0b100, false)].into_iter().chain([Reply::Failing(1, false); 4]);
    bench.fake.next("alpha_q", SEND, again);
    let answers = bench.send("alpha_q", apart()).await;
    let refused: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, false, false, false, false]);
    assert!(matches!(&answers[2], Err(QueueError::Unavailable(why)) if why.contains("InternalError")));
    let sizes: Vec<_> = bench.fake.calls("alpha_q", SEND).iter().map(|call| call.entries.len()).collect();
    assert_eq!(sizes, [7, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_request_that_is_refused_whole_is_made_again() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&["alpha_q"]).await;
    for action in [SEND, RECEIVE, HIDE, DELETE] {
        bench.fake.next("alpha_q", action, [Reply::Unavailable]);
    }
    let answers = bench.send("alpha_q", vec!["a".into(), "b".into()]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let got = bench.receive("alpha_q", 10, LONG).await;
    assert_eq!(bodies(&got), ["a", "b"]);
    bench.extend("alpha_q", receipts(&got), 100).await.expect("extended");
    bench.ack("alpha_q", receipts(&got)).await.expect("acked");
    assert!(bench.fake.bodies("alpha_q").is_empty());
    for action in [SEND, DELETE] {
        assert_eq!(bench.fake.calls("alpha_q", action).len(), 2, "{action}");
    }
    assert!(bench.fake.calls("alpha_q", ALONE).is_empty(), "nothing was sent again");
}

#[tokio::test]
async fn a_lost_answer_may_double_and_never_loses() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&["alpha_q"]).await;
    bench.fake.next("alpha_q", SEND, [Reply::Lost]);
    let answers = bench.send("alpha_q", vec!["once or twice".into()]).await;
    assert!(answers[0].is_ok());
    assert_eq!(bench.fake.bodies("alpha_q"), ["once or twice"; 2], "at least once");
}

#[tokio::test]
async fn received_messages_are_handed_out_although_a_further_receive_failed() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&["alpha_q"]).await;
    (0..10).for_each(|n| bench.fake.put("alpha_q", &n.to_string()));
    bench.fake.next("alpha_q", RECEIVE, [Reply::Well]);
    bench.fake.always("alpha_q", RECEIVE, Reply::Unavailable);
    assert_eq!(bench.receive("alpha_q", 64, LONG).await.len(), 10);
    assert!(bench.fake.calls("alpha_q", RECEIVE).len() > 1, "more was asked for");
}

#[tokio::test]
async fn bodies_that_come_steadily_gather() {
    if !signed() {
        return;
    }
    let bench = Bench::before(Fake::serve(Duration::from_millis(20)).await, &["alpha_q"]).await;
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..300 {
        pace.tick().await;
        let bench = bench.clone();
        sends.spawn(async move { bench.send("alpha_q", vec![n.to_string()]).await });
    }
    assert!(sends.join_all().await.into_iter().flatten().all(|answer| answer.is_ok()));
    let calls = bench.fake.calls("alpha_q", SEND).len();
    assert!(calls < 75, "300 bodies in {calls} requests");
}

#[tokio::test]
async fn a_send_that_takes_long_delays_no_other() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&["alpha_q"]).await;
    bench.fake.next("alpha_q", SEND, [Reply::Slow(Duration::from_secs(3))]);
    let slow = tokio::spawn({
        let bench = bench.clone();
        async move { bench.send("alpha_q", vec!["slow".into()]).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let quick = bench.send("alpha_q", vec!["quick".into()]);
    let quick = tokio::time::timeout(Duration::from_secs(1), quick).await.expect("not held up");
    assert!(quick[0].is_ok());
    assert!(slow.await.expect("lives")[0].is_ok());
}
