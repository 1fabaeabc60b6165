//! Dead letters, and bodies of the largest size.

use soundoff_common::ports::queues::{MAX_BODY_BYTES, QueueError, QueueName, Queues as _};

use crate::bench::{Bench, LONG, SEND, bodies, open, receipts};
use crate::queue::signed;

const Q: &str = "alpha_q";
const DLQ: &str = "alpha_q_dlq";

#[tokio::test]
async fn a_pack_that_the_engine_gave_up_is_unpacked() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    bench.pack(DLQ, &["a", "b", "c"]);
    let queue = QueueName::new(Q);
    let letters = bench.queues.dead_letters(&queue, 10).await.expect("listed");
    let listed: Vec<_> = letters.iter().map(|letter| (letter.key.as_str(), letter.body.as_str())).collect();
    assert_eq!(listed, [("1.0", "a"), ("1.1", "b"), ("1.2", "c")]);
    assert!(letters.iter().all(|letter| letter.reason == "received too often" && letter.buried_at > 0));
    assert_eq!(bench.queues.dead_letters(&queue, 2).await.expect("listed").len(), 2);
    assert_eq!(bench.queues.redrive(&queue, 2).await.expect("moved"), 2, "exactly the limit");
    let rest = bench.queues.dead_letters(&queue, 10).await.expect("listed");
    assert_eq!(rest.iter().map(|letter| letter.body.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(rest[0].buried_at, letters[2].buried_at);
    assert_eq!(bench.queues.redrive(&queue, 10).await.expect("moved"), 1);
    let mut kept = bench.fake.bodies(Q);
    kept.sort();
    assert_eq!((kept, bench.fake.bodies(DLQ).len()), (vec!["a".into(), "b".into(), "c".into()], 0));
    let got = bench.receive(Q, 10, LONG).await;
    assert!(got.iter().all(|message| message.attempt == 1));
    assert_eq!(bodies(&got), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_redriven_member_starts_without_its_earlier_attempts() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    bench.fake.put(Q, "~so1 4 77 1,1\nab");
    let got = bench.receive(Q, 10, LONG).await;
    assert!(got.iter().all(|message| message.attempt == 5 && message.sent_at == 77), "they are kept");
    let queue = QueueName::new(Q);
    bench.queues.bury(&queue, got[0].receipt.clone(), "broken\u{0}").await.expect("buried");
    bench.ack(Q, receipts(&got[1..])).await.expect("acked");
    assert!(bench.fake.bodies(Q).is_empty());
    let letters = bench.queues.dead_letters(&queue, 10).await.expect("listed");
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "broken"));
    assert_eq!(bench.queues.redrive(&queue, 10).await.expect("moved"), 1);
    let back = bench.receive(Q, 10, LONG).await;
    assert_eq!((back[0].attempt, back[0].body.as_ref()), (1, &b"a"[..]));
    assert!(back[0].sent_at > 77);
}

#[tokio::test]
async fn a_process_that_does_not_hold_a_message_cannot_bury_it() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    bench.fake.put(Q, "a");
    let got = bench.receive(Q, 10, LONG).await;
    let other = open(&bench.fake, &[Q]).await;
    let refused = other.bury(&QueueName::new(Q), got[0].receipt.clone(), "why").await;
    let Err(QueueError::Unavailable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("body") && why.contains("received again"), "{why}");
    assert!(bench.fake.bodies(DLQ).is_empty() && bench.fake.bodies(Q).len() == 1);
    other.ack(&QueueName::new(Q), receipts(&got)).await.expect("any process can ack a message of one");
    assert!(bench.fake.bodies(Q).is_empty());
}

#[tokio::test]
async fn the_largest_bodies_travel() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    let largest: Vec<_> = ["~", "\u{0}", "\u{fffe}", "\u{1f600}", "x"]
        .iter()
        .map(|c| c.repeat(MAX_BODY_BYTES / c.len()))
        .collect();
    let answers = bench.send(Q, largest.clone()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let calls = bench.fake.calls(Q, SEND);
    for call in &calls {
        let fits = call.bytes <= 256 * 1024 || (call.entries.len() == 1 && call.bytes <= 520 * 1024);
        assert!(fits, "{} messages of {} bytes", call.entries.len(), call.bytes);
    }
    let mut got = Vec::new();
    while got.len() < largest.len() {
        got.extend(bench.receive(Q, 1, LONG).await);
    }
    let mut sorted = largest;
    sorted.sort();
    assert!(bodies(&got) == sorted);
    let queue = QueueName::new(Q);
    for receipt in receipts(&got) {
        bench.queues.bury(&queue, receipt, "large").await.expect("buried");
    }
    assert_eq!(bench.queues.redrive(&queue, 10).await.expect("moved"), 5);
    assert_eq!(bench.fake.bodies(Q).len(), 5);
}

#[tokio::test]
async fn a_message_that_others_wrote_comes_and_goes_as_it_is() {
    if !signed() {
        return;
    }
    let bench = Bench::new(&[Q]).await;
    // As S3 writes it: several lines, with characters that have a meaning in our format.
    let event = "{\"Records\":[{\"eventName\":\"ObjectCreated:Put\",\n \"s3\":{\"object\":{\"key\":\"media/a~~b~so1+%2B.raw\"}}}]}\n";
    bench.fake.put(Q, event);
    let got = bench.receive(Q, 10, LONG).await;
    assert_eq!((bodies(&got), got[0].attempt), (vec![event.to_owned()], 1));
    assert!(got[0].sent_at > 0);
    bench.extend(Q, receipts(&got), 0).await.expect("visible at once");
    let again = bench.receive(Q, 10, LONG).await;
    assert_eq!((bodies(&again), again[0].attempt), (vec![event.to_owned()], 2));
    let queue = QueueName::new(Q);
    bench.queues.bury(&queue, again[0].receipt.clone(), "no upload").await.expect("buried");
    bench.emptied(Q).await;
    let letters = bench.queues.dead_letters(&queue, 10).await.expect("listed");
    assert_eq!((letters[0].body.as_str(), letters[0].reason.as_str()), (event, "no upload"));
    assert_eq!(bench.queues.redrive(&queue, 10).await.expect("moved"), 1);
    let back = bench.receive(Q, 10, LONG).await;
    assert_eq!(bodies(&back), [event]);
    bench.ack(Q, receipts(&back)).await.expect("acked");
    assert!(bench.fake.bodies(Q).is_empty() && bench.fake.bodies(DLQ).is_empty());
}
