//! What the User service keeps. Each kind is declared beside what makes its keys.

use soundoff_common::model::holdings::Holding;

use crate::changes;
use crate::keys::ring;
use crate::sessions::list;
use crate::ways::passkeys::{challenge, stored};
use crate::ways::{codes, exchange, identity, openid, texts};

/// The kinds of items that are kept of this.
pub(crate) const HOLDINGS: &[Holding] = &[
    identity::LINKED,
    identity::ROW,
    changes::HOLDING,
    list::HOLDING,
    codes::SENDS,
    codes::ASKERS,
    codes::GUESSERS,
    codes::CODE,
    texts::HOLDING,
    openid::NONCE,
    exchange::HOLDING,
    stored::HOLDING,
    challenge::HOLDING,
    ring::HOLDING,
];
