use std::sync::Arc;

use futures_util::future::join_all;
use soundoff_common::secret::Secret;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::*;

const START: u64 = 1_700_000_000_000;

struct Desk {
    tables: Arc<EmbeddedTables>,
    seal: Seal,
    anna: Identity,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap());
        Self { tables, seal, anna: Identity::email("anna@example.org").unwrap(), _dir: dir }
    }

    /// A code, as its notice says it.
    async fn start(&self, now: u64) -> Result<String, Refusal> {
        let notice = start(&*self.tables, &self.seal, &self.anna, now).await?;
        assert_eq!(notice.to, "anna@example.org");
        Ok(notice.text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6).unwrap().to_owned())
    }

    async fn verify(&self, code: &str, now: u64) -> Result<Write, Refusal> {
        verify(&*self.tables, &self.seal, &self.anna, code, now).await
    }
}

/// A code that is not this one.
fn other(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_until_the_next() {
    let desk = Desk::open();
    let code = desk.start(START).await.unwrap();
    assert!(desk.verify(&code, START + LIFETIME_MS - 1).await.is_ok());
    assert!(desk.verify(&code, START + LIFETIME_MS).await.is_err(), "it has lapsed");
    let next = desk.start(START + PAUSE_MS).await.unwrap();
    assert!(code == next || desk.verify(&code, START + PAUSE_MS).await.is_err(), "it was replaced");
    assert!(desk.verify(&next, START + PAUSE_MS).await.is_ok());
    let bobs = Identity::email("bob@example.org").unwrap();
    assert!(verify(&*desk.tables, &desk.seal, &bobs, &next, START).await.is_err(), "another address");
}

#[tokio::test]
async fn an_address_is_sent_five_codes_an_hour_with_pauses() {
    let desk = Desk::open();
    desk.start(START).await.unwrap();
    let soon = desk.start(START + PAUSE_MS - 1).await;
    assert!(matches!(soon, Err(Refusal::RateLimited(1))), "{soon:?}");
    for n in 1..MAX_SENDS {
        desk.start(START + n * PAUSE_MS).await.unwrap();
    }
    let sixth = desk.start(START + MAX_SENDS * PAUSE_MS).await;
    let rest = (WINDOW_MS - MAX_SENDS * PAUSE_MS) / 1000;
    assert!(matches!(sixth, Err(Refusal::RateLimited(wait)) if wait == rest), "{sixth:?}");
    assert!(desk.start(START + WINDOW_MS - 1).await.is_err());
    desk.start(START + WINDOW_MS).await.unwrap();
    // Of many at the same moment one is sent.
    let later = START + 2 * WINDOW_MS;
    let together = join_all((0..20).map(|_| desk.start(later))).await;
    assert_eq!(together.iter().filter(|sent| sent.is_ok()).count(), 1);
}

#[tokio::test]
async fn ten_tries_are_all_however_many_come_at_once() {
    let desk = Desk::open();
    let code = desk.start(START).await.unwrap();
    let wrong = other(&code);
    for _ in 0..30 {
        join_all((0..20).map(|_| desk.verify(&wrong, START))).await;
    }
    assert!(desk.verify(&code, START).await.is_err(), "the right code comes too late");
    // And not one fewer.
    let later = START + WINDOW_MS;
    let code = desk.start(later).await.unwrap();
    for _ in 1..MAX_TRIES {
        assert!(desk.verify(&other(&code), later).await.is_err());
    }
    assert!(desk.verify(&code, later).await.is_ok());
}

#[tokio::test]
async fn a_code_is_used_once_however_many_use_it_at_once() {
    let desk = Desk::open();
    let code = desk.start(START).await.unwrap();
    let judged = join_all((0..5).map(|_| desk.verify(&code, START))).await;
    let spends: Vec<Write> = judged.into_iter().filter_map(Result::ok).collect();
    assert!(spends.len() > 1, "several were found good");
    let used = join_all(spends.into_iter().map(|spend| desk.tables.write(vec![spend]))).await;
    assert_eq!(used.iter().filter(|used| used.is_ok()).count(), 1);
    assert!(desk.verify(&code, START).await.is_err());
}

#[tokio::test]
async fn neither_code_nor_address_is_legible_at_rest() {
    let desk = Desk::open();
    let code = desk.start(START).await.unwrap();
    let item = desk.tables.get(Table::Entities, key(&desk.seal, &desk.anna)).await.unwrap().unwrap();
    let stored = format!("{:?}{}", key(&desk.seal, &desk.anna), serde_json::to_string(&item).unwrap());
    assert!(!stored.contains(&code) && !stored.contains("anna"), "{stored}");
}
