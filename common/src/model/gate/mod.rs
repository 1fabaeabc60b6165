//! The gate: operators close it for maintenance, and bring people back little by little.
//!
//! While it opens, each visitor has a time at which they are let in, from a hash of where they come from: so it is the
//! same on all processes and in all tries, and those who have been let in stay in. Those who come too early are told when
//! to come again, so that nobody needs to ask more than twice.

mod keeper;

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub use keeper::{CountryOf, Keeper};

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Item, Key, Table, TableError, Tables, Write};
use crate::web::address::household;

crate::attributes! {
    /// The attributes of the gate. Those of which there is nothing to say are absent.
    pub mod attribute {
        MODE = "mode",
        SINCE = "since",
        REASON = "reason",
        UNTIL = "until",
        OVER_MS = "over_ms",
        FIRST = "first",
        SALT = "salt",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "gate",
    table: Table::Entities,
    pk: "gate",
    sk: "gate",
    attributes: attribute::ALL,
    of: Of::Nobody,
    summary: "Whether people are let in: all, none for a reason, or more and more of them. Absent: all.",
}];

/// The longest reason, in bytes: it goes into a close frame, which has 123 of them.
pub const REASON_BYTES: usize = 64;
/// What people read when an operator has given no reason.
const NO_REASON: &str = "closed for a while";
/// A visitor who is not let in, and for whom no time is known, comes again within this time.
const UNKNOWN_MS: u64 = 60_000;
/// Part of a wait that is drawn at random, so that those with one time do not come in one moment.
const DRAWN: f64 = 0.1;

/// What the gate does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All may come.
    #[default]
    Open,
    /// Nobody may.
    Closed,
    /// More and more may.
    Opening,
}

/// Who is let in first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// Visitors from a country, by its two letters (ISO 3166).
    Country(String),
    /// Visitors with an app: by its name, `ios`, or its name and version, `ios-5.2`.
    App(String),
}

impl First {
    /// Itself, with the country in capitals.
    ///
    /// # Errors
    /// Why there can be no such visitors, in words.
    pub fn checked(self) -> Result<Self, &'static str> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ['-', '.'].contains(&letter);
        match self {
            Self::Country(code)
                if code.len() == 2 && code.chars().all(|letter| letter.is_ascii_alphabetic()) =>
            {
                Ok(Self::Country(code.to_uppercase()))
            }
            Self::Country(_) => Err("a country is its two letters, such as GB"),
            Self::App(app) if (1..=64).contains(&app.len()) && app.chars().all(plain) => Ok(Self::App(app)),
            Self::App(_) => Err("an app is its name, such as ios or ios-5.2: letters, digits, - and ."),
        }
    }
}

/// The gate as an operator has set it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What it does.
    pub mode: Mode,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it will be opened, as far as is known, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// How long it takes until all are let in, in milliseconds.
    #[serde(default)]
    pub over_ms: u64,
    /// Who is let in within the first half of that time; all others follow in the second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<First>,
    /// Shuffles the visitors.
    #[serde(default)]
    pub salt: u64,
}

/// Somebody at the gate.
#[derive(Debug, Clone, Default)]
pub struct Visitor<'a> {
    /// Where they come from.
    pub address: Option<IpAddr>,
    /// What their program calls itself (`User-Agent`): tells apart some of those who share an address.
    pub agent: &'a str,
    /// Their country, by its two letters.
    pub country: Option<String>,
    /// Their app, with its version.
    pub app: Option<&'a str>,
}

/// A visitor is not let in yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// When to come again, in milliseconds from now.
    pub wait_ms: u64,
    /// Why, for people to read; never empty.
    pub reason: String,
}

impl Gate {
    /// Whether a visitor is let in at `now` (milliseconds since 1970); `draw` is random, from 0 up to 1.
    ///
    /// # Errors
    /// [`Shut`], when not yet.
    pub fn judge(&self, visitor: &Visitor<'_>, now: u64, draw: f64) -> Result<(), Shut> {
        let drawn = if self.mode == Mode::Opening { draw * DRAWN } else { 0.0 };
        let due = match self.mode {
            Mode::Open => return Ok(()),
            Mode::Opening => Some(self.since.saturating_add(self.turn_ms(visitor))),
            // When it opens they are let in little by little, so that all may ask then: within a minute.
            Mode::Closed => {
                let spread = scaled(UNKNOWN_MS, self.place(visitor));
                self.until.map(|until| until.saturating_add(spread)).filter(|due| *due > now)
            }
        };
        let reason = if self.reason.is_empty() { NO_REASON } else { &self.reason };
        let shut = |wait_ms| Err(Shut { wait_ms, reason: reason.to_owned() });
        match due {
            Some(due) if due <= now => Ok(()),
            Some(due) => shut((due - now) + scaled(due - now, drawn).max(1)),
            None => shut(UNKNOWN_MS / 2 + scaled(UNKNOWN_MS / 2, draw)),
        }
    }

    /// When a visitor's turn is, in milliseconds from the beginning.
    fn turn_ms(&self, visitor: &Visitor<'_>) -> u64 {
        let place = self.place(visitor);
        let turn = match (self.first.is_empty(), self.is_first(visitor)) {
            (true, _) => place,
            (false, true) => place / 2.0,
            (false, false) => 0.5 + place / 2.0,
        };
        scaled(self.over_ms, turn)
    }

    /// A visitor's place among all, from 0 up to 1.
    fn place(&self, visitor: &Visitor<'_>) -> f64 {
        let from = visitor.address.map(household);
        let said = format!("{}\n{from:?}\n{}", self.salt, visitor.agent);
        let hash = digest(&SHA256, said.as_bytes());
        let first: [u8; 4] = *hash.as_ref().first_chunk().expect("SHA-256 has more bytes");
        f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
    }

    fn is_first(&self, visitor: &Visitor<'_>) -> bool {
        self.first.iter().any(|first| match first {
            First::Country(country) => visitor.country.as_ref() == Some(country),
            First::App(wanted) => visitor.app.is_some_and(|app| {
                app.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "times of some hours, in milliseconds"
)]
fn scaled(ms: u64, share: f64) -> u64 {
    (ms as f64 * share) as u64
}

fn key() -> Key {
    Key::new("gate", "gate")
}

/// Reads the gate.
///
/// # Errors
/// As the tables.
pub async fn read(tables: &dyn Tables) -> Result<Gate, TableError> {
    tables.get(Table::Entities, key()).await?.map_or_else(|| Ok(Gate::default()), Item::parse)
}

/// Sets the gate.
///
/// # Errors
/// As the tables.
pub async fn set(tables: &dyn Tables, gate: &Gate) -> Result<(), TableError> {
    tables.write(vec![Write::put(Table::Entities, key(), Item::of(gate))]).await
}

#[cfg(test)]
mod tests;
