//! Challenges: random, good for one purpose, once, for five minutes.
//!
//! They carry their own mark, which only this deployment can make. So nothing is stored when one is asked for, and
//! strangers who ask fill no table; only those that were used are remembered, until they expire.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use soundoff_common::hex::hex;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, EXPIRES, Item, Key, Table, Write};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{CLOCKS_APART_MS, Handle, is_ahead};

use crate::keys::seal::{Generation, Seal, same};

/// How long one is good, in milliseconds.
pub(crate) const LIFETIME_MS: u64 = 5 * 60 * 1000;
const RANDOM_BYTES: usize = 16;
/// The time at which it was made, in milliseconds since 1970, big-endian.
const TIME_BYTES: usize = 8;
/// How many hexadecimal digits of the mark are carried: 128 bits.
const MARK_DIGITS: usize = 32;

pub(crate) const HOLDING: Holding = Holding {
    kind: "challenge",
    table: Table::Entities,
    pk: "challenge#<random>",
    sk: "challenge",
    attributes: &[EXPIRES],
    of: Of::Nobody,
    summary: "A passkey's challenge that was used.",
};

/// What a passkey is asked for.
#[derive(Debug)]
pub(crate) enum Purpose<'a> {
    /// To sign somebody in; it says whom.
    SignIn,
    /// To prove once more who the user of a session is.
    Prove(&'a Claims),
    /// To be added to the account of a session.
    Add(&'a Claims),
}

impl Purpose<'_> {
    /// The user whom it is about, where that is known beforehand.
    pub(crate) fn user(&self) -> Option<&Handle> {
        match self {
            Purpose::SignIn => None,
            Purpose::Prove(claims) | Purpose::Add(claims) => Some(&claims.user),
        }
    }

    fn mark(&self, seal: &Generation, body: &[u8]) -> String {
        let (name, session) = match self {
            Purpose::SignIn => ("sign in", String::new()),
            Purpose::Prove(claims) => ("prove", claims.session.to_string()),
            Purpose::Add(claims) => ("add", claims.session.to_string()),
        };
        let user = self.user().map_or("", Handle::as_str);
        let mut mark = seal.hash(&["passkey challenge", name, user, &session, &hex(body)]);
        mark.truncate(MARK_DIGITS);
        mark
    }
}

/// A new one, in base64url.
pub(crate) fn fresh(seal: &Seal, purpose: &Purpose<'_>, now: u64) -> String {
    let mut challenge = rand::random::<[u8; RANDOM_BYTES]>().to_vec();
    challenge.extend(now.to_be_bytes());
    let mark = purpose.mark(seal.present(), &challenge);
    challenge.extend(mark.as_bytes());
    BASE64.encode(challenge)
}

/// The write that uses one up, if it is good at `now`; its condition fails when it was used before.
pub(crate) fn open(seal: &Seal, purpose: &Purpose<'_>, challenge: &str, now: u64) -> Option<Write> {
    let challenge = BASE64.decode(challenge).ok()?;
    let (body, mark) = challenge.split_at_checked(RANDOM_BYTES + TIME_BYTES)?;
    let (random, made_at) = body.split_at(RANDOM_BYTES);
    let mark = std::str::from_utf8(mark).ok()?;
    if !seal.generations().any(|generation| same(&purpose.mark(generation, body), mark)) {
        return None;
    }
    let ends = u64::from_be_bytes(made_at.try_into().ok()?).checked_add(LIFETIME_MS)?;
    if now >= ends || is_ahead(ends - LIFETIME_MS, now) {
        return None;
    }
    // Another process's clock may be behind this one.
    let gone_at = (ends + 2 * CLOCKS_APART_MS).div_ceil(1000);
    let key = Key::new(format!("challenge#{}", hex(random)), "challenge");
    let used = Write::put(Table::Entities, key, Item::new().with(EXPIRES, gone_at));
    Some(used.when(Condition::Missing))
}
