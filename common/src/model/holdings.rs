//! Every kind of item in the tables, and whose it is.
//!
//! Each feature declares what it keeps. The tables in `docs/data-model.md` are generated from that. Debug builds refuse
//! to write an item of no declared kind, or an attribute that its kind does not name, so that nothing is forgotten.

use crate::ports::tables::{Action, Change, Key, Table, Write};

/// Names the attributes of one kind of item, once: a module with a const for each name, and `ALL` for the kind's
/// [`Holding`].
#[macro_export]
macro_rules! attributes {
    ($(#[$doc:meta])* $vis:vis mod $module:ident { $($name:ident = $text:expr),* $(,)? }) => {
        $(#[$doc])*
        $vis mod $module {
            $(
                #[doc = concat!("The name of the attribute ", stringify!($text), ".")]
                $vis const $name: &str = $text;
            )*
            /// All of them.
            $vis const ALL: &[&str] = &[$($name),*];
        }
    };
}

/// Whose an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// One user's, who made it or whom it is about.
    User,
    /// Two users' at once: a follow, a message.
    Two,
    /// Nobody's: it is the deployment's own.
    Nobody,
}

/// One kind of item.
#[derive(Debug, Clone, Copy)]
pub struct Holding {
    /// What it is, in a word or two.
    pub kind: &'static str,
    /// The table it is in.
    pub table: Table,
    /// Its partition, such as `post#<id>`: what varies is in angle brackets.
    pub pk: &'static str,
    /// Its range key, written in the same way.
    pub sk: &'static str,
    /// All attributes that it may have.
    pub attributes: &'static [&'static str],
    /// Whose it is.
    pub of: Of,
    /// What it holds and when it is removed, in one line.
    pub summary: &'static str,
}

impl Holding {
    /// The first attribute that a write of such an item names and this kind does not.
    #[must_use]
    pub fn unknown<'a>(&self, write: &'a Write) -> Option<&'a str> {
        let unknown = |name: &&str| !self.attributes.contains(name);
        match &write.action {
            Action::Put(item) => item.0.keys().map(String::as_str).find(unknown),
            Action::Update(changes) => changes.iter().map(Change::attribute).find(unknown),
            Action::Delete | Action::Check => None,
        }
    }

    /// Whether an item at this key is of this kind.
    #[must_use]
    pub fn is_at(&self, table: Table, key: &Key) -> bool {
        self.table == table && fits(self.pk, &key.pk) && fits(self.sk, &key.sk)
    }
}

/// Whether a text has this form, that of a [`Holding`]'s keys. A part in angle brackets stands for one character or more.
#[must_use]
pub fn fits(form: &str, text: &str) -> bool {
    let Some((before, rest)) = form.split_once('<') else { return form == text };
    let Some(text) = text.strip_prefix(before) else { return false };
    let (_, after) = rest.split_once('>').unwrap_or_default();
    if after.is_empty() {
        return !text.is_empty();
    }
    let literal = after.split('<').next().unwrap_or_default();
    let mut ends = text.match_indices(literal).map(|(at, _)| at).filter(|at| *at > 0);
    ends.any(|at| fits(after, &text[at..]))
}

/// Checks that `declared`, the attributes of a kind, are those that serde writes for `full`, a value that lacks no
/// optional part, and those of `beside`, which are written without the struct.
///
/// # Panics
/// When they are not.
#[cfg(any(test, feature = "contract"))]
pub fn assert_knows(declared: &[&str], full: &impl serde::Serialize, beside: &[&str]) {
    use std::collections::BTreeSet;
    let item = crate::ports::tables::Item::of(full);
    let written: BTreeSet<&str> = item.0.keys().map(String::as_str).chain(beside.iter().copied()).collect();
    assert_eq!(written, declared.iter().copied().collect(), "what serde writes, and what is declared");
    assert_eq!(written.len(), declared.len(), "an attribute is declared twice: {declared:?}");
    assert_eq!(written.len(), item.0.len() + beside.len(), "serde writes some of {beside:?} already");
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn forms_fit_what_varies_and_nothing_else() {
        for (form, text) in [
            ("head", "head"),
            ("post#<id>", "post#01A"),
            ("<user>", "anna"),
            ("<week>#<author>", "02700#bob"),
            ("dm#<a>#<b>", "dm#anna#bob"),
            ("<since>#<id>", "0#1#2"),
        ] {
            assert!(fits(form, text), "{text} is a {form}");
        }
        for (form, text) in [
            ("head", "heads"),
            ("post#<id>", "post#"),
            ("post#<id>", "posts#01A"),
            ("<week>#<author>", "02700"),
            ("<week>#<author>", "#bob"),
            ("dm#<a>#<b>", "dm#anna"),
            ("<user>", ""),
        ] {
            assert!(!fits(form, text), "{text} is no {form}");
        }
    }
}
