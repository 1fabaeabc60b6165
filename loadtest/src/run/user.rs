//! A virtual user: sends what is due, whatever has become of what went before, and judges all that comes back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use soundoff_common::protocol::ErrorBody;
use tokio::sync::{mpsc, watch};

use super::cast::{Cast, Post, Posts};
use super::check::{Flaw, Flaws, Note, Numbers};
use super::mix::Kind;
use super::record::{Measure, Recorder};
use super::replies::{Asked, commented, judge, messaged};
use crate::client::{Answer, Client};
use crate::socket::{End, Push};

/// A message that is to be sent, without its user and time.
pub(super) type What = (Kind, u64);

/// What all users share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Which run this is: texts of others are not judged.
    pub(super) run: u64,
    /// All users.
    pub(super) cast: Arc<Cast>,
    /// What they have written.
    pub(super) posts: Arc<Posts>,
    /// Takes down what they see.
    pub(super) recorder: Recorder,
    /// And what was wrong with it.
    pub(super) flaws: Flaws,
    /// What is still to come.
    pub(super) open: Open,
    /// Replies, marked as duplicates, beyond those to be expected.
    pub(super) told_again: AtomicU64,
    /// Pushes that overtook others of the same sender, as they may when both were under way together.
    pub(super) overtaken: AtomicU64,
    /// Messages there was nobody to send to.
    pub(super) without_target: AtomicU64,
}

impl Shared {
    /// Counts a wrong answer.
    pub(super) fn wrong(&self, flaw: Flaw, example: impl FnOnce() -> String) {
        self.recorder.count(|counts| counts.wrong += 1);
        self.flaws.note(flaw, example);
    }

    /// A user's handle.
    pub(super) fn handle(&self, user: u32) -> &str {
        self.cast.handles[user as usize].as_str()
    }
}

/// What is still to come.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Messages without a reply.
    pub(super) unreplied: AtomicI64,
    /// Things done that have not reached whom they are for. A push may overtake its reply: then it is below zero.
    undelivered: AtomicI64,
    /// Replies to repeated sends.
    unrepeated: AtomicI64,
}

impl Open {
    /// Nothing is.
    pub(super) fn is_settled(&self) -> bool {
        [&self.unreplied, &self.undelivered, &self.unrepeated].iter().all(|count| count.load(Relaxed) <= 0)
    }
}

/// What a user has sent to another and which replies came.
#[derive(Debug, Default)]
struct Talk {
    sent: u32,
    replied: Numbers,
}

/// What a user has heard from another.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Which numbers.
    pub(super) numbers: Numbers,
    /// Those up to this one had to be there before what was heard last.
    promised: u32,
}

/// A message under way.
#[derive(Debug)]
struct UnderWay {
    asked: Asked,
    number: usize,
    due: Instant,
    accepted: bool,
    /// Whom it is to reach, and its number.
    to: Option<(u32, u32)>,
}

/// The replies to a message that was sent more than once.
#[derive(Debug)]
struct Repeated {
    sends: u32,
    replies: u32,
    /// Those that do not say that it had taken effect before.
    effects: u32,
    /// The one socket that all of it was sent on, if it was one.
    socket: Option<u64>,
}

/// What a user's end of all conversations came to.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) user: u32,
    /// What took effect, by kind and receiver.
    pub(super) done: HashMap<(Kind, u32), Numbers>,
    /// What came, by kind and sender.
    pub(super) heard: HashMap<(Kind, u32), Heard>,
    /// Messages without a reply.
    pub(super) unanswered: u64,
}

/// What to ask, its body, and whom it is to reach with its number.
type Composed = (Asked, Value, Option<(u32, u32)>);

/// Tells replies apart.
fn fingerprint(outcome: &Result<Box<RawValue>, ErrorBody>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match outcome {
        Ok(body) => body.get().hash(&mut hasher),
        Err(error) => error.code.hash(&mut hasher),
    }
    hasher.finish()
}

/// One of them.
pub(super) struct User {
    index: u32,
    client: Client,
    shared: Arc<Shared>,
    /// What was sent, and what the first reply to it said.
    told: Vec<Option<(Kind, u64)>>,
    under_way: HashMap<String, UnderWay>,
    repeated: HashMap<String, Repeated>,
    talks: HashMap<(Kind, u32), Talk>,
    heard: HashMap<(Kind, u32), Heard>,
}

impl User {
    /// A user on a socket.
    pub(super) fn new(index: u32, client: Client, shared: Arc<Shared>) -> Self {
        Self {
            index,
            client,
            shared,
            told: Vec::new(),
            under_way: HashMap::new(),
            repeated: HashMap::new(),
            talks: HashMap::new(),
            heard: HashMap::new(),
        }
    }

    /// Does what is due until everything is over. `judged` says whether what is open at the end is wrong.
    pub(super) async fn live(
        mut self,
        mut dues: mpsc::Receiver<(What, Instant)>,
        mut over: watch::Receiver<Option<bool>>,
    ) -> Ledger {
        let mut clock_runs = true;
        let judged = loop {
            tokio::select! {
                biased;
                due = dues.recv(), if clock_runs => match due {
                    Some((what, due)) => self.send(what, due),
                    None => clock_runs = false,
                },
                answer = self.client.next() => match answer {
                    Ok(answer) => self.take(answer),
                    Err(end) => {
                        self.closed(&end);
                        break true;
                    }
                },
                judged = over.wait_for(Option::is_some) => break judged.is_ok_and(|judged| *judged == Some(true)),
            }
        };
        self.end(judged).await
    }

    fn me(&self) -> &str {
        self.shared.handle(self.index)
    }

    fn send(&mut self, (kind, roll): What, due: Instant) {
        let recorder = &self.shared.recorder;
        recorder.lag.record(due.elapsed());
        let Some((asked, body, to)) = self.compose(kind, roll, due) else {
            self.shared.without_target.fetch_add(1, Relaxed);
            return;
        };
        let number = self.told.len();
        let id = format!("{:x}-{}-{number}", self.shared.run, self.index);
        self.told.push(None);
        self.client.send_due(id.clone(), kind.message_type(), &body, due.into());
        self.under_way.insert(id, UnderWay { asked, number, due, accepted: false, to });
        self.shared.open.unreplied.fetch_add(1, Relaxed);
        self.shared.recorder.count(|counts| counts.sent += 1);
    }

    /// `None` if there is nobody and nothing to choose.
    fn compose(&mut self, kind: Kind, roll: u64, due: Instant) -> Option<Composed> {
        let shared = self.shared.clone();
        let by = shared.handle(self.index).to_owned();
        let asked = |of: &str, text: &str| Asked { kind, by, of: of.to_owned(), text: text.to_owned() };
        Some(match kind {
            Kind::Posts => {
                let text = self.note(0, 0, due).text();
                (asked("", &text), json!({ "text": text }), None)
            }
            Kind::Fetch => (asked("", ""), json!({}), None),
            Kind::Typing => {
                let to = shared.handle(shared.cast.friend(self.index, roll));
                (asked(to, ""), json!({ "to": to }), None)
            }
            Kind::Follows => {
                let user = shared.handle(shared.cast.stranger(self.index, roll));
                (asked(user, ""), json!({ "user": user }), None)
            }
            Kind::Likes => {
                let post = shared.posts.pick(roll, self.index)?;
                (asked(&post.id, ""), json!({ "post": post.id }), None)
            }
            Kind::Dms => {
                let to = shared.cast.friend(self.index, roll);
                let (number, text) = self.next_in_talk(kind, to, due);
                let handle = shared.handle(to);
                (asked(handle, &text), json!({ "to": handle, "text": text }), Some((to, number)))
            }
            Kind::Comments => {
                let Post { id, author } = shared.posts.pick(roll, self.index)?;
                let (number, text) = self.next_in_talk(kind, author, due);
                (asked(&id, &text), json!({ "post": id, "text": text }), Some((author, number)))
            }
        })
    }

    fn note(&self, number: u32, after: u32, due: Instant) -> Note {
        let due_us = due.saturating_duration_since(self.shared.recorder.epoch).as_micros() as u64;
        Note { run: self.shared.run, from: self.index, number, after, due_us }
    }

    /// The next text to somebody, and its number.
    fn next_in_talk(&mut self, kind: Kind, to: u32, due: Instant) -> (u32, String) {
        let talk = self.talks.entry((kind, to)).or_default();
        talk.sent += 1;
        let (number, after) = (talk.sent, talk.replied.upto());
        (number, self.note(number, after, due).text())
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Accepted { id, after } => {
                if let Some(message) = self.under_way.get_mut(&id) {
                    message.accepted = true;
                    let (kind, due) = (message.asked.kind, message.due);
                    self.accepted(kind, due, after);
                }
            }
            Answer::Done { id, outcome, duplicate, after, sends, unbroken } => {
                if sends > 1 {
                    let socket = unbroken.then(|| self.client.sockets());
                    let effects = u32::from(!duplicate);
                    self.repeated.insert(id.clone(), Repeated { sends, replies: 1, effects, socket });
                    self.shared
                        .open
                        .unrepeated
                        .fetch_add(if unbroken { i64::from(sends) - 1 } else { 0 }, Relaxed);
                }
                if let Some(message) = self.under_way.remove(&id) {
                    self.told[message.number] = Some((message.asked.kind, fingerprint(&outcome)));
                    self.done(&id, &message, outcome, after);
                }
            }
            Answer::Again { id, outcome, duplicate } => self.again(&id, &outcome, duplicate),
            Answer::Push { push, missing } => self.pushed(&push, missing),
        }
    }

    fn accepted(&self, kind: Kind, due: Instant, after: Duration) {
        self.shared.recorder.record(Measure::Accepted, kind, due, after);
        self.shared.recorder.count(|counts| counts.accepted += 1);
    }

    fn done(
        &mut self,
        id: &str,
        message: &UnderWay,
        outcome: Result<Box<RawValue>, ErrorBody>,
        after: Duration,
    ) {
        let UnderWay { asked, due, accepted, to, .. } = message;
        self.shared.open.unreplied.fetch_sub(1, Relaxed);
        if !accepted && outcome.is_ok() {
            // The reply has overtaken it: by now it is durable.
            self.accepted(asked.kind, *due, after);
        }
        // What the edge refuses has no reply: it was never accepted.
        self.shared.recorder.count(|counts| counts.replies += u64::from(*accepted || outcome.is_ok()));
        let name = asked.kind.name();
        let body = match outcome {
            Ok(body) => body,
            Err(error) => {
                let code = error.code;
                return self
                    .shared
                    .wrong(Flaw::Refused, || format!("{}, {id} ({name}): {code:?}", self.me()));
            }
        };
        self.shared.recorder.record(Measure::Reply, asked.kind, *due, after);
        if let Some((to, number)) = *to {
            self.talks.entry((asked.kind, to)).or_default().replied.insert(number);
            self.shared.open.undelivered.fetch_add(1, Relaxed);
        }
        match judge(asked, &body) {
            Ok(Some(post)) => self.shared.posts.add(Post { id: post, author: self.index }),
            Ok(None) => {}
            Err(error) => {
                self.shared.wrong(Flaw::ReplyWrong, || format!("{}, {id} ({name}): {error:#}", self.me()));
            }
        }
    }

    /// A reply to what has one already.
    fn again(&mut self, id: &str, outcome: &Result<Box<RawValue>, ErrorBody>, duplicate: bool) {
        let ours = format!("{:x}-{}-", self.shared.run, self.index);
        let number = id.strip_prefix(&ours).and_then(|number| number.parse::<usize>().ok());
        let Some((kind, told)) = number.and_then(|number| *self.told.get(number)?) else {
            // Of an earlier run of the same users.
            return;
        };
        let (sends, replies, effects) = match self.repeated.get_mut(id) {
            None => (1, 2, 1 + u32::from(!duplicate)),
            Some(repeated) => {
                repeated.replies += 1;
                repeated.effects += u32::from(!duplicate);
                if repeated.socket.is_some() && repeated.replies <= repeated.sends {
                    self.shared.open.unrepeated.fetch_sub(1, Relaxed);
                }
                (repeated.sends, repeated.replies, repeated.effects)
            }
        };
        let is_more = replies > sends;
        if if kind.has_effect() { effects > 1 && !duplicate } else { is_more } {
            self.shared.wrong(Flaw::ReplyTwice, || format!("{}, {id} ({})", self.me(), kind.name()));
        } else if is_more {
            self.shared.told_again.fetch_add(1, Relaxed);
        }
        if kind.has_effect() && told != fingerprint(outcome) {
            let example = || format!("{}, {id} ({}): the second one says otherwise", self.me(), kind.name());
            self.shared.wrong(Flaw::ReplyWrong, example);
        }
    }

    fn pushed(&mut self, push: &Push, missing: u64) {
        self.shared.recorder.count(|counts| counts.pushes += 1);
        if missing > 0 {
            let seq = push.seq;
            self.shared.wrong(Flaw::InboxGap, || format!("{}: {missing} before seq {seq}", self.me()));
        }
        let read = match push.push_type.as_str() {
            "dm.received" => messaged(&push.body).map(|dm| (Kind::Dms, dm.from, Some(dm.to), dm.text)),
            "comment.created" => commented(&push.body).map(|(from, text)| (Kind::Comments, from, None, text)),
            _ => return,
        };
        match read {
            Ok((kind, from, to, text)) => self.heard(kind, &from, to.as_deref(), &text, push.seq),
            Err(error) => {
                let seq = push.seq;
                self.shared.wrong(Flaw::PushWrong, || format!("{}, seq {seq}: {error:#}", self.me()));
            }
        }
    }

    /// Somebody has written to this user.
    fn heard(&mut self, kind: Kind, from: &str, to: Option<&str>, text: &str, seq: u64) {
        let shared = self.shared.clone();
        let Some(note) = Note::parse(text).filter(|note| note.run == shared.run) else {
            // Of an earlier run, or somebody else's.
            return;
        };
        let me = shared.handle(self.index);
        let what = || format!("{} from {from} to {me}: number {}, seq {seq}", kind.name(), note.number);
        let sender = shared.cast.handles.get(note.from as usize).map(|handle| handle.as_str());
        if sender != Some(from) || to.is_some_and(|to| to != me) || note.text() != text {
            return shared.wrong(Flaw::PushWrong, what);
        }
        let heard = self.heard.entry((kind, note.from)).or_default();
        let before = heard.numbers.highest();
        if !heard.numbers.insert(note.number) {
            return shared.wrong(Flaw::PushTwice, what);
        }
        let promised = heard.promised;
        heard.promised = promised.max(note.after);
        if note.number <= promised {
            shared.wrong(Flaw::PushOrder, || format!("{}, came after what was sent later", what()));
        } else if note.number < before {
            shared.overtaken.fetch_add(1, Relaxed);
        }
        shared.open.undelivered.fetch_sub(1, Relaxed);
        shared.recorder.count(|counts| counts.delivered += 1);
        let due = shared.recorder.epoch + Duration::from_micros(note.due_us);
        shared.recorder.record(Measure::Delivery, kind, due, due.elapsed());
    }

    fn closed(&self, end: &End) {
        self.shared.wrong(Flaw::Closed, || format!("{}: {end}", self.me()));
    }

    /// Judges what is open, if it had time enough, and leaves.
    async fn end(self, judged: bool) -> Ledger {
        let mut unanswered = 0;
        for (id, accepted) in self.client.unanswered() {
            unanswered += 1;
            let name = self.under_way.get(id).map_or("?", |message| message.asked.kind.name());
            let flaw = if accepted { Flaw::ReplyMissing } else { Flaw::NotAccepted };
            if judged {
                self.shared.wrong(flaw, || format!("{}, {id} ({name})", self.me()));
            }
        }
        for (id, Repeated { sends, replies, socket, .. }) in &self.repeated {
            if judged && replies < sends && *socket == Some(self.client.sockets()) {
                let example = || format!("{}, {id}: sent {sends} times, {replies} replies", self.me());
                self.shared.wrong(Flaw::ReplyLost, example);
            }
        }
        self.client.bye().await;
        let done = self.talks.into_iter().map(|(whom, talk)| (whom, talk.replied)).collect();
        Ledger { user: self.index, done, heard: self.heard, unanswered }
    }
}
