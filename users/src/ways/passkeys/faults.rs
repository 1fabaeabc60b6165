//! Why a passkey's answer is refused.

use crate::refusal::Refusal;

/// Why a passkey's answer is refused. All but [`Fault::Unknown`] are about the answer alone, so that their texts tell a
/// guesser nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("`credential` is no answer of a passkey: send what its `toJSON()` gives")]
    Malformed,
    #[error("this is the answer to another call of navigator.credentials: `get` signs in, `create` adds")]
    Type,
    #[error("the challenge is for something else, was used, or has expired; begin again with /start")]
    Challenge,
    #[error("the page or app that asked the passkey is not listed in --origins or --passkey-apps")]
    Origin,
    #[error("the passkey belongs to another domain than --passkey-domain")]
    Domain,
    #[error("the passkey has not checked who holds it: ask with userVerification `required`")]
    Unverified,
    #[error("the passkey's key is of no kind that /start lists")]
    Algorithm,
    #[error("the passkey is not known here, or its signature is not good")]
    Unknown,
    #[error("this passkey's counter went back: there is a copy of it; sign in otherwise, and remove it")]
    Copied,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed | Fault::Algorithm => Self::BadMessage(fault.to_string()),
            fault => Self::Passkey(fault.to_string()),
        }
    }
}
