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
        let seal = Seal::new(&Secret::new(&[1; 32]).unwrap()).unwrap();
        Self { tables, seal, anna: Identity::email("anna@example.org").unwrap(), _dir: dir }
    }

    async fn start(&self, now: u64) -> Result<Sent, Refusal> {
        self.start_from("192.0.2.1", now).await
    }

    async fn start_from(&self, from: &str, now: u64) -> Result<Sent, Refusal> {
        let asker = Asker { to: &self.anna, from: from.parse().unwrap() };
        let (request, notice) = start(&*self.tables, &self.seal, &asker, None, now).await?;
        assert_eq!(notice.to, "anna@example.org");
        let code = notice.text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6).unwrap();
        Ok(Sent { request, code: code.to_owned() })
    }

    async fn verify(&self, sent: &Sent, now: u64) -> Result<Write, Refusal> {
        self.verify_from("192.0.2.1", sent, now).await
    }

    async fn verify_from(&self, from: &str, sent: &Sent, now: u64) -> Result<Write, Refusal> {
        let asker = Asker { to: &self.anna, from: from.parse().unwrap() };
        verify(&*self.tables, &self.seal, &asker, (&sent.request, &sent.code), now).await
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
    let bob = Asker { to: &bobs, from: "192.0.2.1".parse().unwrap() };
    let as_bob = verify(&*desk.tables, &desk.seal, &bob, (&sent.request, &sent.code), START).await;
    assert!(as_bob.is_err(), "another address");
}

#[tokio::test]
async fn a_code_belongs_to_its_request() {
    let desk = Desk::open();
    let first = desk.start(START).await.unwrap();
    let now = START + ASKED.pause_ms;
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
async fn a_household_asks_for_five_codes_an_hour_with_pauses() {
    let desk = Desk::open();
    desk.start(START).await.unwrap();
    let soon = desk.start(START + ASKED.pause_ms - 1).await;
    assert!(matches!(soon, Err(Refusal::RateLimited(1))));
    for n in 1..ASKED.most {
        desk.start(START + n * ASKED.pause_ms).await.unwrap();
    }
    let sixth = desk.start(START + ASKED.most * ASKED.pause_ms).await;
    let rest = (HOUR_MS - ASKED.most * ASKED.pause_ms) / 1000;
    assert!(matches!(sixth, Err(Refusal::RateLimited(wait)) if wait == rest));
    assert!(desk.start(START + HOUR_MS - 1).await.is_err());
    desk.start(START + HOUR_MS).await.unwrap();
    // Of many requests at the same moment one is sent.
    let later = START + 2 * HOUR_MS;
    let together = join_all((0..20).map(|_| desk.start(later))).await;
    assert_eq!(together.iter().filter(|sent| sent.is_ok()).count(), 1);
}

#[tokio::test]
async fn five_tries_are_all_also_when_many_come_at_once_and_a_strangers_are_not_mine() {
    let desk = Desk::open();
    let sent = desk.start(START).await.unwrap();
    let strangers = desk.start(START + ASKED.pause_ms).await.unwrap();
    for _ in 0..20 {
        join_all((0..20).map(|_| async { desk.verify(&strangers.wrong(), START + ASKED.pause_ms).await }))
            .await;
    }
    assert!(desk.verify(&strangers, START + ASKED.pause_ms).await.is_err(), "the right code comes too late");
    assert!(desk.verify(&sent, START + ASKED.pause_ms).await.is_ok(), "for the one who asked for another");
    // Of fifty at once five are checked: the number that is counted.
    let next = desk.start(START + 2 * ASKED.pause_ms).await.unwrap();
    join_all((0..50).map(|_| async { desk.verify(&next.wrong(), START + 2 * ASKED.pause_ms).await })).await;
    let at = code_key(desk.seal.present(), &desk.anna, &next.request);
    let counted = desk.tables.get(Table::Entities, at).await.unwrap().unwrap().number("tries");
    assert_eq!(counted, Some(MAX_TRIES), "a try that lost the race for a place was checked without one");
    // Nor fewer than five. A correct code uses up none, so that the client can come again with another handle.
    let later = START + HOUR_MS;
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
    assert!(desk.verify(&sent.wrong(), START).await.is_err());
    let here = Asker { to: &desk.anna, from: "192.0.2.1".parse().unwrap() };
    let keys = [
        sends_key(desk.seal.present(), &desk.anna),
        code_key(desk.seal.present(), &desk.anna, &sent.request),
        here.household_key(desk.seal.present(), "from"),
        here.household_key(desk.seal.present(), "wrong"),
    ];
    for key in keys {
        let item = desk.tables.get(Table::Entities, key.clone()).await.unwrap().unwrap();
        let text = serde_json::to_string(&item).unwrap();
        assert!(!text.contains(&format!("\"{}", sent.code)) && !text.contains("anna"), "{text}");
        assert!(!format!("{key:?} {text}").contains("192.0.2"), "nor where somebody was");
        assert!(!format!("{key:?}").contains("anna"));
    }
}

#[tokio::test]
async fn a_clock_that_was_wrong_locks_nobody_out_and_makes_no_code_last_longer() {
    const YEAR_MS: u64 = 365 * 24 * HOUR_MS;
    for ahead in [YEAR_MS, HOUR_MS, CLOCKS_APART_MS + 1] {
        let desk = Desk::open();
        let (mut sent, wrong) = (Vec::new(), START + ahead);
        for n in 0..ASKED.most {
            sent.push(desk.start(wrong + n * ASKED.pause_ms).await.unwrap());
        }
        let early = sent.swap_remove(0);
        assert!(desk.verify(&early, wrong).await.is_ok());
        assert!(desk.verify(&early, START).await.is_err(), "a code of {ahead} ms ahead");
        let right = desk.start(START).await.unwrap();
        assert!(desk.verify(&right, START).await.is_ok());
        assert!(desk.start(START + ASKED.pause_ms - 1).await.is_err(), "pauses go on by the right clock");
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
    let key = sends_key(desk.seal.present(), &desk.anna);
    desk.tables.write(vec![Write::put(Table::Entities, key, old)]).await.unwrap();
    let sent = desk.start(START).await.unwrap();
    assert!(desk.verify(&sent, START).await.is_ok());
}

#[tokio::test]
async fn strangers_keep_an_owner_neither_from_codes_nor_from_tries() {
    let desk = Desk::open();
    let known = desk.start(START).await.unwrap();
    assert!(desk.verify(&known, START).await.is_ok());
    // A stranger uses up what a household has.
    let mut now = START + HOUR_MS;
    let mut theirs = Vec::new();
    for _ in 0..ASKED.most {
        theirs.push(desk.start_from("203.0.113.7", now).await.unwrap());
        now += ASKED.pause_ms;
    }
    assert!(desk.start_from("203.0.113.7", now).await.is_err());
    assert!(desk.start_from("2001:db8::1", now).await.is_ok(), "another household");
    assert!(desk.start_from("2001:db8::ffff", now).await.is_err(), "the same /64 has to pause");
    // Many strangers fill the day. The owner gets codes all the same.
    for n in 0..100 {
        let _ = desk.start_from(&format!("198.51.100.{n}"), now).await;
    }
    let stranger = desk.start_from("203.0.113.99", now).await;
    assert!(matches!(stranger, Err(Refusal::RateLimited(60))), "the first of the pauses that grow");
    let mine = desk.start(now).await.unwrap();
    // They guess until they may not. The owner's first code is good.
    let mut judged = 0;
    'all: for _ in 0..10 {
        for code in &theirs {
            match desk.verify_from("203.0.113.7", &code.wrong(), now).await {
                Err(Refusal::RateLimited(wait)) => {
                    assert_eq!(wait, 60);
                    break 'all;
                }
                refused => assert!(refused.is_err()),
            }
            judged += 1;
        }
    }
    assert_eq!(judged, WRONG_TRIES.free + 1);
    let right = desk.verify_from("203.0.113.7", &theirs[4], now).await;
    assert!(
        matches!(right, Err(Refusal::RateLimited(_))),
        "who has guessed so often waits with a right code, too"
    );
    assert!(desk.verify(&mine, now).await.is_ok());
}

#[tokio::test]
async fn a_household_that_guesses_at_many_codes_at_once_has_no_more_tries() {
    let desk = Desk::open();
    let mut sent = Vec::new();
    for n in 0..ASKED.most {
        sent.push(desk.start(START + n * ASKED.pause_ms).await.unwrap());
    }
    let now = START + ASKED.most * ASKED.pause_ms;
    let mut judged = 0;
    for _ in 0..20 {
        let tries = sent.iter().map(|code| async { desk.verify(&code.wrong(), now).await });
        judged += join_all(tries).await.iter().filter(|t| matches!(t, Err(Refusal::Unauthorized(_)))).count();
        sent.rotate_left(1);
    }
    assert_eq!(judged as u64, WRONG_TRIES.free + 1);
}

#[tokio::test]
async fn a_mailbox_gets_so_many_codes_a_day_and_no_more() {
    let desk = Desk::open();
    let (mut now, mut sent) = (START, 0);
    while now < START + DAY_MS {
        let (a, b) = (sent / 250, sent % 250);
        match desk.start_from(&format!("10.1.{a}.{b}"), now).await {
            Ok(_) => sent += 1,
            Err(Refusal::RateLimited(wait)) => now += wait * 1000,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((30..=SENT.most).contains(&sent), "{sent}");
    assert!(desk.start_from("10.2.0.1", now).await.is_ok(), "the next day");
}

#[tokio::test]
async fn a_right_code_takes_a_households_wrong_ones_back_and_is_remembered_for_a_while() {
    let desk = Desk::open();
    let mut now = START;
    for _ in 0..20 {
        let sent = desk.start(now).await.unwrap();
        for _ in 0..4 {
            assert!(matches!(desk.verify(&sent.wrong(), now).await, Err(Refusal::Unauthorized(_))));
        }
        assert!(desk.verify(&sent, now).await.is_ok());
        now += HOUR_MS;
    }
    let here = Asker { to: &desk.anna, from: "192.0.2.1".parse().unwrap() };
    let key = here.household_key(desk.seal.present(), "from");
    let kept: Household = desk.tables.get(Table::Entities, key).await.unwrap().unwrap().parse().unwrap();
    let last = now - HOUR_MS;
    assert!(kept.is_known(last) && kept.is_known(last + KNOWN_MS - 1) && !kept.is_known(last + KNOWN_MS));
    assert!(!kept.is_known(last - 2 * CLOCKS_APART_MS), "a clock that was wrong makes nobody known");
    assert_eq!(kept.gone_at, (last + KNOWN_MS) / 1000);
}

#[tokio::test]
async fn all_texts_of_a_day_are_counted_together() {
    let desk = Desk::open();
    let texts = TextsConfig { places: vec![], per_day: 3 };
    let text = async |n: u64, now| {
        let to = Identity::phone(&format!("+49 170 1234{n:03}")).unwrap();
        let asker = Asker { to: &to, from: "192.0.2.1".parse().unwrap() };
        start(&*desk.tables, &desk.seal, &asker, Some(&texts), now).await
    };
    let day = START - START % DAY_MS;
    let many = join_all((0..20).map(|n| text(n, day))).await;
    assert_eq!(many.iter().filter(|sent| sent.is_ok()).count(), 3);
    let refused = text(20, day + 1_000).await;
    assert!(matches!(refused, Err(Refusal::TextsUsedUp(86_399))));
    assert!(desk.start(day).await.is_ok(), "mails are not counted");
    assert!(text(20, day + DAY_MS).await.is_ok(), "nor did it use up what the address has");
}
