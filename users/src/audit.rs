//! What the User service tells the audit trail.

use std::net::IpAddr;

use soundoff_common::model::audit::{Event, Kind};
use soundoff_common::pipeline::audit::Trail;
use soundoff_common::protocol::Handle;
use soundoff_common::web::address::household;
use ulid::Ulid;

use crate::keys::seal::Seal;
use crate::proof::SignedIn;
use crate::refusal::Refusal;

/// How much of a household's keyed hash is told: enough to see that two are the same.
const HOUSEHOLD_DIGITS: usize = 16;

/// Records what happens to accounts.
pub(crate) struct Audit(Trail);

impl Audit {
    pub(crate) fn new(trail: Trail) -> Self {
        Self(trail)
    }

    /// Somebody at `from` has proven an identity of the way `way`; `session` is theirs if they were signed in.
    pub(crate) fn signed_in(
        &self,
        seal: &Seal,
        (way, from): (&str, IpAddr),
        done: &SignedIn,
        session: Option<Ulid>,
    ) {
        let event = match done {
            SignedIn::Session { session, created, .. } => {
                let event = Event::new(Kind::SignedIn).of(&session.user, Some(session.token.session));
                Event { created: Some(*created), ..event }
            }
            SignedIn::Linked { user, new: true } => Event::new(Kind::Linked).of(user, session),
            SignedIn::Linked { new: false, .. } => return,
        };
        self.0.record(Event { way: Some(way.to_owned()), household: Some(name(seal, from)), ..event });
    }

    /// A call that was to sign somebody in was refused. What an app has to do better is no event.
    pub(crate) fn refused(&self, seal: &Seal, (call, from): (&'static str, IpAddr), refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Unauthorized(_) | Refusal::Conflict(_) | Refusal::RateLimited(_) => refusal.name(),
            _ => return,
        };
        let event = Event::new(Kind::SignInRefused);
        let (way, reason) = (Some(call.to_owned()), Some(reason.to_owned()));
        self.0.record(Event { way, reason, household: Some(name(seal, from)), ..event });
    }

    /// Something else happened to a user's account or session.
    pub(crate) fn happened(&self, seal: &Seal, kind: Kind, user: &Handle, session: Ulid, from: IpAddr) {
        let event = Event::new(kind).of(user, Some(session));
        self.0.record(Event { household: Some(name(seal, from)), ..event });
    }

    /// A session ended before its time.
    pub(crate) fn ended(&self, user: &Handle, session: Ulid) {
        self.0.record(Event::new(Kind::SessionEnded).of(user, Some(session)));
    }
}

/// Names a household without its address.
fn name(seal: &Seal, from: IpAddr) -> String {
    let mut hash = seal.hash(&["audit household", &household(from).to_string()]);
    hash.truncate(HOUSEHOLD_DIGITS);
    hash
}
