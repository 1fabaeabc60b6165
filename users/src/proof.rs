//! A proof of who somebody is, and what comes of it.

use soundoff_common::ports::tables::Write;
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::sessions::families::Session;
use crate::ways::identity::Identity;

/// How often what lost a race is decided again.
pub(crate) const DECISIONS: u32 = 5;

/// A proof, and what the client asks for with it.
pub(crate) struct Proven<'a> {
    pub(crate) identity: &'a Identity,
    /// Uses the proof up.
    pub(crate) spend: Write,
    /// What else must be as it was when the proof was judged.
    pub(crate) also: Option<Write>,
    /// The handle for a new account.
    pub(crate) handle: Option<&'a str>,
    /// The signed-in user who adds the identity.
    pub(crate) signed_in: Option<&'a Claims>,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// How long the session may last, in seconds.
    pub(crate) lifetime_s: u64,
    /// For how many seconds after a proof the ways to sign in may change.
    pub(crate) proof_s: u64,
    /// The program that signs in, if it said.
    pub(crate) client: Option<&'a str>,
}

/// The outcome.
pub(crate) enum SignedIn {
    /// A new session, perhaps of a new account. The user had too many; those that were `displaced` have ended.
    Session { session: Session, created: bool, displaced: Vec<Ulid> },
    /// The identity is the signed-in user's from now on; it may have been before (then it is not `new`).
    Linked { user: Handle, new: bool },
}

/// The writes to make, and which of them means what if its condition fails.
pub(crate) struct Plan {
    pub(crate) done: SignedIn,
    pub(crate) writes: Vec<Write>,
    /// Where the new account is among the writes.
    pub(crate) account: Option<usize>,
}

/// The place of [`Proven::spend`] among a plan's writes.
pub(crate) const SPEND: usize = 0;
/// The place of [`Proven::also`], where there is one.
pub(crate) const ALSO: usize = 1;

impl Proven<'_> {
    /// The writes of every plan.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let mut writes = vec![self.spend.clone()];
        writes.extend(self.also.clone());
        writes
    }
}
