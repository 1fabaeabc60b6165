//! The two phases that are measured.

/// How many items a page has.
pub(super) const ITEMS: usize = 20;

/// Whether the timelines are computed before they are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// They are.
    Warm,
    /// They are not.
    Cold,
}

impl Phase {
    /// One word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }

    /// How many messages a fetch needs.
    pub(super) fn messages(self) -> u32 {
        match self {
            Self::Warm => 1,
            Self::Cold => 2,
        }
    }
}
