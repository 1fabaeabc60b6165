//! The names under which the archive knows users: random, made by routers, and needed by nobody else.
//!
//! They are beside the relations, of which a router reads who is private. So it reads one table, and not the one that
//! has sign-ins and direct messages.

use std::sync::Arc;

use rand::Rng as _;

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Condition, Item, Key, Table, TableError, Write};
use crate::protocol::Handle;

crate::attributes! {
    /// The attributes of a pseudonym.
    pub mod attribute {
        KEY = "key",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "pseudonym",
    table: Table::Relationships,
    pk: "pseudonym#<h>",
    sk: "archive",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "The name under which the archive knows a user: 128 random bits, made at the first message that is archived.",
}];

/// How many hex digits a pseudonym has.
const DIGITS: usize = 32;

/// A new pseudonym: 128 random bits in lower-case hex.
#[must_use]
pub fn fresh() -> Arc<str> {
    format!("{:0DIGITS$x}", rand::rng().random::<u128>()).into()
}

/// Where a user's pseudonym is.
#[must_use]
pub fn key(user: &Handle) -> (Table, Key) {
    (Table::Relationships, Key::new(["pseudonym#", user.as_str()].concat(), "archive"))
}

/// The write that gives a user a pseudonym. It fails if there is one.
#[must_use]
pub fn give(user: &Handle, pseudonym: &str) -> Write {
    let (table, key) = key(user);
    Write::put(table, key, Item::new().with(attribute::KEY, pseudonym)).when(Condition::Missing)
}

/// The pseudonym that an item holds.
///
/// # Errors
/// [`TableError::Corrupt`] when it holds none: what it has instead must not get into the archive.
pub fn parse(item: &Item) -> Result<Arc<str>, TableError> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = |text: &&str| text.len() == DIGITS && text.bytes().all(digit);
    let found = item.text(attribute::KEY).filter(valid);
    found.map(Arc::from).ok_or_else(|| TableError::Corrupt("a pseudonym is 32 hex digits".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_random_and_comes_back_as_it_was_given() {
        let (one, other) = (fresh(), fresh());
        assert_ne!(one, other);
        let user: Handle = "anna".parse().unwrap();
        let given = give(&user, &one);
        assert!(HOLDINGS[0].is_at(given.table, &given.key) && HOLDINGS[0].unknown(&given).is_none());
        let item = Item::new().with(attribute::KEY, &*one);
        assert_eq!(parse(&item), Ok(one));
        for bad in ["", "anna", "0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF"] {
            assert!(parse(&Item::new().with(attribute::KEY, bad)).is_err(), "{bad}");
        }
        assert!(parse(&Item::new()).is_err());
    }
}
