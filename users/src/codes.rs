//! One-time codes for mail addresses and phone numbers.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use soundoff_common::model::ids;
use soundoff_common::ports::courier::Notice;
use soundoff_common::ports::tables::{
    Change, Condition, EXPIRES, Item, Key, Table, TableError, Tables, Write,
};
use ulid::Ulid;

use crate::identity::{Identity, Kind};
use crate::refusal::Refusal;
use crate::seal::{Seal, same};

/// How long a code is good, in milliseconds.
pub(crate) const LIFETIME_MS: u64 = 10 * 60 * 1000;
/// How often a code may be tried by who names its request, and how often the newest by who does not.
const MAX_TRIES: u64 = 5;
/// How many codes an address is sent within a window.
const MAX_SENDS: u64 = 5;
/// The window in which an address's codes are counted, in milliseconds.
const WINDOW_MS: u64 = 3600 * 1000;
/// How soon an address is sent another code, in milliseconds.
const PAUSE_MS: u64 = 5_000;
/// How often a try that raced another for its place is judged again.
const RACES: usize = 8;

const WRONG: Refusal =
    Refusal::Unauthorized("the code is wrong, was used, or has lapsed; ask for another with /start");

/// An address's item: how often it was sent a code.
#[derive(Debug, Serialize, Deserialize)]
struct Sends {
    /// The request that was answered last.
    newest: String,
    /// How often its code was tried by who did not name it.
    blind: u64,
    sent_at: u64,
    /// How many codes since `window`.
    sends: u64,
    window: u64,
    #[serde(rename = "expires")]
    gone_at: u64,
}

/// One code.
#[derive(Debug, Serialize, Deserialize)]
struct Code {
    /// The keyed hash of address, request and code; gone once the code was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// How often it was tried by who named its request.
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

/// Six digits, each code as likely as any other, from the process's CSPRNG.
fn fresh_code() -> String {
    format!("{:06}", rand::rng().random_range(0..1_000_000))
}

/// Makes a code for an address; answers the request that it belongs to, and the notice that carries it. Nothing here depends on whether the
/// address is anybody's, and nobody's code is touched but this one.
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
        if now < soonest {
            return Err(Refusal::RateLimited((soonest - now).div_ceil(1000)));
        }
        if now < before.window + WINDOW_MS {
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
        blind: 0,
        sent_at: now,
        sends: sends + 1,
        window,
        gone_at: (now + WINDOW_MS).div_ceil(1000),
    };
    let unchanged = match before {
        Some(before) => Condition::Equals("newest", before.newest.into()),
        None => Condition::Missing,
    };
    let writes = vec![
        Write::put(Table::Entities, key, Item::of(&after)).when(unchanged),
        Write::put(Table::Entities, code_key(seal, to, &request), Item::of(&fresh)),
    ];
    match tables.write(writes).await {
        Ok(()) => Ok((request, notice(to, &code))),
        // The same moment saw another request for the address: one code is on its way, and one is enough.
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
        // A text is short, and its code where a phone's keyboard finds it.
        Kind::Phone => format!("{code} is your sign-in code. It is good for {minutes} minutes."),
        _ => format!("Your sign-in code is {code}. It is good for {minutes} minutes.\n\n{ignore}"),
    };
    Notice { to: to.value.clone(), subject: format!("{code} is your sign-in code"), text }
}

/// Where the tries of a code are counted.
struct Counter {
    key: Key,
    attribute: &'static str,
    made: u64,
    /// What else must be as read.
    and: Condition,
}

impl Counter {
    /// Counts one try more than were read.
    async fn count(&self, tables: &dyn Tables) -> Result<(), TableError> {
        let as_read =
            Condition::All(vec![Condition::Equals(self.attribute, self.made.into()), self.and.clone()]);
        let change = vec![Change::Add(self.attribute, 1)];
        tables.write(vec![Write::update(Table::Entities, self.key.clone(), change).when(as_read)]).await
    }

    /// Takes a counted try back. Should that fail, one fewer is left.
    async fn give_back(&self, tables: &dyn Tables) {
        let there = Condition::All(vec![Condition::Exists, self.and.clone()]);
        let change = vec![Change::Add(self.attribute, -1)];
        let given =
            tables.write(vec![Write::update(Table::Entities, self.key.clone(), change).when(there)]).await;
        if let Err(error) = given {
            tracing::debug!(%error, "a right code has cost a try");
        }
    }
}

/// Judges a code, of a request or of the newest; answers the write that uses it up, to be made in the transaction of what it opens. Every try
/// counts before it is judged, so that many at once are not more than as many in turn; a right one is given back.
///
/// Who names the request has tries of their own: a stranger can neither use them up nor put another code in the place of theirs.
pub(crate) async fn verify(
    tables: &dyn Tables,
    seal: &Seal,
    to: &Identity,
    (request, code): (Option<&str>, &str),
    now: u64,
) -> Result<Write, Refusal> {
    // What is no id names no request, and never becomes a key.
    let named = match request {
        Some(text) => Some(ids::parse(text).ok_or(WRONG)?.to_string()),
        None => None,
    };
    for _ in 0..RACES {
        let sends: Sends = tables.get(Table::Entities, sends_key(seal, to)).await?.ok_or(WRONG)?.parse()?;
        let request = named.as_ref().unwrap_or(&sends.newest);
        let at = code_key(seal, to, request);
        let sent: Code = tables.get(Table::Entities, at.clone()).await?.ok_or(WRONG)?.parse()?;
        let expected = sent.hash.filter(|_| now < sent.sent_at + LIFETIME_MS).ok_or(WRONG)?;
        let counter = match named {
            Some(_) => {
                Counter { key: at.clone(), attribute: "tries", made: sent.tries, and: Condition::Always }
            }
            None => {
                let and = Condition::Equals("newest", request.as_str().into());
                Counter { key: sends_key(seal, to), attribute: "blind", made: sends.blind, and }
            }
        };
        if counter.made >= MAX_TRIES {
            return Err(WRONG);
        }
        match counter.count(tables).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => continue,
            Err(error) => return Err(error.into()),
        }
        if !same(&hash(seal, to, request, code), &expected) {
            return Err(WRONG);
        }
        counter.give_back(tables).await;
        let unused = Condition::Equals("hash", expected.into());
        return Ok(Write::update(Table::Entities, at, vec![Change::Remove("hash")]).when(unused));
    }
    Err(Refusal::RateLimited(1))
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`Sends` and `Code` spell it out");

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
