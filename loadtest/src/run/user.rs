//! A virtual user: sends what is due, no matter what happened to earlier messages, and judges all that comes back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use soundoff_common::protocol::ErrorBody;
use tokio::sync::{mpsc, watch};

use super::cast::Post;
use super::check::{Flaw, Note, Numbers};
use super::inbox::{Heard, Inbox};
use super::mix::Kind;
use super::replies::{Asked, judge};
use super::second::Measure;
use super::shared::Shared;
use crate::client::{Answer, Client};
use crate::socket::End;

/// A message to send, without its user and time.
pub(super) type What = (Kind, u64);

/// What a user has sent to another and which replies came.
#[derive(Debug, Default)]
struct Talk {
    sent: u32,
    replied: Numbers,
}

/// A message under way.
#[derive(Debug)]
struct UnderWay {
    asked: Asked,
    number: usize,
    due: Instant,
    accepted: bool,
    /// Its receiver, and its number.
    to: Option<(u32, u32)>,
}

/// The replies to a message that was sent more than once.
#[derive(Debug)]
struct Repeated {
    sends: u32,
    replies: u32,
    /// Replies that do not say that it had taken effect before.
    effects: u32,
    /// The one socket that all of it was sent on, if it was one.
    socket: Option<u64>,
}

/// What a user knows of all conversations at the end.
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

/// What is asked, the body, and the receiver with the message's number.
type Composed = (Asked, Value, Option<(u32, u32)>);

/// A number by which replies are distinguished.
fn fingerprint(outcome: &Result<Box<RawValue>, ErrorBody>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match outcome {
        Ok(body) => body.get().hash(&mut hasher),
        Err(error) => error.code.hash(&mut hasher),
    }
    hasher.finish()
}

/// A virtual user.
pub(super) struct User {
    index: u32,
    client: Client,
    shared: Arc<Shared>,
    /// What was sent, and what the first reply to it said.
    told: Vec<Option<(Kind, u64)>>,
    under_way: HashMap<String, UnderWay>,
    repeated: HashMap<String, Repeated>,
    talks: HashMap<(Kind, u32), Talk>,
    inbox: Inbox,
}

impl User {
    /// A user with a session.
    pub(super) fn new(index: u32, client: Client, shared: Arc<Shared>) -> Self {
        Self {
            index,
            client,
            shared,
            told: Vec::new(),
            under_way: HashMap::new(),
            repeated: HashMap::new(),
            talks: HashMap::new(),
            inbox: Inbox::new(index),
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

    /// `None` if there is no user or no post to choose.
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

    /// The next text to a user, and its number.
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
            Answer::Push { push, missing } => self.inbox.pushed(&self.shared, &push, missing),
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

    /// A reply to a message that has one already.
    fn again(&mut self, id: &str, outcome: &Result<Box<RawValue>, ErrorBody>, duplicate: bool) {
        let ours = format!("{:x}-{}-", self.shared.run, self.index);
        let number = id.strip_prefix(&ours).and_then(|number| number.parse::<usize>().ok());
        let Some((kind, told)) = number.and_then(|number| *self.told.get(number)?) else {
            // It is of an earlier run of the same users.
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

    fn closed(&self, end: &End) {
        self.shared.wrong(Flaw::Closed, || format!("{}: {end}", self.me()));
    }

    /// Judges what is open, if it had enough time, and leaves.
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
        Ledger { user: self.index, done, heard: self.inbox.from, unanswered }
    }
}
