//! A world for tests: users, messages through the real runner, and an audit of everything that must agree.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::feature::{Row, Work};
use soundoff_common::pipeline::handler::{Context, Done, Failure, Run, raw};
use soundoff_common::ports::memory::{MemorySessions, MemoryTables};
use soundoff_common::ports::sessions::Registration;
use soundoff_common::ports::tables::{Item, Key, Table, Tables};
use soundoff_common::protocol::{ErrorCode, Handle};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::pictures::PictureKey;
use soundoff_common::web::uploads::UploadKey;
use ulid::Ulid;

use crate::testing::groups;

/// When tests begin, in milliseconds since 1970: 2023-11-14T22:13:20Z.
pub(crate) const START: u64 = 1_700_000_000_000;

pub(crate) fn user(handle: &str) -> Handle {
    handle.parse().expect("a valid handle")
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) tables: Arc<MemoryTables>,
    pub(crate) cx: Context,
    runs: Arc<HashMap<&'static str, Run>>,
    clock: Arc<AtomicU64>,
}

impl World {
    pub(crate) async fn with(users: &[&str]) -> Self {
        let tables = Arc::new(MemoryTables::with_distinct_keys_only());
        let cx = Context {
            tables: tables.clone(),
            sessions: Arc::new(MemorySessions::default()),
            uploads: Arc::new(UploadKey::new(&[0; 32])),
            pictures: PictureKey::new(&[0; 32]),
            purges: false,
            metrics: Metrics::new(),
            turns: Arc::default(),
            daily: Arc::default(),
        };
        for handle in users {
            tables.write(vec![accounts::create(&user(handle), START)]).await.unwrap();
        }
        // Jobs have state and no outcome: their tests make them themselves.
        let handler = |row: Row| match row.work {
            Work::Handler(run) => Some((row.spec.message_type, run)),
            Work::Job(_) => None,
        };
        let runs = crate::feature().rows.into_iter().filter_map(handler).collect();
        let clock = Arc::new(AtomicU64::new(1));
        Self { tables, cx, runs: Arc::new(runs), clock }
    }

    /// The same tables as another process sees them: with locks of its own.
    pub(crate) fn another_process(&self) -> Self {
        let mut other = self.clone();
        other.cx.turns = Arc::default();
        other
    }

    /// A message that is later than all before it.
    pub(crate) fn message(&self, from: &str, message_type: &str, body: &Value) -> Envelope {
        let n = self.clock.fetch_add(1, Ordering::Relaxed);
        Envelope {
            mid: Ulid::from_parts(START + n, u128::from(n)),
            id: format!("id-{n}"),
            message_type: message_type.to_owned(),
            from: user(from),
            origin: None,
            at: START + n,
            body: raw(body),
        }
    }

    pub(crate) async fn run(&self, message: &Envelope) -> Result<Done, Failure> {
        let run = self.runs[message.message_type.as_str()];
        run(&self.cx, message).await
    }

    /// Runs a message as its queue would: again and again until it is done or refused.
    pub(crate) async fn until_done(&self, message: &Envelope) -> Result<Done, Failure> {
        // More often than a queue would before it gives the message up.
        for _ in 0..30 {
            match self.run(message).await {
                Err(Failure::Retry(_) | Failure::Wait(_)) => tokio::task::yield_now().await,
                end => return end,
            }
        }
        panic!("{} is never done", message.message_type);
    }

    pub(crate) async fn done(&self, from: &str, message_type: &str, body: Value) -> Done {
        let message = self.message(from, message_type, &body);
        match self.run(&message).await {
            Ok(done) => done,
            Err(failure) => panic!("{from} {message_type} {body}: {failure}"),
        }
    }

    /// The reply to a message that must succeed.
    pub(crate) async fn ok(&self, from: &str, message_type: &str, body: Value) -> Value {
        reply(&self.done(from, message_type, body).await)
    }

    /// The code of a message that must be refused; nothing may have changed.
    pub(crate) async fn refused(&self, from: &str, message_type: &str, body: Value) -> ErrorCode {
        let before = self.tables.all();
        let message = self.message(from, message_type, &body);
        let code = refusal(self.run(&message).await);
        assert_eq!(before, self.tables.all(), "a refused {message_type} has changed something");
        code
    }

    pub(crate) async fn post(&self, author: &str, text: &str) -> String {
        let reply = self.ok(author, "post.create", serde_json::json!({ "text": text })).await;
        reply["post"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn online(&self, handle: &str) {
        let registration =
            Registration { edge: "127.0.0.1:1".into(), boot: "b".into(), connection: 1, device: None };
        let sessions = &self.cx.sessions;
        sessions.put_many(&[(user(handle), registration)], Duration::from_secs(60)).await.unwrap();
    }

    /// A user's inbox: type and body of each entry in order. It must be gapless.
    pub(crate) fn inbox(&self, handle: &str) -> Vec<(String, Value)> {
        let all = self.tables.all();
        let mine = all.iter().filter(|((t, k), _)| *t == Table::Inbox && k.pk == handle);
        let (mut head, mut entries) = (0, Vec::new());
        for ((_, key), item) in mine {
            if key.sk == "head" {
                head = item.number("seq").unwrap();
            } else {
                assert_eq!(key.sk, format!("e#{:020}", entries.len() + 1), "a gap in {handle}'s inbox");
                let body = serde_json::from_str(item.text("body").unwrap()).unwrap();
                entries.push((item.text("type").unwrap().to_owned(), body));
            }
        }
        assert_eq!(head, entries.len() as u64, "the head of {handle}'s inbox");
        entries
    }

    pub(crate) fn item(&self, table: Table, pk: &str, sk: &str) -> Option<Item> {
        self.tables.all().remove(&(table, Key::new(pk, sk)))
    }

    /// Whether a relation's state is on.
    pub(crate) fn is_on(&self, kind: &str, from: &str, to: &str) -> bool {
        let item = self.item(Table::Relationships, &format!("{kind}#{from}"), &format!("s#{to}"));
        item.is_some_and(|item| item.flag("on"))
    }

    /// Everything that is written in two places agrees, and no law is broken.
    pub(crate) fn audit(&self) {
        let all = self.tables.all();
        groups::audit(&all);
        let mut expected: BTreeMap<(String, &str), u64> = BTreeMap::new();
        let mut rows: Vec<(String, String, String)> = Vec::new();
        let mut due_rows = Vec::new();
        for ((table, key), item) in &all {
            let mut count = |pk: &str, name| *expected.entry((pk.to_owned(), name)).or_default() += 1;
            match (*table, key.pk.split_once('#').unwrap_or_default(), key.sk.as_str()) {
                (Table::Relationships, ("like", post), _) if item.flag("on") => {
                    count(&format!("post#{post}"), "likes");
                }
                (Table::Relationships, ("follow", from), sk) if sk.starts_with("s#") && item.flag("on") => {
                    let to = &sk[2..];
                    count(&format!("user#{from}"), "following");
                    count(&format!("user#{to}"), "followers");
                    let row = format!("l#{}", item.text("since").unwrap());
                    due_rows.push((format!("follow#{from}"), row.clone(), to.to_owned()));
                    due_rows.push((format!("followers#{to}"), row, from.to_owned()));
                    for (a, b) in [(from, to), (to, from)] {
                        assert!(!self.is_on("block", a, b), "{from} follows {to} across a block");
                    }
                }
                (Table::Relationships, ("follow", from), sk)
                    if sk.starts_with("s#") && item.flag("asked") =>
                {
                    let (to, row) = (&sk[2..], format!("l#{}", item.text("since").unwrap()));
                    due_rows.push((format!("requests#{to}"), row, from.to_owned()));
                    for (a, b) in [(from, to), (to, from)] {
                        assert!(!self.is_on("block", a, b), "{from} asks {to} across a block");
                    }
                }
                (Table::Relationships, ("close", from), sk) if sk.starts_with("s#") && item.flag("on") => {
                    let row = format!("l#{}", item.text("since").unwrap());
                    due_rows.push((format!("close#{from}"), row, sk[2..].to_owned()));
                }
                (Table::Relationships, ("follow" | "followers" | "requests" | "close", _), sk)
                    if sk.starts_with("l#") =>
                {
                    rows.push((key.pk.clone(), sk.to_owned(), item.text("who").unwrap().to_owned()));
                }
                (Table::Entities, ("post", _), sk) if sk.starts_with("c#") => count(&key.pk, "comments"),
                (Table::Entities, ("post", id), "post")
                    if !item.flag("deleted") && item.text("group").is_none() =>
                {
                    let author = item.text("author").unwrap();
                    if item.text("state").is_none() {
                        count(&format!("user#{author}"), "posts");
                    }
                    let row = (Table::Entities, Key::new(format!("posts#{author}"), id));
                    assert!(all.contains_key(&row), "a post that its author's list lacks");
                }
                (Table::Entities, ("posts", _), id) => {
                    let post = &all[&(Table::Entities, Key::new(format!("post#{id}"), "post"))];
                    assert!(!post.flag("deleted"), "a deleted post in a list");
                    assert!(post.text("group").is_none(), "a group's post in its author's list");
                }
                (Table::Inbox, _, "head") => drop(self.inbox(&key.pk)),
                _ => {}
            }
        }
        rows.sort();
        due_rows.sort();
        assert_eq!(rows, due_rows, "list rows are those of the follows that are on");
        assert_counted(&all, &expected);
    }
}

/// The counters are what is due.
fn assert_counted(all: &BTreeMap<(Table, Key), Item>, expected: &BTreeMap<(String, &str), u64>) {
    for ((table, key), item) in all {
        let names: &[&str] = match (*table, key.sk.as_str()) {
            (Table::Users, "profile") => &["followers", "following", "posts"],
            (Table::Entities, "post") => &["likes", "comments"],
            _ => &[],
        };
        for name in names {
            let due = expected.get(&(key.pk.clone(), *name)).copied().unwrap_or(0);
            assert_eq!(item.number(name), Some(due), "{name} of {}", key.pk);
        }
    }
}

pub(crate) fn reply(done: &Done) -> Value {
    serde_json::from_str(done.reply.get()).unwrap()
}

pub(crate) fn refusal(end: Result<Done, Failure>) -> ErrorCode {
    match end {
        Err(Failure::Reject(error)) => error.code,
        Err(Failure::Retry(error) | Failure::Wait(error)) => panic!("not refused but failed: {error:#}"),
        Ok(done) => panic!("not refused but {}", done.reply),
    }
}
