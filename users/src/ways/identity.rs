//! Identities: the mail addresses, phone numbers and foreign accounts by which a user is known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Key, Query, Table, Tables};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::keys::seal::{Generation, Seal};
use crate::refusal::Refusal;
use crate::ways::mail;
use crate::ways::phone;
use crate::ways::spelling::Spelled;

/// What kind of identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Email,
    Phone,
    Apple,
    Twitter,
    Passkey,
    /// An account at an OpenID provider that the operator has named like this.
    OpenId(Arc<str>),
    /// A user of the customer's, known by the customer's own tokens.
    Foreign,
}

impl Kind {
    pub(crate) fn name(&self) -> &str {
        match self {
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Apple => "apple",
            Kind::Twitter => "twitter",
            Kind::Passkey => "passkey",
            Kind::OpenId(name) => name,
            Kind::Foreign => "foreign",
        }
    }
}

/// Names that no OpenID provider may have: kinds that are, or that may come.
pub(crate) const TAKEN_NAMES: &[&str] =
    &["email", "phone", "apple", "twitter", "foreign", "passkey", "openid"];

/// An address or account that somebody has proven to be theirs.
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    /// The address, or its name at the provider, in its one spelling.
    pub(crate) value: String,
    /// The sign-in that stands for it, where that is always the same.
    session: Option<Ulid>,
    /// The spellings of the same address under which version 0.1.0 may have stored it.
    former: Vec<String>,
}

/// The kind alone: the value is private.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.kind.name())
    }
}

/// The most identities of one account.
pub(crate) const MAX_IDENTITIES: usize = 20;

/// Whose an identity is.
pub(crate) const LINKED: Holding = Holding {
    kind: "identity",
    table: Table::Entities,
    pk: "identity#<kind>#<hash>",
    sk: "identity",
    attributes: ATTRIBUTES,
    of: Of::User,
    summary: "Whose a mail address, phone number or foreign account is.",
};
/// The same, in the list of its user's identities.
pub(crate) const ROW: Holding = Holding {
    kind: "row of an identity",
    table: Table::Entities,
    pk: "identities#<h>",
    sk: "<kind>#<hash>",
    attributes: ATTRIBUTES,
    of: Of::User,
    summary: "The user's list of them.",
};
/// [`Linked::user`] as an attribute.
pub(crate) const USER: &str = "user";
/// [`Linked::sealed`] as an attribute.
pub(crate) const SEALED: &str = "sealed";
const ATTRIBUTES: &[&str] = &[USER, "linked_at", SEALED, "session"];

/// An identity's item: whose it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Linked {
    pub(crate) user: Handle,
    /// When, in milliseconds since 1970.
    pub(crate) linked_at: u64,
    /// The value, sealed for [`Identity::context`].
    pub(crate) sealed: String,
    /// [`Identity::session`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Ulid>,
}

impl Linked {
    /// Marks this link among its user's.
    pub(crate) fn mark(&self, row: &Row) -> LinkMark {
        LinkMark::new(row.kind(), self.linked_at)
    }

    /// The value, of an identity of this kind.
    pub(crate) fn value(&self, kind: &str, seal: &Seal) -> Result<String, Refusal> {
        let opened = seal.open(&self.sealed, &Identity::context(kind, &self.user))?;
        Ok(String::from_utf8_lossy(&opened).into_owned())
    }
}

impl Identity {
    /// An account elsewhere, by its name there.
    pub(crate) fn elsewhere(kind: Kind, value: String) -> Self {
        Self { kind, value, session: None, former: Vec::new() }
    }

    /// An account at `issuer`, by its name there. Both are its value: an operator may have the name of a kind stand for
    /// another provider one day, whose users are others.
    pub(crate) fn at(issuer: &str, kind: Kind, name: &str) -> Self {
        Self::elsewhere(kind, format!("{issuer}\n{name}"))
    }

    /// A user of the customer's own, for whom `session` stands.
    pub(crate) fn foreign(issuer: &str, name: &str, session: Ulid) -> Self {
        Self { session: Some(session), ..Self::at(issuer, Kind::Foreign, name) }
    }

    /// A mail address or phone number as it is stored; `None` of other kinds.
    pub(crate) fn stored(kind: &str, value: String) -> Option<Self> {
        let kind = [Kind::Email, Kind::Phone].into_iter().find(|known| known.name() == kind)?;
        Some(Self::elsewhere(kind, value))
    }

    /// A mail address, as somebody typed or pasted it.
    pub(crate) fn email(typed: &str) -> Result<Self, Refusal> {
        Self::typed(Kind::Email, mail::read(typed))
    }

    /// A phone number, as somebody typed or pasted it.
    pub(crate) fn phone(typed: &str) -> Result<Self, Refusal> {
        Self::typed(Kind::Phone, phone::read(typed))
    }

    fn typed(kind: Kind, read: Result<Spelled, &'static str>) -> Result<Self, Refusal> {
        let Spelled { value, former } = read.map_err(|why| Refusal::BadMessage(why.into()))?;
        Ok(Self { kind, value, session: None, former })
    }

    /// The sign-in that stands for it, where that is always the same.
    pub(crate) fn session(&self) -> Option<Ulid> {
        self.session
    }

    /// The keyed hash that names it in the tables.
    pub(crate) fn hash(&self, seal: &Generation) -> String {
        seal.hash(&[self.kind.name(), &self.value])
    }

    /// Names it in its user's list of identities.
    pub(crate) fn row(&self, seal: &Seal) -> Row {
        Row::of(self.kind.name(), &self.value, seal)
    }

    /// Where else it may be: under a spelling of version 0.1.0, or found by a hash of another generation of the secret.
    pub(crate) fn former_rows(&self, seal: &Seal) -> Vec<Row> {
        let spellings = std::iter::once(&self.value).chain(&self.former);
        // The first is the row of today.
        spellings.flat_map(|value| Row::all(self.kind.name(), value, seal)).skip(1).collect()
    }

    /// What its sealed value is bound to.
    pub(crate) fn context(kind: &str, user: &Handle) -> String {
        format!("identity {kind} {user}")
    }
}

/// Marks that an identity became a user's: its kind, and when. It stays the same when the identity's row moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LinkMark(String);

impl LinkMark {
    pub(crate) fn new(kind: &str, linked_at: u64) -> Self {
        Self(format!("{kind}@{linked_at}"))
    }

    /// The name of the identity's [`Kind`].
    pub(crate) fn kind(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// The mark as an attribute.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Whether a mark is of one of a user's identities.
pub(crate) fn is_among(mine: &[(Row, Linked)], mark: &str) -> bool {
    mine.iter().any(|(row, linked)| linked.mark(row).text() == mark)
}

/// A user's identities, in the order of their rows.
pub(crate) async fn of_user(tables: &dyn Tables, user: &Handle) -> Result<Vec<(Row, Linked)>, Refusal> {
    let rows = Query::prefix(Table::Entities, list_partition(user), "", MAX_IDENTITIES);
    let rows = tables.query(rows).await?.items;
    rows.into_iter().map(|(sk, item)| Ok((Row::of_key(sk), item.parse()?))).collect()
}

/// The range key of an identity in its user's list: `<kind>#<hash>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row(String);

impl Row {
    /// The row of a value.
    pub(crate) fn of(kind: &str, value: &str, seal: &Seal) -> Self {
        Self(format!("{kind}#{}", seal.hash(&[kind, value])))
    }

    /// The rows of a value in all generations of the secret, the one in use first.
    fn all(kind: &str, value: &str, seal: &Seal) -> impl Iterator<Item = Self> {
        seal.hashes(&[kind, value]).into_iter().map(move |hash| Self(format!("{kind}#{hash}")))
    }

    /// The row of a range key.
    pub(crate) fn of_key(sk: String) -> Self {
        Self(sk)
    }

    /// The row of an id that a client names.
    pub(crate) fn of_id(id: &str) -> Self {
        Self(id.replacen('.', "#", 1))
    }

    /// The identity's id as clients see it: fit for a path.
    pub(crate) fn id(&self) -> String {
        self.0.replace('#', ".")
    }

    /// The name of the identity's [`Kind`].
    pub(crate) fn kind(&self) -> &str {
        self.0.split('#').next().unwrap_or_default()
    }

    /// Where the item is stored that says whose the identity is.
    pub(crate) fn key(&self) -> Key {
        Key::new(format!("identity#{}", self.0), "identity")
    }

    /// Where the identity is stored in the list of `user`.
    pub(crate) fn key_in(&self, user: &Handle) -> Key {
        Key::new(list_partition(user), self.0.as_str())
    }
}

/// Where a user's list of identities is stored.
pub(crate) fn list_partition(user: &Handle) -> String {
    format!("identities#{user}")
}

/// A value masked so that its owner recognizes it and nobody else does.
pub(crate) fn masked(kind: &str, value: &str) -> String {
    let ends = |text: &str, head: usize, tail: usize| {
        let chars: Vec<char> = text.chars().collect();
        if chars.len() <= head + tail {
            return "…".to_owned();
        }
        let (head, tail) = (&chars[..head], &chars[chars.len() - tail..]);
        format!("{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
    };
    match (kind, value.rsplit_once('@')) {
        ("email", Some((local, domain))) => format!("{}@{domain}", ends(local, 1, 0)),
        ("phone", _) => ends(value, 3, 2),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_value_is_known_to_its_owner_only() {
        assert_eq!(masked("email", "anna@example.org"), "a…@example.org");
        assert_eq!(masked("email", "a@example.org"), "…@example.org");
        assert_eq!(masked("phone", "+491701234567"), "+49…67");
        assert_eq!(masked("apple", "000123.abc"), "…");
    }
}
