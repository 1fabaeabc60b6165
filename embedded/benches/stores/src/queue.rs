//! A queue on each store: append 10 and delete the 10 oldest in one commit; then delete a backlog, 100 in each commit.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use redb::ReadableDatabase;
use soundoff_common::ports::queues::{Outgoing, QueueName, Queues};
use soundoff_embedded::queues::{EmbeddedQueues, Options};

use crate::{directory, measure};

const BODY: [u8; 400] = [b'x'; 400];
const BACKLOG: u64 = 200_000;

trait Store {
    fn name(&self) -> &'static str;
    /// One commit: appends `add` messages, then reads and deletes the `remove` oldest.
    fn commit(&mut self, add: u64, remove: u64);
}

pub fn run(root: &Path) {
    // Twice, the second time in reverse order: a noisy neighbour must not decide the result.
    let stores: [fn(&Path) -> Box<dyn Store>; 3] = [Log::open, Redb::open, Fjall::open];
    for round in [stores, [stores[2], stores[1], stores[0]]] {
        for open in round {
            let dir = directory(root);
            let mut store = open(dir.path());
            let name = store.name();
            store.commit(10, 0);
            measure("queue: append 10 + delete 10 a commit", name, || {
                store.commit(10, 10);
                10
            });
            for _ in 0..BACKLOG / 1000 {
                store.commit(1000, 0);
            }
            let mut left = BACKLOG;
            measure("queue: drain, 100 a commit", name, || {
                if left == 0 {
                    return 0;
                }
                left -= 100;
                store.commit(0, 100);
                100
            });
        }
    }
}

struct Log(tokio::runtime::Runtime, std::sync::Arc<EmbeddedQueues>, QueueName);

impl Log {
    fn open(dir: &Path) -> Box<dyn Store> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let name = QueueName::new("main_q");
        let queues =
            EmbeddedQueues::open(dir, std::slice::from_ref(&name), Options::default()).expect("a log");
        Box::new(Self(runtime, queues, name))
    }
}

impl Store for Log {
    fn name(&self) -> &'static str {
        "our log"
    }

    fn commit(&mut self, add: u64, remove: u64) {
        let Self(runtime, queues, name) = self;
        runtime.block_on(async {
            let batch = (0..add)
                .map(|_| Outgoing { queue: name.clone(), body: Bytes::from_static(&BODY), user: None })
                .collect();
            assert!(queues.send(batch).await.iter().all(Result::is_ok));
            if remove > 0 {
                let hidden = Duration::from_secs(60);
                let got =
                    queues.receive(name, remove as usize, Duration::ZERO, hidden).await.expect("a receive");
                assert_eq!(got.len() as u64, remove);
                queues.ack(name, got.into_iter().map(|m| m.receipt).collect()).await.expect("an ack");
            }
        });
    }
}

const TABLE: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("queue");

struct Redb(redb::Database, u64, u64);

impl Redb {
    fn open(dir: &Path) -> Box<dyn Store> {
        Box::new(Self(redb::Database::create(dir.join("redb")).expect("redb"), 0, 0))
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn commit(&mut self, add: u64, remove: u64) {
        let Self(db, head, tail) = self;
        if remove > 0 {
            let read = db.begin_read().expect("a read").open_table(TABLE).expect("a table");
            let found = read
                .range(*head..*head + remove)
                .expect("a range")
                .map(|row| row.expect("a row").1.value().len());
            assert_eq!(found.sum::<usize>() as u64, remove * BODY.len() as u64);
        }
        let write = db.begin_write().expect("a write");
        {
            let mut table = write.open_table(TABLE).expect("a table");
            for seq in *tail..*tail + add {
                table.insert(seq, &BODY[..]).expect("an insert");
            }
            for seq in *head..*head + remove {
                table.remove(seq).expect("a removal");
            }
        }
        write.commit().expect("a commit");
        *tail += add;
        *head += remove;
    }
}

struct Fjall(fjall::Database, fjall::Keyspace, u64, u64);

impl Fjall {
    fn open(dir: &Path) -> Box<dyn Store> {
        let db = fjall::Database::builder(dir).open().expect("fjall");
        let queue = db.keyspace("queue", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
        Box::new(Self(db, queue, 0, 0))
    }
}

impl Store for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn commit(&mut self, add: u64, remove: u64) {
        let Self(db, queue, head, tail) = self;
        for seq in *head..*head + remove {
            let body = queue.get(seq.to_be_bytes()).expect("a read").expect("the message");
            assert_eq!(body.len(), BODY.len());
        }
        let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncData));
        for seq in *tail..*tail + add {
            batch.insert(queue, seq.to_be_bytes(), &BODY[..]);
        }
        for seq in *head..*head + remove {
            batch.remove(queue, seq.to_be_bytes());
        }
        batch.commit().expect("a commit");
        *tail += add;
        *head += remove;
    }
}
