//! The router while queues or the archive are away: each message is forwarded once, and archived once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_common::guard::Weather;
use soundoff_common::pipeline::catalog::{Catalog, Spec};
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request, raw};
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::ports::memory::{MemoryQueues, MemorySessions};
use soundoff_common::ports::queues::{Message, QueueName, Receipt};
use soundoff_common::telemetry::Metrics;
use ulid::Ulid;

use crate::late::{ARCHIVE_LATE, Late};
use crate::route::Router;

/// A type with two handlers.
struct Note<const SECOND: bool>;

impl<const SECOND: bool> MessageType for Note<SECOND> {
    const TYPE: &'static str = "note.make";
    const SUMMARY: &'static str = "a note";
    const QUEUE: Option<&'static str> = if SECOND { Some("note_count_q") } else { None };
    type Body = serde_json::Value;
    type Reply = ();

    async fn handle(_: &Context, _: &Request<Self::Body>) -> Result<Outcome<()>, Failure> {
        Ok(Outcome::read(()))
    }
}

/// An archive that fails as often as it is told.
#[derive(Default)]
struct Failing {
    failures: AtomicUsize,
    records: Mutex<HashMap<String, usize>>,
}

#[async_trait]
impl Archive for Failing {
    async fn put(&self, records: Vec<Record>) -> Result<(), Unavailable> {
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            return Err(Unavailable("the archive is away".to_owned()));
        }
        let mut kept = self.records.lock().unwrap();
        records.iter().for_each(|record| *kept.entry(record.id.to_string()).or_default() += 1);
        Ok(())
    }

    async fn flush(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

struct Stand {
    router: Router,
    late: Late,
    queues: Arc<MemoryQueues>,
    archive: Arc<Failing>,
}

fn late_q() -> QueueName {
    QueueName::of_type(ARCHIVE_LATE)
}

fn stand(failures: usize, queues: &[QueueName]) -> Stand {
    let catalog = Arc::new(Catalog::new(vec![Spec::of::<Note<false>>(), Spec::of::<Note<true>>()]));
    let queues = Arc::new(MemoryQueues::new(queues.iter().cloned()));
    let archive = Arc::new(Failing { failures: AtomicUsize::new(failures), ..Failing::default() });
    let key = InternalKey::new(&[7; 32]).unwrap();
    let replies = Replies::start(Arc::new(MemorySessions::default()), key, Weather::new(Metrics::new()));
    let outward = Outward { queues: queues.clone(), replies, catalog: catalog.clone() };
    let router = Router::new(catalog, queues.clone(), archive.clone(), outward);
    Stand { router, late: Late { archive: archive.clone() }, queues, archive }
}

fn message(n: u128) -> Message {
    let envelope = Envelope {
        mid: Ulid(n),
        id: n.to_string(),
        message_type: "note.make".to_owned(),
        from: "ann".parse().unwrap(),
        origin: None,
        at: 1,
        body: raw(&n.to_string()),
    };
    let receipt = Receipt(Bytes::from(n.to_string()));
    Message { receipt, body: envelope.bytes(), attempt: 1, sent_at: 1 }
}

fn types() -> [QueueName; 2] {
    [QueueName::new("note_make_q"), QueueName::new("note_count_q")]
}

fn waits(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Wait(_))).count()
}

#[tokio::test]
async fn while_the_archive_is_away_messages_are_routed_once_and_archived_later() {
    let [first, second] = types();
    let stand = stand(2, &[first.clone(), second.clone(), late_q()]);
    let batch = [message(1), message(2), message(3)];
    assert_eq!(stand.router.run(&batch).await, vec![Verdict::Done; 3]);
    for queue in [&first, &second, &late_q()] {
        assert_eq!(stand.queues.bodies(queue).len(), 3, "{queue}");
    }
    // Still away, and then back.
    assert_eq!(waits(&stand.late.run(&batch).await), 3);
    assert_eq!(stand.late.run(&batch).await, vec![Verdict::Done; 3]);
    let records = stand.archive.records.lock().unwrap();
    assert!(records.len() == 3 && records.values().all(|times| *times == 1), "{records:?}");
}

#[tokio::test]
async fn what_was_done_of_a_message_that_waits_is_not_done_again() {
    let [first, second] = types();
    let stand = stand(usize::MAX, &[first.clone(), second.clone(), late_q()]);
    let (batch, count) = ([message(1), message(2)], |queue: &QueueName| stand.queues.bodies(queue).len());
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
