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
use crate::pipeline::inbox_heads::Turn;
use crate::ports::tables::{Condition, EXPIRES, Item, Key, Table, TableError, Write};
use crate::protocol::{ErrorCode, Handle};

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
];

/// How long a repetition of an `id` is recognised: 7 days, in seconds. An app that was offline longer must look before
/// it repeats.
pub(crate) const DEDUPE_KEPT_S: u64 = 7 * 24 * 3600;

/// How often a transaction that lost a race is decided again before the message goes back to its queue.
const DECISIONS: u32 = 12;

/// The [`Run`] of a handler.
#[must_use]
pub(crate) fn run_of<M: MessageType>() -> Run {
    |cx, envelope| Box::pin(run::<M>(cx, envelope))
}

async fn run<M: MessageType>(cx: &Context, envelope: &Envelope) -> Result<Done, Failure> {
    let body = serde_json::from_str(envelope.body.get())
        .map_err(|e| Failure::reject(ErrorCode::BadMessage, format!("{}: {e}", M::TYPE)))?;
    let request = Request { from: envelope.from.clone(), mid: envelope.mid, at: envelope.at, body };
    for decision in 0..DECISIONS {
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
        let Some(effect) = effect else {
            return Ok(Done { reply, duplicate: false, pushes: Vec::new(), events, follow_ups });
        };
        match commit(cx, envelope, effect, &reply).await {
            Ok(pushes) => return Ok(Done { reply, duplicate: false, pushes, events, follow_ups }),
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
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
            Err(error) => return Err(error.into()),
        }
        pause(decision).await;
    }
    Err(Failure::Wait(anyhow::anyhow!("lost {DECISIONS} races for the same items")))
}

/// Full jitter, from at most 1 ms to at most 256 ms.
async fn pause(decision: u32) {
    let most = 1000 << decision.min(8);
    let micros = rand::rng().random_range(0..most);
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

/// Commits an effect with its inbox entries and dedupe record; returns the entries' places.
async fn commit(
    cx: &Context,
    envelope: &Envelope,
    effect: Effect,
    reply: &RawValue,
) -> Result<Vec<Pushed>, TableError> {
    let Effect { mut writes, pushes } = effect;
    let now_s = latest_s(envelope);
    let mut receivers: Vec<Handle> = pushes.iter().map(|push| push.to.clone()).collect();
    receivers.sort_unstable();
    receivers.dedup();
    let turn = cx.inbox_heads.turn(&*cx.tables, &receivers).await?;
    let mut heads = turn.heads.clone();
    let mut pushed = Vec::with_capacity(pushes.len());
    for (receiver, newest) in receivers.iter().zip(&mut heads) {
        let head = *newest;
        let mine: Vec<&Push> = pushes.iter().filter(|push| push.to == *receiver).collect();
        *newest += mine.len() as u64;
        let entries: Vec<_> = mine.iter().map(|push| entry(push, envelope)).collect();
        writes.extend(inbox::append(receiver, head, &entries, now_s));
        let places = (head + 1..).zip(mine);
        pushed.extend(places.map(|(seq, push)| Pushed {
            to: receiver.clone(),
            seq,
            push: Some(push.clone()),
        }));
    }
    writes.push(record(envelope, reply, &pushed));
    hand_over(cx, writes, turn, &receivers, &heads).await?;
    Ok(pushed)
}

/// Writes, and passes the turn at the receivers' inboxes on as early as the tables allow.
async fn hand_over(
    cx: &Context,
    writes: Vec<Write>,
    turn: Turn<'_>,
    receivers: &[Handle],
    heads: &[u64],
) -> Result<(), TableError> {
    let mut write = std::pin::pin!(cx.tables.write(writes));
    if receivers.is_empty() || !cx.tables.judges_in_order() {
        return write.await;
    }
    // The first poll hands the write over. If it does not, what builds on it fails its condition and is decided again.
    let answer = futures_util::poll!(&mut write);
    cx.inbox_heads.pass(turn, receivers, heads);
    let answer = match answer {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => write.await,
    };
    cx.inbox_heads.settle(receivers, answer.is_ok()).await;
    answer
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
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::model::holdings::assert_knows;
    use crate::pipeline::handler::raw;
    use crate::ports::tables::Action;

    #[test]
    fn a_record_has_all_its_attributes_and_the_key_of_its_kind() {
        let from: Handle = "ann".parse().unwrap();
        for (id, kind) in [("one", &HOLDINGS[0]), ("", &HOLDINGS[1])] {
            let (id, message_type) = (id.to_owned(), "note.make".to_owned());
            let (mid, from, body) = (Ulid(1), from.clone(), raw(&1));
            let envelope = Envelope { mid, id, message_type, from, origin: None, at: 1, body };
            let write = record(&envelope, &raw(&2), &[]);
            assert!(kind.is_at(write.table, &write.key), "{:?} is of {}", write.key, kind.kind);
            let Action::Put(item) = write.action else { panic!("a record is put") };
            assert_knows(attribute::ALL, &item, &[]);
        }
    }
}
