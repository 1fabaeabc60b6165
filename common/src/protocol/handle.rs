use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A user's public name: 3 to 30 of `a–z`, `0–9` and `_`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Handle(Arc<str>);

/// A text that is no handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a handle is 3 to 30 of a-z, 0-9 and _")]
pub struct NotAHandle;

impl Handle {
    /// The handle as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A map by handle can be queried with text. Both have the same hash, as the handle is its text.
impl std::borrow::Borrow<str> for Handle {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if (3..=30).contains(&text.len()) && text.bytes().all(valid) {
            Ok(Self(text.into()))
        } else {
            Err(NotAHandle)
        }
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::read(deserializer, str::parse)
    }
}

impl JsonSchema for Handle {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Handle".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9_]{3,30}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn only_valid_handles_are_taken() {
        for good in ["abc", "a_1", &"x".repeat(30)] {
            assert_eq!(good.parse::<Handle>().unwrap().as_str(), good);
        }
        for bad in ["", "ab", "Abc", "a-b", "a b", "äbc", "abc\n", &"x".repeat(31)] {
            assert!(bad.parse::<Handle>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Handle>(bad.into()).is_err(), "{bad:?}");
        }
    }
}
