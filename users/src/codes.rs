//! One-time codes for mail addresses and phone numbers.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
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
/// How often a code may be tried. Of a million codes, an address has at most `MAX_SENDS` an hour: guessing hits one in 20,000 hours.
const MAX_TRIES: u64 = 10;
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

/// An address's item: its last code, and how often it was sent one.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    /// The request that the code answers; a part of its hash.
    request: String,
    /// The keyed hash of address, request and code; gone once the code was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    tries: u64,
    sent_at: u64,
    /// How many codes since `window`.
    sends: u64,
    window: u64,
    #[serde(rename = "expires")]
    gone_at: u64,
}

fn key(seal: &Seal, to: &Identity) -> Key {
    Key::new(format!("code#{}#{}", to.kind.name(), to.hash(seal)), "code")
}

fn hash(seal: &Seal, to: &Identity, request: &str, code: &str) -> String {
    seal.hash(&["code", to.kind.name(), &to.value, request, code])
}

/// Six digits, each code as likely as any other, from the process's CSPRNG.
fn fresh_code() -> String {
    format!("{:06}", rand::rng().random_range(0..1_000_000))
}

/// Makes a code for an address, in place of the one before; answers the notice that carries it. Nothing here depends on whether the address
/// is anybody's.
pub(crate) async fn start(
    tables: &dyn Tables,
    seal: &Seal,
    to: &Identity,
    now: u64,
) -> Result<Notice, Refusal> {
    let key = key(seal, to);
    let before: Option<Sent> =
        tables.get(Table::Entities, key.clone()).await?.map(Item::parse).transpose()?;
    let (mut sends, mut window) = (0, now);
    if let Some(sent) = &before {
        let soonest = sent.sent_at + PAUSE_MS;
        if now < soonest {
            return Err(Refusal::RateLimited((soonest - now).div_ceil(1000)));
        }
        if now < sent.window + WINDOW_MS {
            (sends, window) = (sent.sends, sent.window);
        }
        if sends >= MAX_SENDS {
            return Err(Refusal::RateLimited((window + WINDOW_MS - now).div_ceil(1000)));
        }
    }
    let (request, code) = (Ulid::generate().to_string(), fresh_code());
    let sent = Sent {
        hash: Some(hash(seal, to, &request, &code)),
        request,
        tries: 0,
        sent_at: now,
        sends: sends + 1,
        window,
        gone_at: (now.max(window) + WINDOW_MS).div_ceil(1000),
    };
    let unchanged = match before {
        Some(sent) => Condition::Equals("request", sent.request.into()),
        None => Condition::Missing,
    };
    match tables.write(vec![Write::put(Table::Entities, key, Item::of(&sent)).when(unchanged)]).await {
        Ok(()) => Ok(notice(to, &code)),
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

/// Judges a code; answers the write that uses it up, to be made in the transaction of what it opens. Every try counts before it is judged,
/// so that many at once are not more than as many in turn.
pub(crate) async fn verify(
    tables: &dyn Tables,
    seal: &Seal,
    to: &Identity,
    code: &str,
    now: u64,
) -> Result<Write, Refusal> {
    let key = key(seal, to);
    for _ in 0..RACES {
        let Some(item) = tables.get(Table::Entities, key.clone()).await? else { return Err(WRONG) };
        let sent: Sent = item.parse()?;
        let Some(expected) = &sent.hash else { return Err(WRONG) };
        if sent.tries >= MAX_TRIES || now >= sent.sent_at + LIFETIME_MS {
            return Err(WRONG);
        }
        let as_read = Condition::All(vec![
            Condition::Equals("request", sent.request.clone().into()),
            Condition::Equals("tries", sent.tries.into()),
        ]);
        let count = Write::update(Table::Entities, key.clone(), vec![Change::Add("tries", 1)]).when(as_read);
        match tables.write(vec![count]).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => continue,
            Err(error) => return Err(error.into()),
        }
        if !same(&hash(seal, to, &sent.request, code), expected) {
            return Err(WRONG);
        }
        let unused = Condition::Equals("hash", expected.clone().into());
        let used = vec![Change::Remove("hash")];
        return Ok(Write::update(Table::Entities, key, used).when(unused));
    }
    Err(Refusal::RateLimited(1))
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`Sent` spells it out");

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
