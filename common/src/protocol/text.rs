use std::fmt::{self, Display};
use std::sync::Arc;

use serde::de::{Deserializer, Error, Visitor};
use ulid::Ulid;

/// Reads a text and makes something of it, without a copy in between.
pub(super) fn read<'de, D: Deserializer<'de>, T, E: Display>(
    deserializer: D,
    make: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    struct Reading<F>(F);

    impl<T, E: Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for Reading<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<R: Error>(self, text: &str) -> Result<T, R> {
            (self.0)(text).map_err(R::custom)
        }
    }

    deserializer.deserialize_str(Reading(make))
}

/// Reads a text that is shared, for `deserialize_with`: serde by itself copies it twice.
///
/// # Errors
/// When it is no text.
pub(crate) fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    read(deserializer, |text| Ok::<_, std::convert::Infallible>(text.into()))
}

/// Reads a ULID, for `deserialize_with`: its own way makes a copy of the text.
///
/// # Errors
/// When it is no ULID.
pub(crate) fn ulid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ulid, D::Error> {
    read(deserializer, Ulid::from_string)
}
