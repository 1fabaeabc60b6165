//! What the port does not specify: sweeps, crashes, broken disks and foreign files.

use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use soundoff_common::ports::tables::{Change, Condition, EXPIRES};

use super::*;

const T: Table = Table::Dedupe;

fn open(dir: &Path) -> Arc<EmbeddedTables> {
    EmbeddedTables::open(dir, &TableOptions::default()).unwrap()
}

fn expiring(sk: &str, expires: u64) -> Write {
    Write::put(T, Key::new("p", sk), Item::new().with(EXPIRES, expires))
}

async fn there(tables: &EmbeddedTables, sk: &str) -> bool {
    tables.get(T, Key::new("p", sk)).await.unwrap().is_some()
}

#[tokio::test]
async fn a_sweep_removes_what_has_expired_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    let plain = Write::put(T, Key::new("p", "plain"), Item::new().with("n", 1));
    tables
        .write(vec![expiring("past", 10), expiring("now", 100), expiring("later", 101), plain])
        .await
        .unwrap();
    tables
        .write(vec![expiring("moved on", 10), expiring("moved back", 500), expiring("deleted", 10)])
        .await
        .unwrap();
    tables.write(vec![expiring("kept", 10), expiring("huge", u64::MAX - 1)]).await.unwrap();
    // An item whose expiry moves later, one whose expiry moves earlier, one that is deleted, and one that loses its
    // expiry.
    let later = Write::update(T, Key::new("p", "moved on"), vec![Change::Set(EXPIRES, 200.into())]);
    let freed = Write::update(T, Key::new("p", "kept"), vec![Change::Remove(EXPIRES)]);
    let gone = Write::delete(T, Key::new("p", "deleted"));
    tables.write(vec![later, expiring("moved back", 20), gone, freed]).await.unwrap();

    assert_eq!(tables.sweep(100, 1_000).await, Ok(3), "past, now, and the one that was moved earlier");
    for (sk, stays) in [
        ("past", false),
        ("now", false),
        ("moved back", false),
        ("later", true),
        ("plain", true),
        ("moved on", true),
        ("kept", true),
        ("huge", true),
    ] {
        assert_eq!(there(&tables, sk).await, stays, "{sk}");
    }
    assert_eq!(tables.sweep(100, 1_000).await, Ok(0), "nothing is removed twice");
    assert_eq!(tables.sweep(u64::MAX, 1_000).await, Ok(3), "the index follows what was moved later");
}

#[tokio::test]
async fn a_sweep_is_bounded_and_goes_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    for n in 0..10 {
        tables.write(vec![expiring(&format!("{n}"), 10 + n)]).await.unwrap();
    }
    assert_eq!(tables.sweep(15, 4).await, Ok(4));
    assert!(!there(&tables, "3").await && there(&tables, "4").await, "the longest expired are removed first");
    assert_eq!(tables.sweep(15, 4).await, Ok(2));
    assert_eq!(tables.sweep(15, 4).await, Ok(0));
}

#[tokio::test]
async fn a_refresh_leaves_no_row_for_the_sweep_to_stumble_over() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    for expires in 1..20 {
        tables.write(vec![expiring("refreshed", expires)]).await.unwrap();
    }
    tables.write(vec![expiring("refreshed", 1_000), expiring("expired", 50)]).await.unwrap();
    assert_eq!(tables.sweep(100, 1).await, Ok(1), "the first row due is that of the expired item");
    assert!(there(&tables, "refreshed").await && !there(&tables, "expired").await);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    for round in 0..20u64 {
        let writes =
            (0..5).map(|n| Write::put(T, Key::new(format!("r{round}"), format!("{n}")), Item::new()));
        tables.write(writes.collect()).await.unwrap();
        // The file as it is now is what a kill at this moment leaves; the open adapter continues undisturbed.
        let crashed = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join("tables.redb"), crashed.path().join("tables.redb")).unwrap();
        let after = open(crashed.path());
        for earlier in 0..=round {
            for n in 0..5 {
                let item = after.get(T, Key::new(format!("r{earlier}"), format!("{n}"))).await.unwrap();
                assert!(item.is_some(), "item {n} of write {earlier} was answered before crash {round}");
            }
        }
    }
}

fn start(database: Database) -> Arc<EmbeddedTables> {
    EmbeddedTables::start(database, Disk::default(), Patience::default()).unwrap()
}

/// Memory whose sync can be made to fail, as on a broken or full disk.
#[derive(Debug)]
struct Breaking(InMemoryBackend, Arc<AtomicBool>);

impl StorageBackend for Breaking {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        if self.1.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("no space left on device"));
        }
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
}

#[tokio::test]
async fn a_failed_commit_ends_all_service() {
    let broken = Arc::new(AtomicBool::new(false));
    let backend = Breaking(InMemoryBackend::new(), broken.clone());
    let tables = start(Database::builder().create_with_backend(backend).unwrap());
    let write = || vec![Write::put(T, Key::new("p", "s"), Item::new())];
    tables.write(write()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let failed = tables.write(write()).await;
    assert!(matches!(&failed, Err(TableError::Unavailable(why)) if why.contains("no space")), "{failed:?}");
    broken.store(false, Ordering::SeqCst);
    let later = tables.write(write()).await;
    assert!(matches!(later, Err(TableError::Unavailable(_))), "what reached the disk is unknown: {later:?}");
    let read = tables.get(T, Key::new("p", "s")).await;
    assert!(matches!(read, Err(TableError::Unavailable(_))), "reads might show what is not there: {read:?}");
}

#[tokio::test]
async fn a_stored_value_that_is_no_item_is_called_corrupt() {
    for value in [&b"\0\0"[..], b"\0\0\0\0\0\0\0\0not json", b"\0\0\0\0\0\0\0\0[1]"] {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        create_tables(&database).unwrap();
        let transaction = database.begin_write().unwrap();
        let key = row::encode_key(&Key::new("p", "s")).unwrap();
        transaction.open_table(schema::DATA[apply::index(T)]).unwrap().insert(key.as_slice(), value).unwrap();
        transaction.commit().unwrap();
        let tables = start(database);
        let read = tables.get(T, Key::new("p", "s")).await;
        assert!(matches!(read, Err(TableError::Corrupt(_))), "{read:?}");
        let judged = Write::check(T, Key::new("p", "s"), Condition::Absent("a"));
        let judged = tables.write(vec![judged]).await;
        assert!(matches!(judged, Err(TableError::Corrupt(_))), "{judged:?}");
        // Only that item is affected.
        tables.write(vec![Write::put(T, Key::new("p", "other"), Item::new())]).await.unwrap();
    }
}

#[tokio::test]
async fn another_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let database = Database::create(dir.path().join("tables.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(schema::META).unwrap().insert("layout", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap_err();
    assert!(format!("{error:#}").contains("layout is 99"), "{error:#}");
}

#[tokio::test]
async fn sums_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(dir.path());
    let key = Key::new("p", "s");
    tables.write(vec![Write::put(T, key.clone(), Item::new().with("n", u64::MAX))]).await.unwrap();
    let add = |n| vec![Write::update(T, key.clone(), vec![Change::Add("n", n)])];
    assert!(matches!(tables.write(add(1)).await, Err(TableError::Invalid(_))));
    tables.write(add(-1)).await.unwrap();
    let item = tables.get(T, key.clone()).await.unwrap().unwrap();
    assert_eq!(item.number("n"), Some(u64::MAX - 1));
}

#[tokio::test]
async fn damage_is_named_and_never_a_panic_of_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("tables.redb");
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    // Some of the bytes that matter, also those on which the engine panics.
    for at in (0..whole.len()).filter(|at| whole[*at] != 0).take(300).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        if let Err(error) = EmbeddedTables::open(dir.path(), &TableOptions::default()) {
            assert!(format!("{error:#}").contains("tables.redb"), "byte {at}: {error:#}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}
