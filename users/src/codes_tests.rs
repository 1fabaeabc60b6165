use std::sync::Arc;

use futures_util::future::join_all;
use soundoff_common::protocol::CLOCKS_APART_MS;
use soundoff_common::web::secret::Secret;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::*;

const START: u64 = 1_700_000_000_000;

struct Desk {
    tables: Arc<EmbeddedTables>,
    seal: Seal,
    anna: Identity,
    _dir: tempfile::TempDir,
}

/// A code and its request.
#[derive(Clone)]
struct Sent {
    request: String,
    code: String,
}

impl Sent {
    /// The same request with a code that is not its own.
    fn wrong(&self) -> Self {
        let code = format!("{:06}", (self.code.parse::<u32>().unwrap() + 1) % 1_000_000);
        Self { code, ..self.clone() }
    }
}

impl Desk {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap());
        Self { tables, seal, anna: Identity::email("anna@example.org").unwrap(), _dir: dir }
    }

    async fn start(&self, now: u64) -> Result<Sent, Refusal> {
        let (request, notice) = start(&*self.tables, &self.seal, &self.anna, now).await?;
        assert_eq!(notice.to, "anna@example.org");
        let code = notice.text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6).unwrap();
        Ok(Sent { request, code: code.to_owned() })
    }

    async fn verify(&self, sent: &Sent, now: u64) -> Result<Write, Refusal> {
        verify(&*self.tables, &self.seal, &self.anna, (&sent.request, &sent.code), now).await
    }
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes() {
    let desk = Desk::open();
    let sent = desk.start(START).await.unwrap();
    let last = START + LIFETIME_MS - 1;
    assert!(desk.verify(&sent, last).await.is_ok());
    assert!(desk.verify(&sent, last + 1).await.is_err());
    let bobs = Identity::email("bob@example.org").unwrap();
    let as_bob = verify(&*desk.tables, &desk.seal, &bobs, (&sent.request, &sent.code), START).await;
    assert!(as_bob.is_err(), "another address");
}

#[tokio::test]
async fn a_code_belongs_to_its_request() {
    let desk = Desk::open();
    let first = desk.start(START).await.unwrap();
    let now = START + PAUSE_MS;
    let second = desk.start(now).await.unwrap();
    assert!(desk.verify(&first, now).await.is_ok(), "a stranger's request replaces nothing");
    assert!(desk.verify(&second, now).await.is_ok());
    let crossed = Sent { request: first.request.clone(), code: second.code.clone() };
    assert!(first.code == second.code || desk.verify(&crossed, now).await.is_err(), "of another request");
    for request in ["", "x", "../c", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let invented = Sent { request: request.to_owned(), code: second.code.clone() };
        assert!(desk.verify(&invented, now).await.is_err(), "{request}");
    }
}

#[tokio::test]
async fn an_address_is_sent_five_codes_an_hour_with_pauses() {
    let desk = Desk::open();
    desk.start(START).await.unwrap();
    let soon = desk.start(START + PAUSE_MS - 1).await;
    assert!(matches!(soon, Err(Refusal::RateLimited(1))));
    for n in 1..MAX_SENDS {
        desk.start(START + n * PAUSE_MS).await.unwrap();
    }
    let sixth = desk.start(START + MAX_SENDS * PAUSE_MS).await;
    let rest = (WINDOW_MS - MAX_SENDS * PAUSE_MS) / 1000;
    assert!(matches!(sixth, Err(Refusal::RateLimited(wait)) if wait == rest));
    assert!(desk.start(START + WINDOW_MS - 1).await.is_err());
    desk.start(START + WINDOW_MS).await.unwrap();
    // Of many requests at the same moment one is sent.
    let later = START + 2 * WINDOW_MS;
    let together = join_all((0..20).map(|_| desk.start(later))).await;
    assert_eq!(together.iter().filter(|sent| sent.is_ok()).count(), 1);
}

#[tokio::test]
async fn five_tries_are_all_also_when_many_come_at_once_and_a_strangers_are_not_mine() {
    let desk = Desk::open();
    let sent = desk.start(START).await.unwrap();
    let strangers = desk.start(START + PAUSE_MS).await.unwrap();
    for _ in 0..20 {
        join_all((0..20).map(|_| async { desk.verify(&strangers.wrong(), START + PAUSE_MS).await })).await;
    }
    assert!(desk.verify(&strangers, START + PAUSE_MS).await.is_err(), "the right code comes too late");
    assert!(desk.verify(&sent, START + PAUSE_MS).await.is_ok(), "for the one who asked for another");
    // Of fifty at once five are checked: the number that is counted.
    let next = desk.start(START + 2 * PAUSE_MS).await.unwrap();
    join_all((0..50).map(|_| async { desk.verify(&next.wrong(), START + 2 * PAUSE_MS).await })).await;
    let at = code_key(&desk.seal, &desk.anna, &next.request);
    let counted = desk.tables.get(Table::Entities, at).await.unwrap().unwrap().number("tries");
    assert_eq!(counted, Some(MAX_TRIES), "a try that lost the race for a place was checked without one");
    // Nor fewer than five. A correct code uses up none, so that the client can come again with another handle.
    let later = START + WINDOW_MS;
    let sent = desk.start(later).await.unwrap();
    for _ in 0..20 {
        assert!(desk.verify(&sent, later).await.is_ok());
    }
    for _ in 1..MAX_TRIES {
        assert!(desk.verify(&sent.wrong(), later).await.is_err());
    }
    assert!(desk.verify(&sent, later).await.is_ok());
}

#[tokio::test]
async fn a_code_is_used_once_even_when_many_use_it_at_once() {
    let desk = Desk::open();
    let sent = desk.start(START).await.unwrap();
    let judged =
        [desk.verify(&sent, START).await, desk.verify(&sent, START).await, desk.verify(&sent, START).await];
    let used = join_all(judged.into_iter().map(|spend| desk.tables.write(vec![spend.unwrap()]))).await;
    assert_eq!(used.iter().filter(|used| used.is_ok()).count(), 1);
    assert!(desk.verify(&sent, START).await.is_err());
}

#[tokio::test]
async fn neither_code_nor_address_is_legible_at_rest() {
    let desk = Desk::open();
    let sent = desk.start(START).await.unwrap();
    let keys = [sends_key(&desk.seal, &desk.anna), code_key(&desk.seal, &desk.anna, &sent.request)];
    for key in keys {
        let item = desk.tables.get(Table::Entities, key.clone()).await.unwrap().unwrap();
        let text = serde_json::to_string(&item).unwrap();
        assert!(!text.contains(&format!("\"{}", sent.code)) && !text.contains("anna"), "{text}");
        assert!(!format!("{key:?}").contains("anna"));
    }
}

#[tokio::test]
async fn a_clock_that_was_wrong_locks_nobody_out_and_makes_no_code_last_longer() {
    const YEAR_MS: u64 = 365 * 24 * WINDOW_MS;
    for ahead in [YEAR_MS, WINDOW_MS, CLOCKS_APART_MS + 1] {
        let desk = Desk::open();
        let (mut sent, wrong) = (Vec::new(), START + ahead);
        for n in 0..MAX_SENDS {
            sent.push(desk.start(wrong + n * PAUSE_MS).await.unwrap());
        }
        let early = sent.swap_remove(0);
        assert!(desk.verify(&early, wrong).await.is_ok());
        assert!(desk.verify(&early, START).await.is_err(), "a code of {ahead} ms ahead");
        let right = desk.start(START).await.unwrap();
        assert!(desk.verify(&right, START).await.is_ok());
        assert!(desk.start(START + PAUSE_MS - 1).await.is_err(), "pauses go on by the right clock");
    }
    // Clocks of two processes may be this far apart.
    let desk = Desk::open();
    let sent = desk.start(START + CLOCKS_APART_MS).await.unwrap();
    assert!(desk.verify(&sent, START).await.is_ok() && desk.start(START).await.is_err());
}

#[tokio::test]
async fn an_address_of_0_1_0_that_was_tried_without_a_request_gets_codes() {
    let desk = Desk::open();
    let old = Item::new()
        .with("newest", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .with("blind", 5)
        .with("sent_at", START)
        .with("sends", 1)
        .with("window", START)
        .with("expires", START / 1000 + 3600);
    let key = sends_key(&desk.seal, &desk.anna);
    desk.tables.write(vec![Write::put(Table::Entities, key, old)]).await.unwrap();
    assert!(desk.start(START + 1).await.is_err(), "its pause goes on");
    let sent = desk.start(START + PAUSE_MS).await.unwrap();
    assert!(desk.verify(&sent, START + PAUSE_MS).await.is_ok());
}
