//! The router while queues or the archive are away: each message is forwarded once, and archived once.

use std::collections::BTreeSet;

use serde_json::json;
use soundoff_common::pipeline::consumer::{Job as _, Verdict};
use soundoff_common::ports::queues::{Message, QueueName};

use crate::stand::{NOTE, Stand, late_q, sent, tables, types, waits};

fn message(n: u128) -> Message {
    sent(n, "ann", NOTE, &json!(n.to_string()))
}

#[tokio::test]
async fn while_the_archive_is_away_messages_are_routed_once_and_archived_later() {
    let [first, second] = types();
    let stand = Stand::new(tables(), 2);
    let batch = [message(1), message(2), message(3)];
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 3]);
    for queue in [&first, &second, &late_q()] {
        assert_eq!(stand.has(queue), 3, "{queue}");
    }
    // Still away, and then back.
    assert_eq!(waits(&stand.late.run(&batch).await), 3);
    assert_eq!(stand.late.run(&batch).await, vec![Verdict::Done; 3]);
    let records = stand.archived();
    let ids: BTreeSet<_> = records.iter().map(|record| &record.id).collect();
    assert!(records.len() == 3 && ids.len() == 3, "{records:?}");
}

#[tokio::test]
async fn what_was_done_of_a_message_that_waits_is_not_done_again() {
    let [first, second] = types();
    let stand = Stand::new(tables(), usize::MAX);
    let (batch, count) = ([message(1), message(2)], |queue: &QueueName| stand.has(queue));
    stand.queues.take_away([second.clone(), late_q()]);
    for _ in 0..20 {
        assert_eq!(waits(&stand.router.run(&batch).await), 2);
    }
    assert_eq!([&first, &second, &late_q()].map(count), [2, 0, 0]);
    stand.queues.take_away([late_q()]);
    assert_eq!(waits(&stand.router.run(&batch).await), 2);
    assert_eq!([&first, &second, &late_q()].map(count), [2, 2, 0]);
    stand.queues.take_away([]);
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 2]);
    assert_eq!([&first, &second, &late_q()].map(count), [2, 2, 2]);
    // Nothing is remembered of a message that is done with: the same comes again only when its ack was lost.
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 2]);
    assert_eq!(count(&first), 4);
}
