//! The state of a relation that is on or off: a like, a follow, a block. A follow may also be asked for.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

crate::attributes! {
    /// The attributes of a relation's state.
    pub mod attribute {
        ON = "on",
        MID = "mid",
        SINCE = "since",
        NOTIFIED = "notified",
        ASKED = "asked",
    }
}

/// The state of a relation, as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Whether it is on.
    pub on: bool,
    /// The latest message that has been applied.
    pub mid: Ulid,
    /// The message that brought this state about; it names the list rows of a relation that is on.
    pub since: Ulid,
    /// Whether the other side has ever been notified: this outlives every `remove`.
    pub notified: bool,
    /// It is off and asked for: the other side may switch it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::holdings::assert_knows;

    #[test]
    fn serde_knows_every_attribute() {
        let full = State { on: true, mid: Ulid(1), since: Ulid(2), notified: true, asked: true };
        assert_knows(attribute::ALL, &full, &[]);
    }
}
