//! What a user gets in the inbox, and whether it is right.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::check::{Flaw, Note, Numbers};
use super::mix::Kind;
use super::replies::{commented, messaged};
use super::second::Measure;
use super::shared::Shared;
use crate::socket::Push;

/// What a user has heard from another.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The numbers that came.
    pub(super) numbers: Numbers,
    /// Numbers up to this one had to come before the newest one heard.
    promised: u32,
}

/// A user's inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    user: u32,
    /// What came, by kind and sender.
    pub(super) from: HashMap<(Kind, u32), Heard>,
}

impl Inbox {
    /// An empty one.
    pub(super) fn new(user: u32) -> Self {
        Self { user, from: HashMap::new() }
    }

    /// Judges an entry of the inbox before which `missing` others never came.
    pub(super) fn pushed(&mut self, shared: &Shared, push: &Push, missing: u64) {
        shared.recorder.count(|counts| counts.pushes += 1);
        if missing > 0 {
            let seq = push.seq;
            shared.wrong(Flaw::InboxGap, || {
                format!("{}: {missing} before seq {seq}", shared.handle(self.user))
            });
        }
        let read = match push.push_type.as_str() {
            "dm.received" => messaged(&push.body).map(|dm| (Kind::Dms, dm.from, Some(dm.to), dm.text)),
            "comment.created" => commented(&push.body).map(|(from, text)| (Kind::Comments, from, None, text)),
            _ => return,
        };
        match read {
            Ok((kind, from, to, text)) => self.heard(shared, kind, (&from, to.as_deref()), &text, push.seq),
            Err(error) => {
                let seq = push.seq;
                shared
                    .wrong(Flaw::PushWrong, || format!("{}, seq {seq}: {error:#}", shared.handle(self.user)));
            }
        }
    }

    /// Judges what another user has written to this one.
    fn heard(&mut self, shared: &Shared, kind: Kind, (from, to): (&str, Option<&str>), text: &str, seq: u64) {
        let Some(note) = Note::parse(text).filter(|note| note.run == shared.run) else {
            // It is of an earlier run, or not of a run.
            return;
        };
        let me = shared.handle(self.user);
        let what = || format!("{} from {from} to {me}: number {}, seq {seq}", kind.name(), note.number);
        let sender = shared.cast.handles.get(note.from as usize).map(|handle| handle.as_str());
        if sender != Some(from) || to.is_some_and(|to| to != me) || note.text() != text {
            return shared.wrong(Flaw::PushWrong, what);
        }
        let heard = self.from.entry((kind, note.from)).or_default();
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
}
