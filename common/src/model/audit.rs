//! The audit trail: what happened to accounts and to the deployment, when, and because of whom.
//!
//! An event holds handles and ids of sessions only: never a token, a code, a mail address, a phone number or an address
//! on the net.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Item, Key, Query, Table, TableError, Tables, Write};
use crate::protocol::Handle;

/// The MessageType of events.
pub const EVENT: &str = "audit.event";
/// How long an event can be read, in milliseconds. The archive keeps it for longer.
pub const KEPT_MS: u64 = 90 * DAY_MS;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// The most events of one answer.
const MOST: usize = 1000;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody signed in; `created`: into a new account.
    SignedIn,
    /// A proof was refused.
    SignInRefused,
    /// A user added a way to sign in.
    Linked,
    /// A user removed one.
    Unlinked,
    /// A used refresh token came back: somebody has a copy.
    RefreshReused,
    /// A user signed out.
    LoggedOut,
    /// A session ended before its time.
    SessionEnded,
    /// An operator gave a user another role.
    RoleChanged,
    /// An operator ended all sessions of a user.
    Revoked,
    /// An operator made a new key for access tokens.
    KeyRotated,
    /// An operator changed the root secret.
    SecretRotated,
    /// An operator did something else: `what`.
    Operated,
    /// Tokens were made for development, without any proof.
    DevTokens,
    /// More happened in a moment than is recorded: `count` events are missing here.
    Suppressed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 14] = [
        Kind::SignedIn,
        Kind::SignInRefused,
        Kind::Linked,
        Kind::Unlinked,
        Kind::RefreshReused,
        Kind::LoggedOut,
        Kind::SessionEnded,
        Kind::RoleChanged,
        Kind::Revoked,
        Kind::KeyRotated,
        Kind::SecretRotated,
        Kind::Operated,
        Kind::DevTokens,
        Kind::Suppressed,
    ];

    /// The kind's name, as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::SignedIn => "signed_in",
            Kind::SignInRefused => "sign_in_refused",
            Kind::Linked => "linked",
            Kind::Unlinked => "unlinked",
            Kind::RefreshReused => "refresh_reused",
            Kind::LoggedOut => "logged_out",
            Kind::SessionEnded => "session_ended",
            Kind::RoleChanged => "role_changed",
            Kind::Revoked => "revoked",
            Kind::KeyRotated => "key_rotated",
            Kind::SecretRotated => "secret_rotated",
            Kind::Operated => "operated",
            Kind::DevTokens => "dev_tokens",
            Kind::Suppressed => "suppressed",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("no such kind; there are {}", Kind::ALL.map(Kind::name).join(", ")))
    }
}

/// One event. What it has nothing to say about is absent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To whose account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Handle>,
    /// The session that it was done with, or that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub session: Option<Ulid>,
    /// From where: a keyed hash of the household, which is an IPv4 address or the /64 of an IPv6 one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub household: Option<String>,
    /// The operator: their user of the operating system, as the command line said it, or the page that they used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The way to sign in: email, phone, apple, twitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// Whether the account is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done, or the new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// How many of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Event {
    /// An event of a kind, with nothing else said yet.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            user: None,
            session: None,
            household: None,
            by: None,
            way: None,
            created: None,
            reason: None,
            what: None,
            count: None,
        }
    }

    /// The same of a user, and perhaps of a session of theirs.
    #[must_use]
    pub fn of(self, user: &Handle, session: Option<Ulid>) -> Self {
        Self { user: Some(user.clone()), session, ..self }
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "audit event",
    table: Table::Entities,
    pk: "audit#<day>",
    sk: "<at>#<mid>",
    attributes: &[
        "at",
        "kind",
        "user",
        "session",
        "household",
        "by",
        "way",
        "created",
        "reason",
        "what",
        "count",
        "expires",
    ],
    of: Of::Nobody,
    summary: "What happened to an account or to the deployment, for 90 days; days count from 1970 (UTC).",
}];

/// An event as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
    expires: u64,
}

/// The range key of all that happened at `at` begins with this.
#[must_use]
pub fn place(at: u64) -> String {
    format!("{at:015}")
}

fn partition(day: u64) -> String {
    format!("audit#{day}")
}

/// The write that keeps an event of the message `mid`: the same however often it is made.
#[must_use]
pub fn keep(event: Event, at: u64, mid: Ulid) -> Write {
    let key = Key::new(partition(at / DAY_MS), format!("{}#{mid}", place(at)));
    Write::put(Table::Entities, key, Item::of(&Kept { at, event, expires: (at + KEPT_MS).div_ceil(1000) }))
}

/// The events whose places are above `after` until `now`, in order of time, up to 1,000, each with its place. Less than
/// that means that there are no more.
///
/// # Errors
/// When the tables do not answer, or hold what is no event.
pub async fn read(tables: &dyn Tables, after: &str, now: u64) -> Result<Vec<(String, Kept)>, TableError> {
    let at: u64 = after.split('#').next().and_then(|at| at.parse().ok()).unwrap_or(0);
    let first = at.max(now.saturating_sub(KEPT_MS)) / DAY_MS;
    let mut found = Vec::new();
    // The clock that wrote an event may be ahead.
    for day in first..=now / DAY_MS + 1 {
        let limit = MOST - found.len();
        let page =
            tables.query(Query::prefix(Table::Entities, partition(day), "", limit).above(after)).await?;
        for (sk, item) in page.items {
            found.push((sk, item.parse()?));
        }
        if found.len() >= MOST {
            break;
        }
    }
    Ok(found)
}

/// Whether an answer of [`read`] may have more behind it.
#[must_use]
pub fn is_full(found: usize) -> bool {
    found >= MOST
}
