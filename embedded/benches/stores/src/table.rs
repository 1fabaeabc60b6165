//! `follow.add` on each store: 7 writes, each with a condition, all or none; for one caller, and for 64 callers in one
//! commit.
//!
//! Every store checks the transactions of a group one after the other and commits the group with one sync.

use std::path::Path;

use redb::ReadableTable;

use crate::{directory, measure};

const ITEM: [u8; 200] = [b'i'; 200];
/// The items that exist at the start: users with their counters, and other follows.
const USERS: u64 = 100_000;

trait Store {
    fn name(&self) -> &'static str;
    fn load(&mut self, keys: &[String]);
    /// One commit of these transactions, each of 7 keys: 4 must be missing and are put, 3 must be there and are
    /// replaced.
    fn commit(&mut self, follows: &[[String; 7]]);
}

pub fn run(root: &Path) {
    let stores: [fn(&Path) -> Box<dyn Store>; 3] = [Redb::open, Fjall::open, Sqlite::open];
    for round in [stores, [stores[2], stores[1], stores[0]]] {
        for open in round {
            let dir = directory(root);
            let mut store = open(dir.path());
            let users: Vec<_> = (0..USERS).map(user).collect();
            for keys in users.chunks(10_000) {
                store.load(keys);
            }
            let mut next = 0;
            for callers in [1, 64] {
                let name = store.name();
                measure(&format!("tables: follow.add, {callers} callers"), name, || {
                    let group: Vec<_> = (next..next + callers as u64).map(follow).collect();
                    next += callers as u64;
                    store.commit(&group);
                    callers
                });
            }
        }
    }
}

fn user(n: u64) -> String {
    format!("user#{n:08}\0profile")
}

/// Follows are spread over the users, as in production.
fn follow(n: u64) -> [String; 7] {
    let who = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let (a, b, c) = (who % USERS, (who / 7 + 1) % USERS, (who / 11 + 2) % USERS);
    [
        format!("user#{a:08}\0follows#{b:08}#{n}"),
        format!("user#{b:08}\0follower#{a:08}#{n}"),
        format!("user#{b:08}\0inbox#{n}"),
        format!("dedupe#{a:08}\0{n}"),
        user(a),
        user(b),
        user(c),
    ]
}

/// The first 4 of a follow are new.
const NEW: usize = 4;
const TABLE: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("items");

struct Redb(redb::Database);

impl Redb {
    fn open(dir: &Path) -> Box<dyn Store> {
        Box::new(Self(redb::Database::create(dir.join("redb")).expect("redb")))
    }

    fn transaction(&self, work: impl FnOnce(&mut redb::Table<&str, &[u8]>)) {
        let write = self.0.begin_write().expect("a write");
        work(&mut write.open_table(TABLE).expect("a table"));
        write.commit().expect("a commit");
    }
}

impl Store for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn load(&mut self, keys: &[String]) {
        self.transaction(|table| {
            for key in keys {
                table.insert(&**key, &ITEM[..]).expect("an insert");
            }
        });
    }

    fn commit(&mut self, follows: &[[String; 7]]) {
        self.transaction(|table| {
            for follow in follows {
                let holds =
                    |(at, key): (usize, &String)| table.get(&**key).expect("a read").is_none() == (at < NEW);
                if follow.iter().enumerate().all(holds) {
                    for key in follow {
                        table.insert(&**key, &ITEM[..]).expect("an insert");
                    }
                }
            }
        });
    }
}

struct Fjall(fjall::SingleWriterTxDatabase, fjall::SingleWriterTxKeyspace);

impl Fjall {
    fn open(dir: &Path) -> Box<dyn Store> {
        let db = fjall::SingleWriterTxDatabase::builder(dir).open().expect("fjall");
        let items = db.keyspace("items", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
        Box::new(Self(db, items))
    }
}

impl Store for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn load(&mut self, keys: &[String]) {
        let mut write = self.0.write_tx().durability(Some(fjall::PersistMode::SyncData));
        for key in keys {
            write.insert(&self.1, &**key, &ITEM[..]);
        }
        write.commit().expect("a commit");
    }

    fn commit(&mut self, follows: &[[String; 7]]) {
        use fjall::Readable;
        let mut write = self.0.write_tx().durability(Some(fjall::PersistMode::SyncData));
        for follow in follows {
            let holds = |(at, key): (usize, &String)| {
                write.get(&self.1, key).expect("a read").is_none() == (at < NEW)
            };
            if follow.iter().enumerate().all(holds) {
                for key in follow {
                    write.insert(&self.1, &**key, &ITEM[..]);
                }
            }
        }
        write.commit().expect("a commit");
    }
}

struct Sqlite(rusqlite::Connection);

impl Sqlite {
    fn open(dir: &Path) -> Box<dyn Store> {
        let db = rusqlite::Connection::open(dir.join("sqlite")).expect("sqlite");
        let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
            CREATE TABLE items (key TEXT PRIMARY KEY, item BLOB NOT NULL) WITHOUT ROWID;";
        db.execute_batch(setup).expect("a table");
        Box::new(Self(db))
    }

    fn put(db: &rusqlite::Connection, key: &str) {
        let mut put = db.prepare_cached("INSERT OR REPLACE INTO items VALUES (?, ?)").expect("a statement");
        put.execute((key, &ITEM[..])).expect("an insert");
    }
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn load(&mut self, keys: &[String]) {
        let write = self.0.transaction().expect("a transaction");
        keys.iter().for_each(|key| Self::put(&write, key));
        write.commit().expect("a commit");
    }

    fn commit(&mut self, follows: &[[String; 7]]) {
        let write = self.0.transaction().expect("a transaction");
        for follow in follows {
            let mut get = write.prepare_cached("SELECT item FROM items WHERE key = ?").expect("a statement");
            let mut holds = |(at, key): (usize, &String)| !get.exists([key]).expect("a read") == (at < NEW);
            if follow.iter().enumerate().all(&mut holds) {
                follow.iter().for_each(|key| Self::put(&write, key));
            }
        }
        write.commit().expect("a commit");
    }
}
