//! How much of a message the archive keeps: the data team counts what happens, and reads no private words.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// How much of a type's messages the archive keeps. Of a type that says nothing it keeps no body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Archived {
    /// Nothing: what caused it is archived.
    Not,
    /// That it was sent, when, and under which pseudonym. The body has private words, or names people.
    #[default]
    Header,
    /// The body, too, if everybody may read it: if [`is_for_everybody`] says so, and the sender's account is not
    /// private. Otherwise as [`Self::Header`].
    Public,
    /// The body, too, in which this field names the sender. The archive has their pseudonym there. Without the field a
    /// message is nobody's.
    Keyed(&'static str),
    /// The body, too: it has nobody's words and names nobody.
    Whole,
}

impl Archived {
    /// What holds for a type of which one handler says this and another one that; `None` when they contradict each
    /// other.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Not, said) | (said, Self::Not) => Some(said),
            (one, another) => (one == another).then_some(one),
        }
    }
}

/// Whether what a body makes is for everybody, as far as the body says it: it has no `group`, and no `audience` other
/// than `everyone`. A body of which that cannot be read is for few.
#[must_use]
pub fn is_for_everybody(body: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Whom<'a> {
        audience: Option<&'a str>,
        group: Option<IgnoredAny>,
    }
    let text = body.get();
    // Serde reads a struct from a list, too.
    let is_object = text.starts_with('{');
    // Most posts name neither, and then nothing is parsed: this is on every message's way.
    if is_object && !["audience", "group", "\\"].iter().any(|word| text.contains(word)) {
        return true;
    }
    let whom = is_object.then(|| serde_json::from_str::<Whom>(text).ok()).flatten();
    whom.is_some_and(|whom| whom.group.is_none() && whom.audience.is_none_or(|of| of == "everyone"))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{Archived, is_for_everybody};

    #[test]
    fn what_is_not_clearly_for_everybody_is_for_few() {
        let said = |text: &str| is_for_everybody(&RawValue::from_string(text.to_owned()).unwrap());
        for open in [
            "{}",
            r#"{"text":"hi"}"#,
            r#"{"text":"audience group","media":[{"audience":"close","group":1}]}"#,
            r#"{"audience":"everyone","text":"hi"}"#,
            r#"{"text":"hi","audience":null,"group":null}"#,
            "  {\"text\": \"hi\"}",
        ] {
            assert!(said(open), "{open}");
        }
        for few in [
            r#"{"text":"hi","audience":"followers"}"#,
            r#"{"text":"hi","audience":"close"}"#,
            r#"{"text":"hi","audience":"Everyone"}"#,
            r#"{"text":"hi","audience":""}"#,
            r#"{"text":"hi","audience":["everyone"]}"#,
            r#"{"text":"hi","audience":"everyone","audience":"close"}"#,
            r#"{"text":"hi","\u0061udience":"close"}"#,
            r#"{"text":"hi","group":"01K0000000000000000000000A"}"#,
            r#"{"text":"hi","audience":"everyone","group":"x"}"#,
            r#"{"text":"hi","group":""}"#,
            r#"{"group":{"audience":"everyone"}}"#,
            r#"["everyone",null]"#,
            "null",
            "7",
            r#""everyone""#,
        ] {
            assert!(!said(few), "{few}");
        }
    }

    #[test]
    fn handlers_of_one_type_do_not_contradict_each_other() {
        let (not, header, whole) = (Archived::Not, Archived::Header, Archived::Whole);
        assert_eq!([not.and(not), not.and(whole), whole.and(not)], [Some(not), Some(whole), Some(whole)]);
        assert_eq!([header.and(header), header.and(whole)], [Some(header), None]);
        assert_eq!(Archived::default(), header, "what nobody decided has no body");
    }
}
