//! Mails and texts that are sent to users.

use async_trait::async_trait;
use serde::Serialize;

/// The suite that every adapter of [`Courier`] must pass.
#[cfg(any(test, feature = "contract"))]
pub mod contract;

/// One mail or text.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// A mail address, or a phone number in E.164 form such as `+491701234567`.
    pub to: String,
    /// A mail's subject; texts leave it out.
    pub subject: String,
    /// What it says.
    pub text: String,
}

/// A notice holds an address and usually a code: neither must get into a log.
impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notice(…)")
    }
}

/// Why a notice was not taken. The text repeats neither address nor text of the notice.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Undelivered {
    /// The carrier does not take this notice: another one may be taken.
    #[error("{0}")]
    Refused(String),
    /// The carrier does not answer, or says that it is in trouble.
    #[error("{0}")]
    Away(String),
}

/// A courier: of mails or of texts, as it was wired.
///
/// Laws, each in the contract suite:
/// 1. `Ok` means that the carrier has taken the notice, with address and text as they were given.
/// 2. A carrier that refuses is [`Undelivered::Refused`], one that is not there [`Undelivered::Away`]; neither repeats
///    address or text.
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// Hands a notice over to the carrier.
    async fn send(&self, notice: &Notice) -> Result<(), Undelivered>;
}
