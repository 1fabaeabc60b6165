//! Relations that are on or off: likes, follows, blocks. The last writer wins by `mid`.
//!
//! Queues do not order, so the later of two messages is the one with the greater `mid`, whichever arrives first. A
//! relation that is off stays as a tombstone: without it an older `add` that arrives late would switch on what was
//! switched off later.

use soundoff_common::model::relations::{State, attribute};
use soundoff_common::ports::tables::{Condition, Item, Key, Table, TableError, Write};
use ulid::Ulid;

/// A relation as it was read.
#[derive(Debug)]
pub(crate) struct Toggle {
    key: Key,
    seen: Option<State>,
}

/// What a relation is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Asked,
    On,
}

/// What a message does to a relation.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The state afterwards.
    pub(crate) on: bool,
    /// Whether it is asked for afterwards.
    pub(crate) asked: bool,
    /// Whether the state has changed: only then counters and list rows change.
    pub(crate) flipped: bool,
    /// Whether the other side is notified, which happens at most once.
    pub(crate) news: bool,
    /// Names the list rows that a flip makes or removes, or the row of what is asked for now.
    pub(crate) row: Ulid,
    /// Names the row of what was asked for and is no longer.
    pub(crate) answered: Option<Ulid>,
    /// The state row's change; none when a later message has been applied.
    pub(crate) write: Option<Write>,
}

impl Toggle {
    /// The relation whose state is at `key` in the relationships.
    pub(crate) fn of(key: Key, found: Option<Item>) -> Result<Self, TableError> {
        Ok(Self { key, seen: found.map(Item::parse).transpose()? })
    }

    /// Whether the relation is on.
    pub(crate) fn on(&self) -> bool {
        self.seen.as_ref().is_some_and(|state| state.on)
    }

    /// Whether it is asked for.
    pub(crate) fn asked(&self) -> bool {
        self.seen.as_ref().is_some_and(|state| state.asked)
    }

    /// Switches it on or off as of `mid`. With `telling`, the other side is notified of the first time it is on.
    pub(crate) fn turn(self, on: bool, mid: Ulid, telling: bool) -> Turn {
        self.steer(if on { Phase::On } else { Phase::Off }, mid, telling)
    }

    /// Asks for it as of `mid`, unless it is on. The other side is notified of the first time.
    pub(crate) fn ask(self, mid: Ulid) -> Turn {
        let phase = if self.on() { Phase::On } else { Phase::Asked };
        self.steer(phase, mid, true)
    }

    fn steer(self, phase: Phase, mid: Ulid, telling: bool) -> Turn {
        match &self.seen {
            Some(state) if mid <= state.mid => Turn {
                on: state.on,
                asked: state.asked,
                flipped: false,
                news: false,
                row: state.since,
                answered: None,
                write: None,
            },
            _ => self.become_state(phase, mid, mid, telling),
        }
    }

    /// Switches it off whatever its `mid` is: a block also ends a follow that came after it.
    pub(crate) fn sever(self, mid: Ulid) -> Turn {
        match &self.seen {
            Some(state) if state.on || state.asked => {
                let later = mid.max(state.mid);
                self.become_state(Phase::Off, later, later, false)
            }
            _ => self.turn(false, mid, false),
        }
    }

    /// The other side's answer to what is asked for. It is no message of the one who asked, so their `mid` stays: their
    /// next message counts, whatever its order to the answer. The rows keep the request's name: one message may answer
    /// many.
    pub(crate) fn answer(self, accept: bool) -> Turn {
        let (mid, since) = self.seen.as_ref().map(|state| (state.mid, state.since)).unwrap_or_default();
        self.become_state(if accept { Phase::On } else { Phase::Off }, mid, since, false)
    }

    fn become_state(self, phase: Phase, mid: Ulid, named: Ulid, telling: bool) -> Turn {
        let (on, asked) = (phase == Phase::On, phase == Phase::Asked);
        let (was_on, was_asked) = (self.on(), self.asked());
        let notified = self.seen.as_ref().is_some_and(|state| state.notified);
        let begins = (on && !was_on) || (asked && !was_asked);
        let news = begins && telling && !notified;
        let before = self.seen.as_ref().map(|state| state.since);
        let changes = on != was_on || asked != was_asked;
        let since = if changes { named } else { before.unwrap_or(named) };
        let state = State { on, mid, since, notified: notified || news, asked };
        // All of it: `sever` and `answer` can change the one and leave the other.
        let expected = match self.seen {
            Some(seen) => Condition::All(vec![
                Condition::Equals(attribute::MID, seen.mid.to_string().into()),
                Condition::Equals(attribute::ON, seen.on.into()),
                match seen.asked {
                    true => Condition::Equals(attribute::ASKED, true.into()),
                    false => Condition::Absent(attribute::ASKED),
                },
            ]),
            None => Condition::Missing,
        };
        let write = Write::put(Table::Relationships, self.key, Item::of(&state)).when(expected);
        Turn {
            on,
            asked,
            flipped: on != was_on,
            news,
            row: if on || asked { since } else { before.unwrap_or(mid) },
            answered: before.filter(|_| was_asked && !asked),
            write: Some(write),
        }
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::tables::Action;

    use super::*;

    fn mid(n: u128) -> Ulid {
        Ulid::from(n)
    }

    fn after(turn: &Turn, before: Option<Item>) -> Option<Item> {
        match &turn.write {
            Some(Write { action: Action::Put(item), .. }) => Some(item.clone()),
            _ => before,
        }
    }

    fn step(item: Option<Item>, on: bool, n: u128) -> (Turn, Option<Item>) {
        let turn = Toggle::of(Key::new("p", "s"), item.clone()).unwrap().turn(on, mid(n), true);
        let item = after(&turn, item);
        (turn, item)
    }

    #[test]
    fn the_greater_mid_wins_whichever_comes_first() {
        let (turn, item) = step(None, false, 5);
        assert!(!turn.flipped && turn.write.is_some(), "a remove leaves a tombstone");
        let (turn, item) = step(item, true, 4);
        assert!(!turn.on && !turn.flipped && turn.write.is_none(), "an older add changes nothing");
        let (turn, item) = step(item, true, 6);
        assert!(turn.on && turn.flipped && turn.news && turn.row == mid(6));
        let (turn, item) = step(item, true, 7);
        assert!(turn.on && !turn.flipped && !turn.news && turn.row == mid(6), "only the mid rises");
        let (turn, item) = step(item, false, 6);
        assert!(turn.on && turn.write.is_none(), "a remove older than the last add");
        let (turn, item) = step(item, false, 8);
        assert!(turn.flipped && turn.row == mid(6), "the row to remove is the one that was made");
        let (turn, _) = step(item, true, 9);
        assert!(turn.flipped && !turn.news, "told once ever");
    }

    #[test]
    fn to_sever_ends_what_came_after_it_and_writes_nothing_where_nothing_is() {
        let sever = |item: Option<Item>, n| Toggle::of(Key::new("p", "s"), item).unwrap().sever(mid(n));
        let (_, on) = step(None, true, 5);
        let turn = sever(on.clone(), 4);
        assert!(!turn.on && turn.flipped && turn.row == mid(5), "although it came after");
        let off = after(&turn, on);
        assert!(
            step(off.clone(), true, 5).0.write.is_none(),
            "the same message again does not bring it back"
        );
        let turn = sever(off, 4);
        assert!(!turn.on && !turn.flipped && turn.write.is_none());
    }

    #[test]
    fn a_turn_is_made_under_what_was_read_and_told_where_that_is_asked_for() {
        let turn = Toggle::of(Key::new("p", "s"), None).unwrap().turn(true, mid(5), false);
        assert!(turn.on && turn.flipped && !turn.news, "nobody is told");
        assert_eq!(turn.write.as_ref().unwrap().condition, Condition::Missing);
        let item = after(&turn, None);
        let same = Toggle::of(Key::new("p", "s"), item.clone()).unwrap().turn(false, mid(5), false);
        assert!(
            same.on && !same.flipped && same.row == mid(5) && same.write.is_none(),
            "the same message again"
        );
        let toggle = Toggle::of(Key::new("p", "s"), item).unwrap();
        assert!(toggle.on());
        let turn = toggle.turn(false, mid(6), true);
        assert!(!turn.news, "an end is no news");
        let expected = vec![
            Condition::Equals(attribute::MID, mid(5).to_string().into()),
            Condition::Equals(attribute::ON, true.into()),
            Condition::Absent(attribute::ASKED),
        ];
        assert_eq!(turn.write.as_ref().unwrap().condition, Condition::All(expected));
        let off = Toggle::of(Key::new("p", "s"), after(&turn, None)).unwrap();
        assert!(!off.on());
        let again = off.turn(true, mid(7), true);
        assert!(again.flipped && again.news && again.row == mid(7), "the first time that somebody is told");
    }

    #[test]
    fn severing_switches_off_even_what_came_later_and_older_adds_stay_off() {
        let (_, item) = step(None, true, 9);
        let turn = Toggle::of(Key::new("p", "s"), item.clone()).unwrap().sever(mid(5));
        assert!(turn.flipped && !turn.on && turn.row == mid(9));
        let (turn, _) = step(after(&turn, item), true, 9);
        assert!(!turn.on && turn.write.is_none());
        let turn = Toggle::of(Key::new("p", "s"), None).unwrap().sever(mid(5));
        let (late, _) = step(after(&turn, None), true, 4);
        assert!(!late.on, "an add from before the block that arrives after it");
    }
}
