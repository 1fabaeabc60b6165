//! On which terms a type is taken: what a message costs its sender, how many there may be, and what is refused first when
//! there is no room for all.

use std::collections::HashMap;

use crate::protocol::TypeLimits;

/// What is refused first when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Goes first: nobody misses it for long, and it can be asked for again.
    Sheddable,
    /// Most types.
    Normal,
    /// Goes last: what keeps people safe.
    Critical,
}

/// The terms of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What a message takes of its sender's rate, in messages.
    pub cost: u16,
    /// The most of one user in a minute, on each edge, and at once after a minute without one.
    pub per_minute: Option<u32>,
    /// The most of one user in a day (UTC), in the whole deployment.
    pub per_day: Option<u32>,
    /// What is refused first.
    pub importance: Importance,
}

impl Terms {
    /// One message costs one, and only the rate of all messages bounds how many there are.
    pub const USUAL: Self = Self { cost: 1, per_minute: None, per_day: None, importance: Importance::Normal };

    /// The same, but a message costs so many.
    #[must_use]
    pub const fn cost(self, messages: u16) -> Self {
        Self { cost: messages, ..self }
    }

    /// The same with limits a minute and a day.
    #[must_use]
    pub const fn at_most(self, per_minute: u32, per_day: u32) -> Self {
        Self { per_minute: Some(per_minute), per_day: Some(per_day), ..self }
    }

    /// The same for what is refused last.
    #[must_use]
    pub const fn critical(self) -> Self {
        Self { importance: Importance::Critical, ..self }
    }

    /// The same for what is refused first.
    #[must_use]
    pub const fn sheddable(self) -> Self {
        Self { importance: Importance::Sheddable, ..self }
    }

    /// What clients are told; `None` where they need not know.
    #[must_use]
    pub fn told(self) -> Option<TypeLimits> {
        let Self { cost, per_minute, per_day, .. } = self;
        let usual = (cost, per_minute, per_day) == (1, None, None);
        (!usual).then_some(TypeLimits { cost, per_minute, per_day })
    }
}

/// What an operator sets for a type instead of what it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The type; `None` for all.
    pub message_type: Option<String>,
    /// The most in a minute.
    pub per_minute: Option<u32>,
    /// The most in a day.
    pub per_day: Option<u32>,
}

/// The types of which a user sends only so many a day.
#[derive(Debug, Default)]
pub struct Daily(HashMap<&'static str, u32>);

impl Daily {
    /// Those of these types.
    pub fn of(types: impl IntoIterator<Item = (&'static str, Terms)>) -> Self {
        Self(types.into_iter().filter_map(|(name, terms)| Some((name, terms.per_day?))).collect())
    }

    /// The most of a type.
    #[must_use]
    pub fn most(&self, message_type: &str) -> Option<u32> {
        self.0.get(message_type).copied()
    }
}
