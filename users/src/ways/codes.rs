//! One-time codes for mail addresses and phone numbers.

use std::net::IpAddr;

use rand::Rng as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::model::ids;
use soundoff_common::ports::courier::Notice;
use soundoff_common::ports::tables::{
    Change, Condition, EXPIRES, Item, Key, Table, TableError, Tables, Write,
};
use soundoff_common::protocol::is_ahead;
use soundoff_common::web::address::household;
use ulid::Ulid;

use crate::keys::seal::{Generation, Seal, same};
use crate::refusal::Refusal;
use crate::ways::identity::{Identity, Kind};
use crate::ways::meter::{Count, DAY_MS, HOUR_MS, Rule};
use crate::ways::texts::{self, TextsConfig};

/// How long a code is good, in milliseconds.
pub(crate) const LIFETIME_MS: u64 = 10 * 60 * 1000;
/// How many wrong tries a code has.
const MAX_TRIES: u64 = 5;
/// How many codes a household may ask for to an address.
const ASKED: Rule = Rule { window_ms: HOUR_MS, pause_ms: 5_000, free: 5, most: 5 };
/// How many codes an address is sent by all households together: nobody fills a mailbox.
const SENT: Rule = Rule { window_ms: DAY_MS, pause_ms: 0, free: 20, most: 50 };
/// How many wrong codes a household may try at an address.
const WRONG_TRIES: Rule = Rule { window_ms: DAY_MS, pause_ms: 0, free: 10, most: 30 };
/// For how long a household is known in which somebody had an address's code: what strangers ask for does not keep it
/// waiting.
const KNOWN_MS: u64 = 90 * DAY_MS;
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
    summary: "How many codes an address was sent in a day, and the request of the last one.",
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

impl Sends {
    fn count(&self) -> Count {
        Count { made: self.sends, since: self.window, last: self.sent_at }
    }
}

pub(crate) const ASKERS: Holding = Holding {
    kind: "household that asks",
    table: Table::Entities,
    pk: "code#<kind>#<hash>",
    sk: "from#<household>",
    attributes: &[MADE, "since", "last", KNOWN_AT, EXPIRES],
    of: Of::Nobody,
    summary: "How many codes of an address a household asked for in an hour, and when it last had one of them; for 90 days.",
};
pub(crate) const GUESSERS: Holding = Holding {
    kind: "household that guesses",
    table: Table::Entities,
    pk: "code#<kind>#<hash>",
    sk: "wrong#<household>",
    attributes: &[MADE, "since", "last", EXPIRES],
    of: Of::Nobody,
    summary: "How many wrong codes of an address a household tried in a day; a right one removes it.",
};
/// [`Household::made`] as an attribute.
const MADE: &str = "made";
/// [`Household::known_at`] as an attribute.
const KNOWN_AT: &str = "known_at";

/// What a household did about an address. It is named by a keyed hash of its address on the net and of the other.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Household {
    made: u64,
    since: u64,
    last: u64,
    /// When somebody there last had a code of the address, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_at: Option<u64>,
    #[serde(rename = "expires")]
    gone_at: u64,
}

impl Household {
    fn count(&self) -> Count {
        Count { made: self.made, since: self.since, last: self.last }
    }

    fn is_known(&self, now: u64) -> bool {
        self.known_at.is_some_and(|at| now < at + KNOWN_MS && !is_ahead(at, now))
    }

    /// The same household when one more is counted.
    fn counted(&self, rule: &Rule, now: u64) -> Self {
        let count = rule.counted(&self.count(), now);
        let Count { made, since, last } = count;
        let known_s = self.known_at.map_or(0, |at| (at + KNOWN_MS).div_ceil(1000));
        Self { made, since, last, known_at: self.known_at, gone_at: rule.forgotten_s(&count).max(known_s) }
    }
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

/// Who does something about which address, and from where.
pub(crate) struct Asker<'a> {
    pub(crate) to: &'a Identity,
    /// The other end's address on the net.
    pub(crate) from: IpAddr,
}

impl Asker<'_> {
    fn household_key(&self, seal: &Generation, what: &str) -> Key {
        let Self { to, from } = self;
        let household = household(*from).to_string();
        let name = seal.hash(&["household", to.kind.name(), &to.value, &household]);
        Key::new(sends_key(seal, to).pk, format!("{what}#{name}"))
    }
}

fn sends_key(seal: &Generation, to: &Identity) -> Key {
    Key::new(format!("code#{}#{}", to.kind.name(), to.hash(seal)), "sends")
}

fn code_key(seal: &Generation, to: &Identity, request: &str) -> Key {
    Key::new(sends_key(seal, to).pk, format!("c#{request}"))
}

fn hash(seal: &Generation, to: &Identity, request: &str, code: &str) -> String {
    seal.hash(&["code", to.kind.name(), &to.value, request, code])
}

/// Six digits from the process's CSPRNG, each code equally likely.
fn fresh_code() -> String {
    format!("{:06}", rand::rng().random_range(0..1_000_000))
}

/// Makes a code for an address. Returns the request that it belongs to, and the notice that carries it. Nothing here
/// depends on whether the address belongs to an account, and no other code is changed.
///
/// What others ask for keeps nobody waiting whose household has had a code of the address before. With `texts` the code
/// is one of the day's.
///
/// What is counted is found by hashes of the secret in use: when another comes into use, counts begin again.
pub(crate) async fn start(
    tables: &dyn Tables,
    seal: &Seal,
    asker: &Asker<'_>,
    texts: Option<&TextsConfig>,
    now: u64,
) -> Result<(String, Notice), Refusal> {
    let (to, seal) = (asker.to, seal.present());
    let (at, from) = (sends_key(seal, to), asker.household_key(seal, "from"));
    for _ in 0..RACES {
        let (before, asked) = read::<Sends, Household>(tables, [&at, &from]).await?;
        let asked = asked.unwrap_or_default();
        let sent = before.as_ref().map(Sends::count).unwrap_or_default();
        let by_all = if asked.is_known(now) { 0 } else { SENT.wait_ms(&sent, now) };
        let wait = ASKED.wait_ms(&asked.count(), now).max(by_all);
        if wait > 0 {
            return Err(Refusal::RateLimited(wait.div_ceil(1000)));
        }
        let (request, code) = (Ulid::generate().to_string(), fresh_code());
        let fresh = Code {
            hash: Some(hash(seal, to, &request, &code)),
            tries: 0,
            sent_at: now,
            gone_at: (now + LIFETIME_MS).div_ceil(1000),
        };
        let sent = SENT.counted(&sent, now);
        let Count { made: sends, since: window, last: sent_at } = sent;
        let gone_at = SENT.forgotten_s(&sent);
        let after = Sends { newest: request.clone(), sent_at, sends, window, gone_at };
        let unchanged = before.map_or(Condition::Missing, |b| Condition::Equals(NEWEST, b.newest.into()));
        let mut writes = vec![
            Write::put(Table::Entities, at.clone(), Item::of(&after)).when(unchanged),
            Write::put(Table::Entities, from.clone(), Item::of(&asked.counted(&ASKED, now))),
            Write::put(Table::Entities, code_key(seal, to, &request), Item::of(&fresh)),
        ];
        let budget = writes.len();
        writes.extend(texts.map(|texts| texts::one_more(texts.per_day, now)));
        match tables.write(writes).await {
            Ok(()) => return Ok((request, notice(to, &code))),
            Err(TableError::ConditionFailed { index }) if index == budget => {
                return Err(Refusal::TextsUsedUp(texts::tomorrow_s(now)));
            }
            // Another code for the address was asked for at the same moment.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::RateLimited(1))
}

/// The generation of the secret under which the code of a request was made; the one in use if there is no such code.
async fn made_under<'a>(
    tables: &dyn Tables,
    seal: &'a Seal,
    to: &Identity,
    request: &str,
) -> Result<&'a Generation, Refusal> {
    let keys: Vec<_> =
        seal.generations().map(|made| (Table::Entities, code_key(made, to, request))).collect();
    if keys.len() == 1 {
        return Ok(seal.present());
    }
    let found = tables.get_many(&keys).await?;
    let made = seal.generations().zip(found).find_map(|(made, item)| item.map(|_| made));
    Ok(made.unwrap_or(seal.present()))
}

/// Reads two items at once.
async fn read<A: DeserializeOwned, B: DeserializeOwned>(
    tables: &dyn Tables,
    keys: [&Key; 2],
) -> Result<(Option<A>, Option<B>), Refusal> {
    let mut found = tables.get_many(&keys.map(|key| (Table::Entities, key.clone()))).await?.into_iter();
    let mut next = || found.next().flatten();
    Ok((next().map(Item::parse).transpose()?, next().map(Item::parse).transpose()?))
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
/// ones. A correct try is given back, and the household's wrong ones are forgotten.
///
/// A code is good with its request only: a stranger who asks for one can neither use up the tries of another nor
/// replace its code.
pub(crate) async fn verify(
    tables: &dyn Tables,
    seal: &Seal,
    asker: &Asker<'_>,
    (request, code): (&str, &str),
    now: u64,
) -> Result<Write, Refusal> {
    // A text that is no id names no request, and never becomes a key.
    let request = ids::parse(request).ok_or(WRONG)?.to_string();
    let seal = made_under(tables, seal, asker.to, &request).await?;
    let (at, from) = (code_key(seal, asker.to, &request), asker.household_key(seal, "wrong"));
    for _ in 0..RACES {
        let (sent, wrong) = read::<Code, Household>(tables, [&at, &from]).await?;
        let sent = sent.ok_or(WRONG)?;
        let is_good = now < sent.sent_at + LIFETIME_MS && !is_ahead(sent.sent_at, now);
        let expected = sent.hash.filter(|_| is_good).ok_or(WRONG)?;
        if sent.tries >= MAX_TRIES {
            return Err(WRONG);
        }
        let same_wrong =
            wrong.as_ref().map_or(Condition::Missing, |wrong| Condition::Equals(MADE, wrong.made.into()));
        let wrong = wrong.unwrap_or_default();
        let wait = WRONG_TRIES.wait_ms(&wrong.count(), now);
        if wait > 0 {
            return Err(Refusal::RateLimited(wait.div_ceil(1000)));
        }
        let one_more = Item::of(&wrong.counted(&WRONG_TRIES, now));
        let writes = vec![
            tried(&at, 1).when(Condition::Equals(TRIES, sent.tries.into())),
            Write::put(Table::Entities, from.clone(), one_more).when(same_wrong),
        ];
        match tables.write(writes).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => continue,
            Err(error) => return Err(error.into()),
        }
        if !same(&hash(seal, asker.to, &request, code), &expected) {
            return Err(WRONG);
        }
        remember(tables, seal, asker, &at, now).await;
        let unused = Condition::Equals(HASH, expected.into());
        return Ok(Write::update(Table::Entities, at, vec![Change::Remove(HASH)]).when(unused));
    }
    Err(Refusal::RateLimited(1))
}

/// Takes back what a correct try has counted, and knows its household from now on. If that fails, the caller has one
/// try fewer.
async fn remember(tables: &dyn Tables, seal: &Generation, asker: &Asker<'_>, at: &Key, now: u64) {
    let expires = (now + KNOWN_MS).div_ceil(1000);
    let known = vec![Change::Set(KNOWN_AT, now.into()), Change::Set(EXPIRES, expires.into())];
    let writes = vec![
        tried(at, -1).when(Condition::Exists),
        Write::delete(Table::Entities, asker.household_key(seal, "wrong")),
        Write::update(Table::Entities, asker.household_key(seal, "from"), known),
    ];
    if let Err(error) = tables.write(writes).await {
        tracing::debug!(%error, "a correct code used up a try");
    }
}

/// Counts tries of a code, or takes them back.
fn tried(at: &Key, more: i64) -> Write {
    Write::update(Table::Entities, at.clone(), vec![Change::Add(TRIES, more)])
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "the items spell it out");

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
