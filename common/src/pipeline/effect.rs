//! Exactly once: a handler's effect, its inbox entries and its dedupe record in one transaction.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rand::Rng as _;
use serde_json::json;
use serde_json::value::RawValue;

use crate::hex::hex;
use crate::model::holdings::{Holding, Of};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::handler::{
    Context, Done, Effect, Failure, MessageType, Outcome, Push, Pushed, Request, Run,
};
use crate::pipeline::inbox;
use crate::pipeline::quota;
use crate::ports::tables::{Condition, EXPIRES, Item, Key, Table, TableError, Write};
use crate::protocol::{ErrorCode, Handle, numbers};

crate::attributes! {
    /// The attributes of a dedupe record: the message that did it, a fingerprint of what was sent, the reply, and the
    /// places of its pushes.
    pub(crate) mod attribute {
        MID = "mid",
        SAID = "said",
        REPLY = "reply",
        PUSHES = "pushes",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

/// The kinds of items declared here.
pub(crate) const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "dedupe record of a client message",
        table: Table::Dedupe,
        pk: "<h>",
        sk: "i#<id>",
        attributes: attribute::ALL,
        of: Of::User,
        summary: "What the message with this `id` has done. It is removed after 7 days.",
    },
    Holding {
        kind: "dedupe record of a message of ours",
        table: Table::Dedupe,
        pk: "<h>",
        sk: "m#<mid>",
        attributes: attribute::ALL,
        of: Of::User,
        summary: "The same for an internal message that changes something.",
    },
    quota::HOLDING,
];

/// How long a repetition of an `id` is recognised: 7 days, in seconds. An app that was offline longer must look before
/// it repeats.
pub(crate) const DEDUPE_KEPT_S: u64 = 7 * 24 * 3600;

/// How many races for its items a message may lose before its run ends and waits.
const RACES: u32 = 12;

/// The most that is waited before a decision is made again: others have changed what it was made from, and are done.
const AFTER_A_CHANGE: Duration = Duration::from_millis(1);

/// The same after a transaction that the engine cancelled: another one is at the same items at this moment, and takes
/// some 15 ms.
const AFTER_A_CONFLICT: Duration = Duration::from_millis(16);

/// The most that is ever waited between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(256);

/// The [`Run`] of a handler.
#[must_use]
pub(crate) fn run_of<M: MessageType>() -> Run {
    |cx, envelope| Box::pin(run::<M>(cx, envelope))
}

async fn run<M: MessageType>(cx: &Context, envelope: &Envelope) -> Result<Done, Failure> {
    let body = numbers::read(envelope.body.get())
        .map_err(|e| Failure::reject(ErrorCode::BadMessage, format!("{}: {e}", M::TYPE)))?;
    let request = Request { from: envelope.from.clone(), mid: envelope.mid, at: envelope.at, body };
    let mut races = Races(0);
    let quota = quota::count(&cx.daily, envelope, latest_s(envelope));
    loop {
        let outcome = match M::handle(cx, &request).await {
            Ok(outcome) => outcome,
            // The effect may be what makes its own repetition impossible, such as a post deleted by the first run.
            Err(Failure::Reject(error)) => {
                return recorded(cx, envelope).await?.ok_or(Failure::Reject(error));
            }
            Err(retry) => return Err(retry),
        };
        if cfg!(debug_assertions)
            && let Some(undeclared) = outcome.undeclared(M::TELLS, M::CAUSES)
        {
            panic!("{} {undeclared}", M::TYPE);
        }
        debug_assert!(!M::READS || outcome.effect.is_none(), "{} only reads, it says", M::TYPE);
        let Outcome { reply, effect, events, follow_ups } = outcome;
        let reply = crate::pipeline::handler::raw(&reply);
        let Some(mut effect) = effect else {
            return Ok(Done { reply, duplicate: false, pushes: Vec::new(), events, follow_ups });
        };
        effect.counted = quota.is_some();
        effect.writes.extend(quota.clone());
        match commit(cx, envelope, effect, &reply, &mut races).await? {
            End::Committed(pushes) => {
                return Ok(Done { reply, duplicate: false, pushes, events, follow_ups });
            }
            End::Recorded => {
                if let Some(mut done) = recorded(cx, envelope).await? {
                    if !done.duplicate {
                        // Our own first run was cut off after its commit: what comes after the commit must still be
                        // done.
                        done.events = events;
                        done.follow_ups = follow_ups;
                    }
                    return Ok(done);
                }
            }
            End::Changed => {}
            End::UsedUp => return Err(quota::used_up(&cx.daily, envelope, latest_s(envelope))),
        }
        races.lost(AFTER_A_CHANGE).await?;
    }
}

/// How many races a run has lost.
struct Races(u32);

impl Races {
    /// Counts a lost race and waits: full jitter, up to a bound that begins with `first` and doubles.
    async fn lost(&mut self, first: Duration) -> Result<(), Failure> {
        self.0 += 1;
        if self.0 == RACES {
            return Err(Failure::Wait(anyhow::anyhow!("lost {RACES} races for the same items")));
        }
        let share = rand::rng().random::<f64>();
        tokio::time::sleep(longest(first, self.0).mul_f64(share)).await;
        Ok(())
    }
}

/// The longest pause after the race of this number, 1 and up.
fn longest(first: Duration, race: u32) -> Duration {
    (first * (1 << (race - 1))).min(LONGEST_PAUSE)
}

/// How a commit ended.
enum End {
    /// It is done; the places of its pushes.
    Committed(Vec<Pushed>),
    /// There is a dedupe record: this message, or another one with its `id`, was done before.
    Recorded,
    /// What the decision was made from has changed.
    Changed,
    /// The sender has sent as many of the type as a day allows.
    UsedUp,
}

impl End {
    /// What a failed condition means. The dedupe record comes first, so that its failure is the one that is named
    /// whatever else has failed; the day's count comes last, at `quota`, if there is one.
    fn of(failed: usize, quota: Option<usize>) -> Self {
        match failed {
            0 => Self::Recorded,
            _ if Some(failed) == quota => Self::UsedUp,
            _ => Self::Changed,
        }
    }
}

/// Commits an effect with its inbox entries and dedupe record.
async fn commit(
    cx: &Context,
    envelope: &Envelope,
    effect: Effect,
    reply: &RawValue,
    races: &mut Races,
) -> Result<End, Failure> {
    let mut receivers: Vec<Handle> = effect.pushes.iter().map(|push| push.to.clone()).collect();
    receivers.sort_unstable();
    receivers.dedup();
    if cx.tables.judges_in_order() {
        build_on(cx, envelope, effect, reply, &receivers).await
    } else {
        in_turn(cx, envelope, effect, reply, &receivers, races).await
    }
}

/// A transaction that is ready to be written.
struct Ready {
    /// The dedupe record, then what is appended to inboxes, then the handler's writes.
    writes: Vec<Write>,
    /// How many of them append.
    appends: usize,
    /// The places of the pushes.
    pushed: Vec<Pushed>,
    /// The newest `seq` of each receiver after it.
    heads: Vec<u64>,
    /// Which write counts for the day, if one does.
    quota: Option<usize>,
}

impl Ready {
    fn new(
        envelope: &Envelope,
        effect: Effect,
        reply: &RawValue,
        receivers: &[Handle],
        mut heads: Vec<u64>,
    ) -> Self {
        let Effect { writes: decided, pushes, counted } = effect;
        let mut writes = Vec::with_capacity(1 + receivers.len() + pushes.len() + decided.len());
        let mut pushed = Vec::with_capacity(pushes.len());
        for (receiver, newest) in receivers.iter().zip(&mut heads) {
            let head = *newest;
            let mine: Vec<&Push> = pushes.iter().filter(|push| push.to == *receiver).collect();
            *newest += mine.len() as u64;
            let entries: Vec<_> = mine.iter().map(|push| entry(push, envelope)).collect();
            writes.extend(inbox::append(receiver, head, &entries, latest_s(envelope)));
            let places = (head + 1..).zip(mine);
            pushed.extend(places.map(|(seq, push)| Pushed {
                to: receiver.clone(),
                seq,
                push: Some(push.clone()),
            }));
        }
        let appends = writes.len();
        writes.extend(decided);
        writes.insert(0, record(envelope, reply, &pushed));
        let quota = counted.then(|| writes.len() - 1);
        Self { writes, appends, pushed, heads, quota }
    }

    /// Whether a failed condition is that of a head: entries have none.
    fn is_head(&self, failed: usize) -> bool {
        (1..=self.appends).contains(&failed)
    }
}

/// Commits where the tables judge in order: passes the turn at the receivers' inboxes on as early as they allow.
async fn build_on(
    cx: &Context,
    envelope: &Envelope,
    effect: Effect,
    reply: &RawValue,
    receivers: &[Handle],
) -> Result<End, Failure> {
    let inboxes = &cx.turns.heads;
    let turn = inboxes.turn(&*cx.tables, receivers).await?;
    let ready = Ready::new(envelope, effect, reply, receivers, turn.heads.clone());
    let mut write = std::pin::pin!(cx.tables.write(ready.writes));
    let answer = if receivers.is_empty() {
        write.await
    } else {
        // The first poll hands the write over. If it does not, what builds on it fails its condition and is decided
        // again.
        let answer = futures_util::poll!(&mut write);
        inboxes.pass(turn, receivers, &ready.heads);
        let answer = match answer {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => write.await,
        };
        inboxes.settle(receivers, answer.is_ok()).await;
        answer
    };
    match answer {
        Ok(()) => Ok(End::Committed(ready.pushed)),
        Err(TableError::ConditionFailed { index }) => Ok(End::of(index, ready.quota)),
        Err(error) => Err(error.into()),
    }
}

/// Commits where the tables cancel what overlaps: has the turn at all that it shares with others of this process, and
/// keeps it while others of other processes are faster. What was decided stays decided until one of its own conditions
/// fails.
async fn in_turn(
    cx: &Context,
    envelope: &Envelope,
    effect: Effect,
    reply: &RawValue,
    receivers: &[Handle],
    races: &mut Races,
) -> Result<End, Failure> {
    let _turn = cx.turns.at(receivers, &effect.writes).await;
    loop {
        let heads = match receivers {
            [] => Vec::new(),
            _ => inbox::heads(&*cx.tables, receivers).await?,
        };
        let mut ready = Ready::new(envelope, effect.clone(), reply, receivers, heads);
        let first = match cx.tables.write(std::mem::take(&mut ready.writes)).await {
            Ok(()) => return Ok(End::Committed(ready.pushed)),
            Err(TableError::Conflict) => AFTER_A_CONFLICT,
            Err(TableError::ConditionFailed { index }) if ready.is_head(index) => AFTER_A_CHANGE,
            Err(TableError::ConditionFailed { index }) => return Ok(End::of(index, ready.quota)),
            Err(error) => return Err(error.into()),
        };
        races.lost(first).await?;
    }
}

fn entry(push: &Push, envelope: &Envelope) -> inbox::Entry {
    inbox::Entry {
        push_type: push.push_type.to_owned(),
        mid: envelope.mid,
        by: push.by.clone(),
        body: push.body.clone(),
    }
}

/// When the message came, in seconds since 1970. The time of a mid never goes back, so that a clock which does ends
/// nothing before its time.
fn latest_s(envelope: &Envelope) -> u64 {
    envelope.at.max(envelope.mid.timestamp_ms()) / 1000
}

fn dedupe_key(envelope: &Envelope) -> Key {
    // Internal messages have no client's id. Clients choose theirs from all of Unicode; in hex they are valid keys.
    let sk = if envelope.id.is_empty() {
        format!("m#{}", envelope.mid)
    } else {
        format!("i#{}", hex(envelope.id.as_bytes()))
    };
    Key::new(envelope.from.as_str(), sk)
}

/// A fingerprint of a message: the same `id` must not mean two things.
fn fingerprint(envelope: &Envelope) -> String {
    let said = format!("{}\n{}", envelope.message_type, envelope.body.get());
    hex(&digest(&SHA256, said.as_bytes()).as_ref()[..12])
}

fn record(envelope: &Envelope, reply: &RawValue, pushed: &[Pushed]) -> Write {
    let places: Vec<_> = pushed.iter().map(|p| json!([p.to.as_str(), p.seq])).collect();
    let item = Item::new()
        .with(attribute::MID, envelope.mid.to_string())
        .with(attribute::SAID, fingerprint(envelope))
        .with(attribute::REPLY, reply.get())
        .with(attribute::PUSHES, places)
        .with(EXPIRES, latest_s(envelope) + DEDUPE_KEPT_S);
    Write::put(Table::Dedupe, dedupe_key(envelope), item).when(Condition::Missing)
}

/// What this message, or another with its `id`, has done before.
async fn recorded(cx: &Context, envelope: &Envelope) -> Result<Option<Done>, Failure> {
    let Some(item) = cx.tables.get(Table::Dedupe, dedupe_key(envelope)).await? else { return Ok(None) };
    let corrupt = |what: &str| TableError::Corrupt(format!("dedupe record without {what}"));
    let mid = item.text(attribute::MID).ok_or_else(|| corrupt(attribute::MID))?;
    let duplicate = mid != envelope.mid.to_string();
    if duplicate && item.text(attribute::SAID) != Some(&fingerprint(envelope)) {
        let message = "this id was used for another message; choose a new id for each message";
        return Err(Failure::reject(ErrorCode::Conflict, message));
    }
    let reply = item.text(attribute::REPLY).and_then(|text| RawValue::from_string(text.to_owned()).ok());
    let mut pushes = Vec::new();
    for place in item.get(attribute::PUSHES).and_then(|v| v.as_array()).into_iter().flatten() {
        let to = place[0].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| corrupt("receivers"))?;
        let seq = place[1].as_u64().ok_or_else(|| corrupt("places"))?;
        pushes.push(Pushed { to, seq, push: None });
    }
    cx.metrics.worker_duplicates.inc();
    let reply = reply.ok_or_else(|| corrupt("reply"))?;
    Ok(Some(Done { reply, duplicate, pushes, events: Vec::new(), follow_ups: Vec::new() }))
}

#[cfg(test)]
mod tests;
