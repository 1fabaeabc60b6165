//! What is wrong with an answer. A wrong answer is a failure, not a latency.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;

use super::figures::Flawed;

/// At most this many examples of each flaw are named; all are counted.
const NAMED: usize = 5;

/// Words that make texts as long as those of people.
const WORDS: [&str; 16] = [
    "the", "sound", "is", "off", "again", "who", "turned", "it", "down", "and", "why", "tell", "me", "later",
    "at", "eight",
];

/// A way in which a server can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flaw {
    /// Neither accepted nor refused.
    NotAccepted,
    /// Refused for good, although nothing was wrong with it.
    Refused,
    /// Accepted, and no reply.
    ReplyMissing,
    /// The reply came only because the message was sent again.
    ReplyLost,
    /// More than one reply says that it took effect.
    ReplyTwice,
    /// The reply is about something else, or is not well formed.
    ReplyWrong,
    /// Something that was done never reached its receiver.
    PushLost,
    /// It reached the receiver twice.
    PushTwice,
    /// It overtook what had been done before it was sent.
    PushOrder,
    /// It is not what was sent.
    PushWrong,
    /// Entries of an inbox never came.
    InboxGap,
    /// The server closed a socket for good.
    Closed,
}

impl Flaw {
    /// The words that follow its count.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotAccepted => "neither accepted nor refused",
            Self::Refused => "refused for good",
            Self::ReplyMissing => "accepted without a reply",
            Self::ReplyLost => "replies lost: they came only when the message was sent again",
            Self::ReplyTwice => "second replies",
            Self::ReplyWrong => "wrong replies",
            Self::PushLost => "pushes lost",
            Self::PushTwice => "pushes doubled",
            Self::PushOrder => "pushes out of order",
            Self::PushWrong => "wrong pushes",
            Self::InboxGap => "entries missing in inboxes",
            Self::Closed => "sockets closed for good",
        }
    }
}

/// All flaws of a run.
#[derive(Debug, Default)]
pub(super) struct Flaws(Mutex<BTreeMap<Flaw, Flawed>>);

impl Flaws {
    /// Counts a flaw, and keeps its example if it is among the first of its kind.
    pub(super) fn note(&self, flaw: Flaw, example: impl FnOnce() -> String) {
        let mut flaws = self.0.lock().expect("no thread panics while it holds the lock");
        let flawed = flaws.entry(flaw).or_default();
        flawed.count += 1;
        if flawed.examples.len() < NAMED {
            flawed.examples.push(example());
        }
    }

    /// All flaws, by their words.
    pub(super) fn all(&self) -> BTreeMap<String, Flawed> {
        let flaws = self.0.lock().expect("no thread panics while it holds the lock");
        flaws.iter().map(|(flaw, flawed)| (flaw.name().to_owned(), flawed.clone())).collect()
    }
}

/// A set of numbers from 1 on.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// All numbers up to this one are in it.
    upto: u32,
    beyond: BTreeSet<u32>,
}

impl Numbers {
    /// Adds a number. Returns `false` if it was in the set.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        if number <= self.upto || !self.beyond.insert(number) {
            return false;
        }
        while self.beyond.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        true
    }

    /// All numbers up to this one are in the set.
    pub(super) fn upto(&self) -> u32 {
        self.upto
    }

    /// The highest number.
    pub(super) fn highest(&self) -> u32 {
        self.beyond.last().copied().unwrap_or(self.upto)
    }

    /// The numbers that are not in another set.
    pub(super) fn not_in<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let all = (1..=self.upto).chain(self.beyond.iter().copied());
        all.filter(|number| *number > other.upto && !other.beyond.contains(number))
    }
}

/// What the text of a dm or a comment says about itself, so that its receiver can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// Which run it belongs to.
    pub(super) run: u64,
    /// Which user wrote it.
    pub(super) from: u32,
    /// Its place among all that this user sent to the same receiver in the same way.
    pub(super) number: u32,
    /// The sender had replies to all up to this number when it was sent: those must arrive before it.
    pub(super) after: u32,
    /// When it was due, in microseconds from the run's start.
    pub(super) due_us: u64,
}

impl Note {
    /// The text: the numbers, and words that are computed from them.
    pub(super) fn text(&self) -> String {
        let Self { run, from, number, after, due_us } = self;
        let mut text = format!("{run:x} {from} {number} {after} {due_us}");
        let mut chance = due_us.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(*number);
        for _ in 0..chance % 29 {
            chance = chance.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let _ = write!(text, " {}", WORDS[(chance >> 60) as usize]);
        }
        text
    }

    /// Reads the numbers of a text; `None` if there are none, as the text is not ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let mut number = || parts.next()?.parse().ok();
        let (from, number, after) = (number()?, number()?, number()?);
        Some(Self { run, from, number, after, due_us: parts.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_numbers_knows_what_is_in_it() {
        let (mut sent, mut heard) = (Numbers::default(), Numbers::default());
        (1..=6).for_each(|n| assert!(sent.insert(n)));
        for n in [1, 3, 2, 5] {
            assert!(heard.insert(n) && !heard.insert(n));
        }
        assert_eq!((heard.upto(), heard.highest()), (3, 5));
        assert_eq!(sent.not_in(&heard).collect::<Vec<_>>(), [4, 6]);
        assert!(!heard.insert(2) && heard.not_in(&sent).next().is_none());
    }

    #[test]
    fn a_note_reads_as_it_was_written_and_others_texts_are_none() {
        let lengths: BTreeSet<usize> = (0..50)
            .map(|n| {
                let note = Note { run: 0xabc, from: 7, number: n, after: 3, due_us: u64::from(n) * 1_234 };
                assert_eq!(Note::parse(&note.text()), Some(note));
                note.text().len()
            })
            .collect();
        assert!(lengths.len() > 10 && lengths.last() < Some(&260), "{lengths:?}");
        assert_eq!((Note::parse("hello, world"), Note::parse("")), (None, None));
    }

    #[test]
    fn the_first_few_flaws_are_named_and_all_are_counted() {
        let flaws = Flaws::default();
        (0..9).for_each(|n| flaws.note(Flaw::PushLost, || n.to_string()));
        let lost = &flaws.all()["pushes lost"];
        assert_eq!((lost.count, lost.examples.join("")), (9, "01234".to_owned()));
    }
}
