//! Moments on two clocks, and the way from one time to another.

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The wall clock, in milliseconds since 1970.
    pub(super) wall: u64,
    /// A clock that cannot be set, in milliseconds since any moment.
    pub(super) steady: u64,
}

/// `a - b`.
pub(super) fn difference(a: u64, b: u64) -> i64 {
    let apart = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { apart } else { -apart }
}
