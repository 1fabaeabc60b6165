//! What the process holds of packs when calls fail, race or are broken off.

use std::time::{Duration, Instant};

use soundoff_common::ports::queues::{QueueName, Queues as _};

use crate::bench::{ALONE, Bench, DELETE, HIDE, LONG, RECEIVE, bodies, receipts};
use crate::queue::{Reply, signed};

const Q: &str = "alpha_q";

async fn held(
    members: &[&str],
    visibility: Duration,
) -> (Bench, Vec<soundoff_common::ports::queues::Message>) {
    let bench = Bench::new(&[Q]).await;
    bench.pack(Q, members);
    let got = bench.receive(Q, 10, visibility).await;
    assert_eq!(got.len(), members.len());
    (bench, got)
}

#[tokio::test]
async fn a_failed_delete_is_repeated() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b", "c"], LONG).await;
    bench.fake.always(Q, DELETE, Reply::Failing(1, false));
    bench.ack(Q, receipts(&got)).await.expect_err("it is still there");
    bench.fake.always(Q, DELETE, Reply::Well);
    bench.emptied(Q).await;
}

#[tokio::test]
async fn members_of_packs_are_handed_out_in_turn() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    let many: Vec<String> = (0..100).map(|n| format!("greedy {n}")).collect();
    bench.pack(Q, &many.iter().map(String::as_str).collect::<Vec<_>>());
    bench.pack(Q, &["ann", "bob"]);
    let got = bench.receive(Q, 6, LONG).await;
    assert_eq!(bodies(&got), ["ann", "bob", "greedy 0", "greedy 1", "greedy 2", "greedy 3"]);
}

#[tokio::test]
async fn a_failed_ack_may_be_repeated() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b", "c"], LONG).await;
    bench.fake.next(Q, DELETE, [Reply::Failing(1, false); 5]);
    bench.ack(Q, receipts(&got)).await.expect_err("it is still there");
    bench.ack(Q, receipts(&got)[..1].to_vec()).await.expect("now");
    assert!(bench.fake.bodies(Q).is_empty());
}

#[tokio::test]
async fn an_ack_that_is_broken_off_is_completed() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.always(Q, DELETE, Reply::Unavailable);
    let ack = tokio::time::timeout(Duration::from_millis(50), bench.ack(Q, receipts(&got))).await;
    assert!(ack.is_err(), "broken off");
    bench.fake.always(Q, DELETE, Reply::Well);
    bench.fake.expire(Q);
    bench.nothing(Q).await;
    bench.emptied(Q).await;
}

#[tokio::test]
async fn what_was_acked_stays_away_when_its_pack_comes_again() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b", "c", "d"], LONG).await;
    bench.ack(Q, receipts(&got[..2])).await.expect("acked");
    assert_eq!(bench.fake.bodies(Q).len(), 1, "a pack stays until all are acked");
    bench.fake.expire(Q);
    let again = bench.receive(Q, 10, LONG).await;
    assert_eq!(bodies(&again), bodies(&got[2..]));
    bench.extend(Q, receipts(&got[2..]), 0).await.expect("a stale receipt changes nothing");
    assert!(bench.fake.calls(Q, ALONE).is_empty());
    bench.ack(Q, receipts(&got[2..])).await.expect("an older receipt acks");
    assert!(bench.fake.bodies(Q).is_empty());
}

#[tokio::test]
async fn a_member_is_sent_again_once() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.always(Q, ALONE, Reply::Slow(Duration::from_millis(600)));
    let first = receipts(&got[..1]);
    let (one, two) = tokio::join!(bench.extend(Q, first.clone(), 0), bench.extend(Q, first.clone(), 0));
    one.and(two).expect("extended");
    assert_eq!(bench.fake.calls(Q, ALONE).len(), 1);
    let again = bench.receive(Q, 10, LONG).await;
    assert_eq!((again.len(), again[0].attempt, &again[0].body), (1, 2, &got[0].body));
    assert_eq!(again[0].sent_at, got[0].sent_at);
    bench.ack(Q, receipts(&again)).await.expect("acked");
    bench.ack(Q, receipts(&got[1..])).await.expect("acked");
    assert!(bench.fake.bodies(Q).is_empty());
}

#[tokio::test]
async fn an_expired_member_is_sent_again_once_although_it_takes_long() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.always(Q, ALONE, Reply::Slow(Duration::from_secs(1)));
    bench.extend(Q, receipts(&got[..1]), 1).await.expect("extended");
    tokio::time::sleep(Duration::from_millis(1300)).await;
    bench.extend(Q, receipts(&got[..1]), 0).await.expect("extended");
    let again = bench.receive(Q, 10, LONG).await;
    assert_eq!(again.len(), 1);
    bench.nothing(Q).await;
    assert_eq!(bench.fake.calls(Q, ALONE).len(), 1);
}

#[tokio::test]
async fn an_ack_wins_over_a_member_that_is_being_sent_again() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.always(Q, ALONE, Reply::Slow(Duration::from_millis(500)));
    let ack = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bench.ack(Q, receipts(&got)).await
    };
    let (extended, acked) = tokio::join!(bench.extend(Q, receipts(&got[..1]), 0), ack);
    extended.and(acked).expect("both");
    bench.nothing(Q).await;
    bench.emptied(Q).await;
}

#[tokio::test]
async fn an_ack_wins_over_a_member_that_was_sent_again() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.extend(Q, receipts(&got), 0).await.expect("extended");
    assert_eq!(bench.fake.bodies(Q).len(), 2, "only the copies");
    let again = bench.receive(Q, 1, LONG).await;
    assert_eq!(again.len(), 1);
    bench.ack(Q, receipts(&got)).await.expect("by the old receipts");
    bench.nothing(Q).await;
    bench.emptied(Q).await;
}

#[tokio::test]
async fn a_member_that_could_not_leave_leaves_later() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.next(Q, ALONE, [Reply::Unavailable; 4]);
    bench.extend(Q, receipts(&got[..1]), 0).await.expect_err("not sent");
    let again = bench.receive(Q, 10, LONG).await;
    assert_eq!((bodies(&again), again[0].attempt), (bodies(&got[..1]), 2));
}

#[tokio::test]
async fn a_member_that_leaves_arrives_although_nobody_waits() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], LONG).await;
    bench.fake.next(Q, ALONE, [Reply::Slow(Duration::from_millis(300))]);
    let extend = bench.extend(Q, receipts(&got[..1]), 0);
    assert!(tokio::time::timeout(Duration::from_millis(50), extend).await.is_err());
    let again = bench.receive(Q, 10, LONG).await;
    bench.ack(Q, receipts(&again)).await.expect("acked");
    bench.ack(Q, receipts(&got[1..])).await.expect("acked");
    assert!(bench.fake.bodies(Q).is_empty());
}

/// Two members of a pack and one of three messages of one, all of nobody's: they stay buffered after a receive took the
/// others in turn.
async fn mixed() -> Bench {
    let bench = Bench::new(&[Q]).await;
    bench.pack(Q, &["p0", "p1", "p2", "p3"]);
    for n in 0..3 {
        assert!(bench.send(Q, vec![format!("s{n}")]).await[0].is_ok());
    }
    assert_eq!(bodies(&bench.receive(Q, 4, LONG).await), ["p0", "p1", "s0", "s1"]);
    bench.fake.calls(Q, HIDE);
    bench
}

#[tokio::test]
async fn messages_of_one_have_no_margin_and_packs_have() {
    if !signed() {
        return;
    }
    let bench = mixed().await;
    assert_eq!(bodies(&bench.receive(Q, 4, Duration::from_secs(100)).await), ["p2", "p3", "s2"]);
    let mut hidden: Vec<_> =
        bench.fake.calls(Q, HIDE).iter().map(|call| (call.visibility, call.entries.len())).collect();
    hidden.sort_unstable();
    assert_eq!(hidden, [(100, 1), (110, 1)]);
}

#[tokio::test]
async fn a_pack_outlasts_its_members() {
    if !signed() {
        return;
    }
    let (bench, got) = held(&["a", "b"], Duration::from_secs(5)).await;
    bench.extend(Q, receipts(&got[..1]), 200).await.expect("extended");
    bench.extend(Q, receipts(&got[1..]), 100).await.expect("extended");
    let hidden: Vec<_> = bench.fake.calls(Q, HIDE).iter().map(|call| call.visibility).collect();
    assert_eq!(hidden, [15, 210], "the longest counts");
}

#[tokio::test]
async fn taken_messages_are_handed_out_although_their_visibility_timeout_was_not_set() {
    if !signed() {
        return;
    }
    let bench = mixed().await;
    bench.fake.always(Q, HIDE, Reply::Failing(0b1111, false));
    let got = bench.receive(Q, 4, Duration::from_secs(100)).await;
    assert_eq!(got.len(), 3);
    bench.fake.always(Q, HIDE, Reply::Well);
    bench.fake.calls(Q, HIDE);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let made_up = bench.fake.calls(Q, HIDE);
    assert!(made_up.iter().any(|call| call.visibility > 60), "the keeper sets the pack's: {made_up:?}");
}

#[tokio::test]
async fn messages_that_were_not_handed_out_stay_buffered() {
    if !signed() {
        return;
    }
    let bench = mixed().await;
    bench.fake.next(Q, HIDE, [Reply::Slow(Duration::from_secs(1)), Reply::Slow(Duration::from_secs(1))]);
    let broken = bench.receive(Q, 4, Duration::from_secs(100));
    assert!(tokio::time::timeout(Duration::from_millis(100), broken).await.is_err(), "broken off");
    let got = bench.receive(Q, 4, Duration::from_secs(100)).await;
    assert_eq!(bodies(&got), ["p2", "p3", "s2"]);
    assert!(got.iter().all(|message| message.attempt == 1));
}

#[tokio::test]
async fn buffered_messages_are_kept_hidden() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    bench.pack(Q, &["a", "b", "c"]);
    let got = bench.receive(Q, 1, Duration::from_secs(2)).await;
    bench.ack(Q, receipts(&got)).await.expect("acked");
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let hidden: Vec<_> = bench.fake.calls(Q, HIDE).iter().map(|call| call.visibility).collect();
    assert!(hidden.contains(&12) && hidden.iter().any(|seconds| *seconds >= 30), "{hidden:?}");
    assert_eq!(bench.receive(Q, 10, LONG).await.len(), 2);
}

#[tokio::test]
async fn a_slow_queue_delays_no_other() {
    if !signed() {
        return;
    }
    let slow = ["slow_a", "slow_b", "slow_c", "slow_d", "slow_e"];
    let bench = Bench::new(&[&slow[..], &[Q]].concat()).await;
    for queue in slow {
        bench.fake.always(queue, ALONE, Reply::Slow(Duration::from_secs(4)));
        bench.pack(queue, &["a", "b"]);
        bench.receive(queue, 10, Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(1400)).await;
    bench.pack(Q, &["a", "b"]);
    let got = bench.receive(Q, 10, Duration::from_secs(1)).await;
    let began = Instant::now();
    let again = bench.receive(Q, 10, LONG).await;
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert!(!again.is_empty() && again[0].attempt == 2 && got[0].attempt == 1);
}

#[tokio::test]
async fn polls_are_no_more_than_receivers() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    let queue = QueueName::new(Q);
    for _ in 0..5 {
        let receive = bench.queues.receive(&queue, 10, Duration::from_secs(10), LONG);
        assert!(tokio::time::timeout(Duration::from_millis(50), receive).await.is_err(), "idle");
    }
    let calls = bench.fake.calls(Q, RECEIVE);
    assert_eq!(calls.len(), 1, "the first serves them all: {calls:?}");
    let late = bench.queues.receive(&queue, 10, Duration::from_secs(10), LONG);
    let (got, ()) = tokio::join!(late, async { bench.fake.put(Q, "late") });
    assert_eq!(got.expect("received").len(), 1, "messages of an orphaned poll are not lost");
    let waits: Vec<_> =
        (0..3).map(|_| bench.queues.receive(&queue, 10, Duration::from_secs(1), LONG)).collect();
    futures_util::future::join_all(waits).await;
    let most = bench.fake.calls(Q, RECEIVE).iter().map(|call| call.receives).max();
    assert!(most <= Some(3), "{most:?}");
}
