//! One-time codes for mail addresses and phone numbers.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::model::ids;
use soundoff_common::ports::courier::Notice;
use soundoff_common::ports::tables::{
    Change, Condition, EXPIRES, Item, Key, Table, TableError, Tables, Write,
};
use soundoff_common::protocol::is_ahead;
use ulid::Ulid;

use crate::identity::{Identity, Kind};
use crate::refusal::Refusal;
use crate::seal::{Seal, same};

/// How long a code is good, in milliseconds.
pub(crate) const LIFETIME_MS: u64 = 10 * 60 * 1000;
/// How many wrong tries a code has.
const MAX_TRIES: u64 = 5;
/// How many codes are sent to an address within a window.
const MAX_SENDS: u64 = 5;
/// The window in which an address's codes are counted, in milliseconds.
const WINDOW_MS: u64 = 3600 * 1000;
/// How soon another code may be sent to an address, in milliseconds.
const PAUSE_MS: u64 = 5_000;
/// How often a try that lost a race for its place is made again.
const RACES: usize = 8;

const WRONG: Refusal =
    Refusal::Unauthorized("the code is wrong, was used, or has expired; ask for another with /start");

pub(crate) const SENDS: Holding = Holding {
    kind: "sends of codes",
    table: Table::Entities,
    pk: "code#<kind>#<hash>",
    sk: "sends",
    attributes: &[NEWEST, "sent_at", "sends", "window", EXPIRES],
    of: Of::Nobody,
    summary: "How many codes an address was sent in the last hour, and the request of the last one.",
};
/// [`Sends::newest`] as an attribute.
const NEWEST: &str = "newest";

/// An address's item: how often it was sent a code.
#[derive(Debug, Serialize, Deserialize)]
struct Sends {
    /// The request that was answered last.
    newest: String,
    sent_at: u64,
    /// How many codes were sent since `window`.
    sends: u64,
    window: u64,
    #[serde(rename = "expires")]
    gone_at: u64,
}

pub(crate) const CODE: Holding = Holding {
    kind: "code",
    table: Table::Entities,
    pk: "code#<kind>#<hash>",
    sk: "c#<request>",
    attributes: &[HASH, TRIES, "sent_at", EXPIRES],
    of: Of::Nobody,
    summary: "One code; `hash` goes when it is used.",
};
/// [`Code::hash`] as an attribute.
const HASH: &str = "hash";
/// [`Code::tries`] as an attribute.
const TRIES: &str = "tries";

/// One code.
#[derive(Debug, Serialize, Deserialize)]
struct Code {
    /// The keyed hash of address, request and code; removed when the code is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// How often it was tried.
    tries: u64,
    sent_at: u64,
    #[serde(rename = "expires")]
    gone_at: u64,
}

fn sends_key(seal: &Seal, to: &Identity) -> Key {
    Key::new(format!("code#{}#{}", to.kind.name(), to.hash(seal)), "sends")
}

fn code_key(seal: &Seal, to: &Identity, request: &str) -> Key {
    Key::new(sends_key(seal, to).pk, format!("c#{request}"))
}

fn hash(seal: &Seal, to: &Identity, request: &str, code: &str) -> String {
    seal.hash(&["code", to.kind.name(), &to.value, request, code])
}

/// Six digits from the process's CSPRNG, each code equally likely.
fn fresh_code() -> String {
    format!("{:06}", rand::rng().random_range(0..1_000_000))
}

/// Makes a code for an address. Returns the request that it belongs to, and the notice that carries it. Nothing here
/// depends on whether the address belongs to an account, and no other code is changed.
pub(crate) async fn start(
    tables: &dyn Tables,
    seal: &Seal,
    to: &Identity,
    now: u64,
) -> Result<(String, Notice), Refusal> {
    let key = sends_key(seal, to);
    let before: Option<Sends> =
        tables.get(Table::Entities, key.clone()).await?.map(Item::parse).transpose()?;
    let (mut sends, mut window) = (0, now);
    if let Some(before) = &before {
        let soonest = before.sent_at + PAUSE_MS;
        if now < soonest && !is_ahead(before.sent_at, now) {
            return Err(Refusal::RateLimited((soonest - now).div_ceil(1000)));
        }
        if now < before.window + WINDOW_MS && !is_ahead(before.window, now) {
            (sends, window) = (before.sends, before.window);
        }
        if sends >= MAX_SENDS {
            return Err(Refusal::RateLimited((window + WINDOW_MS - now).div_ceil(1000)));
        }
    }
    let (request, code) = (Ulid::generate().to_string(), fresh_code());
    let fresh = Code {
        hash: Some(hash(seal, to, &request, &code)),
        tries: 0,
        sent_at: now,
        gone_at: (now + LIFETIME_MS).div_ceil(1000),
    };
    let after = Sends {
        newest: request.clone(),
        sent_at: now,
        sends: sends + 1,
        window,
        gone_at: (now + WINDOW_MS).div_ceil(1000),
    };
    let unchanged = match before {
        Some(before) => Condition::Equals(NEWEST, before.newest.into()),
        None => Condition::Missing,
    };
    let writes = vec![
        Write::put(Table::Entities, key, Item::of(&after)).when(unchanged),
        Write::put(Table::Entities, code_key(seal, to, &request), Item::of(&fresh)),
    ];
    match tables.write(writes).await {
        Ok(()) => Ok((request, notice(to, &code))),
        // Another request for the address came at the same moment: one code is on its way, and one is enough.
        Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
            Err(Refusal::RateLimited(PAUSE_MS.div_ceil(1000)))
        }
        Err(error) => Err(error.into()),
    }
}

fn notice(to: &Identity, code: &str) -> Notice {
    let minutes = LIFETIME_MS / 60_000;
    let ignore = "If you did not ask for it, ignore this; nobody gets in without it.";
    let text = match to.kind {
        // A text is short, and begins with the code, where a phone's keyboard finds it.
        Kind::Phone => format!("{code} is your sign-in code. It is good for {minutes} minutes."),
        _ => format!("Your sign-in code is {code}. It is good for {minutes} minutes.\n\n{ignore}"),
    };
    Notice { to: to.value.clone(), subject: format!("{code} is your sign-in code"), text }
}

/// Checks the code of a request. Returns the write that uses it up, which the caller makes in the transaction of what
/// the code opens. Each try is counted before it is checked, so that parallel tries get no more guesses than serial
/// ones. A correct try is given back.
///
/// A code is good with its request only: a stranger who asks for one can neither use up the tries of another nor replace
/// its code.
pub(crate) async fn verify(
    tables: &dyn Tables,
    seal: &Seal,
    to: &Identity,
    (request, code): (&str, &str),
    now: u64,
) -> Result<Write, Refusal> {
    // A text that is no id names no request, and never becomes a key.
    let request = ids::parse(request).ok_or(WRONG)?.to_string();
    let at = code_key(seal, to, &request);
    for _ in 0..RACES {
        let sent: Code = tables.get(Table::Entities, at.clone()).await?.ok_or(WRONG)?.parse()?;
        let is_good = now < sent.sent_at + LIFETIME_MS && !is_ahead(sent.sent_at, now);
        let expected = sent.hash.filter(|_| is_good).ok_or(WRONG)?;
        if sent.tries >= MAX_TRIES {
            return Err(WRONG);
        }
        let as_read = Condition::Equals(TRIES, sent.tries.into());
        match tables.write(vec![tried(&at, 1).when(as_read)]).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => continue,
            Err(error) => return Err(error.into()),
        }
        if !same(&hash(seal, to, &request, code), &expected) {
            return Err(WRONG);
        }
        if let Err(error) = tables.write(vec![tried(&at, -1).when(Condition::Exists)]).await {
            // The caller has one try fewer.
            tracing::debug!(%error, "a correct code used up a try");
        }
        let unused = Condition::Equals(HASH, expected.into());
        return Ok(Write::update(Table::Entities, at, vec![Change::Remove(HASH)]).when(unused));
    }
    Err(Refusal::RateLimited(1))
}

/// Counts tries of a code, or takes them back.
fn tried(at: &Key, more: i64) -> Write {
    Write::update(Table::Entities, at.clone(), vec![Change::Add(TRIES, more)])
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`Sends` and `Code` spell it out");

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
