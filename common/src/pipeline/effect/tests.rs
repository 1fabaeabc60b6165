use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join, join_all};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use ulid::Ulid;

use super::*;
use crate::lock::lock;
use crate::model::holdings::assert_knows;
use crate::pipeline::handler::{Event, FollowUp, Told, raw};
use crate::ports::memory::{MemorySessions, MemoryTables};
use crate::ports::tables::{Action, Change, Page, Query, Tables};
use crate::protocol::ErrorBody;
use crate::telemetry::Metrics;
use crate::web::pictures::PictureKey;
use crate::web::uploads::UploadKey;

/// How long a write of [`Engine`] takes.
const A_WRITE: Duration = Duration::from_millis(10);

/// What happens to one write.
enum Fate {
    /// It is cancelled.
    Fails(TableError),
    /// Another one comes before it.
    Follows(Vec<Write>),
}

/// Tables whose writes take their time and meet their fates in order.
#[derive(Default)]
struct Engine {
    memory: MemoryTables,
    in_order: bool,
    fates: Mutex<VecDeque<Fate>>,
    /// The key of each item that was read.
    reads: Mutex<Vec<Key>>,
    /// The key of the record of each write, and when it began.
    writes: Mutex<Vec<(Key, Instant)>>,
}

impl Engine {
    fn meeting(in_order: bool, fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        Arc::new(Self { in_order, fates: Mutex::new(fates.into_iter().collect()), ..Self::default() })
    }

    /// How often the note, the head of ann's inbox and dedupe records were read.
    fn reads(&self) -> (usize, usize, usize) {
        let reads = lock(&self.reads);
        let of = |is: &dyn Fn(&Key) -> bool| reads.iter().filter(|key| is(key)).count();
        let record = |key: &Key| key.sk.starts_with("i#") || key.sk.starts_with("m#");
        (of(&|key| *key == note()), of(&|key| *key == inbox::head_key(&ann())), of(&record))
    }

    fn writes(&self) -> usize {
        lock(&self.writes).len()
    }

    fn number(&self, table: Table, key: Key, name: &str) -> Option<u64> {
        self.memory.peek(table, key).and_then(|item| item.number(name))
    }

    /// How many of ann's entries there are, without a gap, and what her head says.
    fn inbox(&self) -> (u64, Option<u64>) {
        let there = |seq: &u64| self.memory.peek(Table::Inbox, inbox::entry_key(&ann(), *seq)).is_some();
        let head = self.number(Table::Inbox, inbox::head_key(&ann()), inbox::head::SEQ);
        ((1..).take_while(there).count() as u64, head)
    }
}

#[async_trait]
impl Tables for Engine {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        assert!(!keys.is_empty(), "a read of nothing");
        lock(&self.reads).extend(keys.iter().map(|(_, key)| key.clone()));
        self.memory.get_many(keys).await
    }

    fn judges_in_order(&self) -> bool {
        self.in_order
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        lock(&self.writes).push((writes[0].key.clone(), Instant::now()));
        let fate = lock(&self.fates).pop_front();
        let judge = || match fate {
            Some(Fate::Fails(error)) => Err(error),
            Some(Fate::Follows(first)) => {
                self.memory.apply(first).unwrap();
                self.memory.apply(writes)
            }
            None => self.memory.apply(writes),
        };
        if self.in_order {
            let judged = judge();
            tokio::time::sleep(A_WRITE).await;
            return judged;
        }
        tokio::time::sleep(A_WRITE).await;
        judge()
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.memory.query(query).await
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        self.memory.scan(table, segment, segments, after, limit).await
    }
}

/// What a test wants its message to do.
#[derive(Debug, Deserialize, JsonSchema)]
enum Wish {
    /// Count the note, and tell these.
    Count(Vec<Handle>),
    Read,
    Fail,
    Undeclared,
}

struct Note;

impl MessageType for Note {
    const TYPE: &'static str = "note.make";
    const SUMMARY: &'static str = "";
    const TELLS: &'static [Told] = &[Told::push::<u8>("note.made", ""), Told::event::<u8>("note.seen", "")];
    const CAUSES: &'static [&'static str] = &["note.index"];
    type Body = Wish;
    type Reply = u64;

    async fn handle(cx: &Context, request: &Request<Wish>) -> Result<Outcome<u64>, Failure> {
        let seen = cx.tables.get(Table::Entities, note()).await?.unwrap_or_default();
        if seen.flag("gone") {
            return Err(Failure::reject(ErrorCode::NotFound, "it is gone"));
        }
        let counted = seen.number("n").unwrap_or(0);
        let receivers = match &request.body {
            Wish::Count(receivers) => receivers,
            Wish::Read => return Ok(Outcome::read(counted).event(event("note.seen"))),
            Wish::Fail => return Err(Failure::Retry(anyhow::anyhow!("the disk is full"))),
            Wish::Undeclared => return Ok(Outcome::read(counted).event(event("note.lost"))),
        };
        let count = vec![Change::Add("n", 1)];
        let write = Write::update(Table::Entities, note(), count).when(Condition::Absent("gone"));
        let follow_up = FollowUp { message_type: "note.index", about: None, body: raw(&counted) };
        let outcome = Outcome::effect(counted, vec![write]).event(event("note.seen")).then(follow_up);
        let push = |to: &Handle| {
            let (to, by) = (to.clone(), request.from.clone());
            Push { to, push_type: "note.made", by, body: raw(&counted) }
        };
        Ok(receivers.iter().map(push).fold(outcome, Outcome::push))
    }
}

fn event(event_type: &'static str) -> Event {
    Event { to: vec![ann()], event_type, body: raw(&1) }
}

fn note() -> Key {
    Key::new("note", "note")
}

fn ann() -> Handle {
    "ann".parse().unwrap()
}

fn context(tables: &Arc<Engine>) -> Context {
    Context {
        tables: tables.clone(),
        sessions: Arc::new(MemorySessions::default()),
        uploads: Arc::new(UploadKey::new(&[0; 32])),
        pictures: PictureKey::new(&[0; 32]),
        purges: false,
        metrics: Metrics::new(),
        turns: Arc::default(),
        daily: Arc::default(),
    }
}

fn message(n: u128, body: &Value) -> Envelope {
    let (mid, id, message_type) = (Ulid(n), format!("id-{n}"), Note::TYPE.to_owned());
    Envelope { mid, id, message_type, from: "bob".parse().unwrap(), origin: None, at: 5_000, body: raw(body) }
}

/// A message that counts the note and tells ann twice.
fn telling(n: u128) -> Envelope {
    message(n, &json!({ "Count": ["ann", "ann"] }))
}

/// A message that counts the note and tells nobody.
fn counting(n: u128) -> Envelope {
    message(n, &json!({ "Count": [] }))
}

fn run_note<'a>(cx: &'a Context, envelope: &'a Envelope) -> BoxFuture<'a, Result<Done, Failure>> {
    run_of::<Note>()(cx, envelope)
}

fn refusal(end: Result<Done, Failure>) -> ErrorBody {
    match end {
        Err(Failure::Reject(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn seqs(done: &Done) -> Vec<(u64, bool)> {
    done.pushes.iter().map(|pushed| (pushed.seq, pushed.push.is_some())).collect()
}

fn cancelled() -> Fate {
    Fate::Fails(TableError::Conflict)
}

/// Somebody else's append to ann's inbox.
fn appended() -> Fate {
    let entry = entry(&Push { to: ann(), push_type: "note.made", by: ann(), body: raw(&1) }, &telling(9));
    Fate::Follows(inbox::append(&ann(), 0, &[entry], 5))
}

/// Somebody else's change of what the decision was made from, which leaves it valid.
fn gone_and_back() -> Fate {
    Fate::Fails(TableError::ConditionFailed { index: 4 })
}

#[test]
fn a_record_has_all_its_attributes_and_the_key_of_its_kind() {
    let from: Handle = "ann".parse().unwrap();
    for (id, kind, sk) in [("one", &HOLDINGS[0], "i#6f6e65"), ("", &HOLDINGS[1], "m#")] {
        let (id, message_type) = (id.to_owned(), "note.make".to_owned());
        let (mid, from, body) = (Ulid(1), from.clone(), raw(&1));
        let envelope = Envelope { mid, id, message_type, from, origin: None, at: 3_000, body };
        let write = record(&envelope, &raw(&2), &[]);
        assert!(kind.is_at(write.table, &write.key), "{:?} is of {}", write.key, kind.kind);
        assert!(write.key.sk.starts_with(sk), "{:?}", write.key);
        let Action::Put(item) = write.action else { panic!("a record is put") };
        assert_knows(attribute::ALL, &item, &[]);
        assert_eq!(item.number(EXPIRES), Some(3 + 604_800), "it is kept for seven days");
        assert_eq!(write.condition, Condition::Missing);
    }
}

#[tokio::test(start_paused = true)]
async fn an_effect_its_entries_and_its_record_are_one_transaction() {
    for in_order in [false, true] {
        let tables = Engine::meeting(in_order, []);
        let (cx, first) = (context(&tables), telling(1));
        let done = run_note(&cx, &first).await.unwrap();
        assert_eq!((seqs(&done), done.reply.get(), done.duplicate), (vec![(1, true), (2, true)], "0", false));
        assert_eq!((done.events.len(), done.follow_ups.len()), (1, 1));
        assert_eq!(tables.inbox(), (2, Some(2)));
        assert_eq!(tables.number(Table::Entities, note(), "n"), Some(1));
        assert_eq!((tables.reads(), tables.writes()), ((1, 1, 0), 1), "in order: {in_order}");
        assert_eq!(cx.metrics.worker_duplicates.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_transaction_goes_again_as_it_was_decided_with_the_heads_as_they_are_then() {
    let tables = Engine::meeting(false, [cancelled(), appended(), cancelled()]);
    let cx = context(&tables);
    let done = run_note(&cx, &telling(1)).await.unwrap();
    assert_eq!(seqs(&done), [(2, true), (3, true)], "after the one that was faster");
    assert_eq!(tables.inbox(), (3, Some(3)));
    assert_eq!((tables.reads(), tables.writes()), ((1, 4, 0), 4), "one decision, and a head for each try");
    assert_eq!(tables.number(Table::Entities, note(), "n"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_tells_nobody_reads_no_heads() {
    for (in_order, fate) in [(false, cancelled()), (true, gone_and_back())] {
        let tables = Engine::meeting(in_order, [fate]);
        let done = run_note(&context(&tables), &counting(1)).await.unwrap();
        assert!(done.pushes.is_empty());
        let decisions = if in_order { 2 } else { 1 };
        assert_eq!((tables.reads(), tables.writes()), ((decisions, 0, 0), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_decided_again_without_a_look_at_the_record() {
    for (in_order, fate, heads) in
        [(false, gone_and_back(), 2), (true, gone_and_back(), 2), (true, appended(), 2)]
    {
        let tables = Engine::meeting(in_order, [fate]);
        let done = run_note(&context(&tables), &telling(1)).await.unwrap();
        assert!(!done.duplicate);
        assert_eq!((tables.reads(), tables.writes()), ((2, heads, 0), 2), "in order: {in_order}");
        assert_eq!(tables.number(Table::Entities, note(), "n"), Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_makes_it_impossible_is_the_answer() {
    for in_order in [false, true] {
        let gone = Write::update(Table::Entities, note(), vec![Change::Set("gone", true.into())]);
        let tables = Engine::meeting(in_order, [Fate::Follows(vec![gone])]);
        let refused = refusal(run_note(&context(&tables), &telling(1)).await);
        assert_eq!(refused.code, ErrorCode::NotFound);
        assert_eq!(tables.inbox(), (0, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_before_is_told_again_and_what_follows_is_done_by_its_own_message() {
    for in_order in [false, true] {
        let tables = Engine::meeting(in_order, []);
        let cx = context(&tables);
        run_note(&cx, &telling(1)).await.unwrap();
        for (mut again, duplicate) in [(telling(1), false), (telling(2), true)] {
            again.id = "id-1".to_owned();
            let before = (tables.reads(), tables.writes());
            let done = run_note(&cx, &again).await.unwrap();
            assert_eq!((done.reply.get(), done.duplicate), ("0", duplicate));
            assert_eq!(seqs(&done), [(1, false), (2, false)]);
            let left = usize::from(!duplicate);
            assert_eq!((done.events.len(), done.follow_ups.len()), (left, left));
            let (decided, heads, records) = before.0;
            let after = (tables.reads(), tables.writes());
            assert_eq!(after.0.0, decided + 1, "in order: {in_order}");
            assert_eq!((after.0.1, after.0.2, after.1), (heads + 1, records + 1, before.1 + 1));
        }
        assert_eq!(cx.metrics.worker_duplicates.get(), 2);
        let mut other = message(3, &json!({ "Count": ["ann"] }));
        other.id = "id-1".to_owned();
        assert_eq!(refusal(run_note(&cx, &other).await).code, ErrorCode::Conflict);
        assert_eq!(tables.number(Table::Entities, note(), "n"), Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_made_its_own_repetition_impossible_is_told_again() {
    let tables = Engine::meeting(false, []);
    let cx = context(&tables);
    run_note(&cx, &telling(1)).await.unwrap();
    let gone = Write::update(Table::Entities, note(), vec![Change::Set("gone", true.into())]);
    tables.memory.apply(vec![gone]).unwrap();
    let done = run_note(&cx, &telling(1)).await.unwrap();
    assert_eq!((done.reply.get(), done.duplicate), ("0", false));
    assert_eq!(refusal(run_note(&cx, &telling(2)).await).code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_can_read_stays_a_failure_of_ours() {
    for (name, value) in [
        (attribute::MID, Value::Null),
        (attribute::REPLY, Value::Null),
        (attribute::REPLY, json!("{")),
        (attribute::PUSHES, json!([["ann"]])),
        (attribute::PUSHES, json!([["not a handle", 1]])),
    ] {
        let tables = Engine::meeting(false, []);
        let cx = context(&tables);
        run_note(&cx, &telling(1)).await.unwrap();
        let key = dedupe_key(&telling(1));
        let broken = tables.memory.peek(Table::Dedupe, key.clone()).unwrap().with(name, value);
        tables.memory.apply(vec![Write::put(Table::Dedupe, key, broken)]).unwrap();
        let end = run_note(&cx, &telling(1)).await;
        assert!(matches!(&end, Err(Failure::Retry(_))), "{name}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_twelve_lost_races_a_message_waits_and_the_last_but_one_may_still_be_won() {
    for in_order in [false, true] {
        for (fate, first) in
            [(cancelled as fn() -> Fate, AFTER_A_CONFLICT), (gone_and_back as fn() -> Fate, AFTER_A_CHANGE)]
        {
            if in_order && first == AFTER_A_CONFLICT {
                continue; // Such an engine cancels nothing.
            }
            let tables = Engine::meeting(in_order, (0..11).map(|_| fate()));
            run_note(&context(&tables), &telling(1)).await.unwrap();
            assert_eq!((tables.writes(), tables.inbox()), (12, (2, Some(2))));

            let tables = Engine::meeting(in_order, (0..13).map(|_| fate()));
            let begun = Instant::now();
            let end = run_note(&context(&tables), &telling(1)).await;
            assert!(matches!(&end, Err(Failure::Wait(_))), "{end:?}");
            assert_eq!((tables.writes(), tables.inbox()), (12, (0, None)));
            let paused: Duration = (1..12).map(|race| longest(first, race)).sum();
            let longest_run = paused + 12 * A_WRITE + Duration::from_millis(12);
            assert!(begun.elapsed() <= longest_run, "{:?} of {longest_run:?}", begun.elapsed());
            assert!(begun.elapsed() >= 12 * A_WRITE + paused / 20, "no pauses: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn pauses_double_up_to_a_quarter_of_a_second() {
    let longest = |first, races: [u32; 4]| races.map(|race| longest(first, race).as_millis());
    assert_eq!(longest(AFTER_A_CHANGE, [1, 2, 9, 10]), [1, 2, 256, 256]);
    assert_eq!(longest(AFTER_A_CONFLICT, [1, 3, 5, 11]), [16, 64, 256, 256]);
}

#[tokio::test(start_paused = true)]
async fn other_errors_end_the_run_at_once() {
    for in_order in [false, true] {
        for (error, waits) in [
            (TableError::Unavailable("away".to_owned()), true),
            (TableError::Invalid("too long".to_owned()), false),
        ] {
            let tables = Engine::meeting(in_order, [Fate::Fails(error)]);
            let end = run_note(&context(&tables), &telling(1)).await;
            assert_eq!(matches!(end, Err(Failure::Wait(_))), waits, "{end:?}");
            assert_eq!(matches!(end, Err(Failure::Retry(_))), !waits, "{end:?}");
            assert_eq!(tables.writes(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_writes_nothing_and_failures_pass_through() {
    let tables = Engine::meeting(false, []);
    let cx = context(&tables);
    let read = run_note(&cx, &message(1, &json!("Read"))).await.unwrap();
    assert_eq!((read.reply.get(), read.duplicate, read.events.len()), ("0", false, 1));
    let failed = run_note(&cx, &message(2, &json!("Fail"))).await;
    assert!(matches!(failed, Err(Failure::Retry(_))), "{failed:?}");
    let bad = refusal(run_note(&cx, &message(3, &json!("Fly"))).await);
    assert_eq!(bad.code, ErrorCode::BadMessage);
    assert!(bad.message.starts_with("note.make: unknown variant `Fly`"), "{}", bad.message);
    assert_eq!(tables.writes(), 0);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "note.make sends the event note.lost, which its TELLS does not name")]
async fn what_a_handler_has_not_declared_ends_a_debug_build() {
    let tables = Engine::meeting(false, []);
    let _ = run_note(&context(&tables), &message(1, &json!("Undeclared"))).await;
}

/// The first of two messages about the same note is cancelled once. The second one must not begin before it is done.
#[tokio::test(start_paused = true)]
async fn messages_of_one_process_take_turns_and_a_cancelled_one_keeps_its_turn() {
    for make in [telling as fn(u128) -> Envelope, counting as fn(u128) -> Envelope] {
        let tables = Engine::meeting(false, [cancelled()]);
        let cx = context(&tables);
        let (one, two) = (make(1), make(2));
        let (first, second) = join(run_note(&cx, &one), run_note(&cx, &two)).await;
        assert!(first.is_ok() && second.is_ok());
        let writes = lock(&tables.writes).clone();
        let keys: Vec<&Key> = writes.iter().map(|(key, _)| key).collect();
        let (mine, theirs) = (&dedupe_key(&one), &dedupe_key(&two));
        assert_eq!(keys, [mine, mine, theirs]);
        assert!(writes.windows(2).all(|two| two[1].1 - two[0].1 >= A_WRITE), "never two at once: {writes:?}");
        assert_eq!(tables.number(Table::Entities, note(), "n"), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn where_tables_judge_in_order_appends_build_on_each_other() {
    let tables = Engine::meeting(true, []);
    let cx = context(&tables);
    let messages: Vec<_> = (1..=20).map(telling).collect();
    let begun = Instant::now();
    let done = join_all(messages.iter().map(|message| run_note(&cx, message))).await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(begun.elapsed(), A_WRITE, "none waits for another");
    assert_eq!((tables.inbox(), tables.writes()), ((40, Some(40)), 20));
    let (_, heads, _) = tables.reads();
    assert_eq!(heads, 1, "the others know it");
    // All have returned: the next one reads it.
    run_note(&cx, &telling(21)).await.unwrap();
    assert_eq!((tables.inbox(), tables.reads().1), ((42, Some(42)), 2));
}

#[tokio::test(start_paused = true)]
async fn what_builds_on_an_append_that_fails_is_decided_again() {
    let tables = Engine::meeting(true, [gone_and_back()]);
    let cx = context(&tables);
    let messages: Vec<_> = (1..=5).map(telling).collect();
    let done = join_all(messages.iter().map(|message| run_note(&cx, message))).await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(tables.inbox(), (10, Some(10)));
    assert_eq!(tables.number(Table::Entities, note(), "n"), Some(5));
}

mod quota;
