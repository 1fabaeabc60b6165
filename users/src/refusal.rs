use hyper::StatusCode;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::tables::TableError;
use soundoff_common::web::http::{Answer, not_now, refuse, retry_later, unauthorized, whole};

/// Why a request to the User service was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request makes no sense.
    #[error("{0}")]
    BadMessage(String),
    /// The proof of who asks is not valid. One text for many reasons: it must not help a guesser.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The proof is valid and belongs to no account yet: the client must name a handle for the new account.
    #[error("this is a new account: repeat the request with a `handle`, 3 to 30 of a-z, 0-9 and _")]
    HandleRequired,
    /// The session lasts, but its user must prove again who they are.
    #[error(
        "prove again who you are: a code to one of your addresses (/v1/auth/identities/{{id}}/start), or a new sign-in"
    )]
    ProofRequired,
    /// The session lasts, but it has its account's role and the account's passkeys only with a passkey.
    #[error(
        "prove by a passkey who you are (/v1/auth/passkey/start); an account that has none adds it before an operator gives it its role"
    )]
    PasskeyRequired,
    /// A passkey's answer is not valid. The text tells a guesser nothing.
    #[error("{0}")]
    Passkey(String),
    /// What the request names does not exist.
    #[error("{0}")]
    NotFound(&'static str),
    /// The present state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Too many requests; the next is allowed after this number of seconds.
    #[error("too many requests; wait before the next")]
    RateLimited(u64),
    /// The texts of this day are used up; there are more after this number of seconds.
    #[error("no more texts are sent today; sign in by mail, or come back tomorrow")]
    TextsUsedUp(u64),
    /// This way to sign in is not configured.
    #[error("this server is not configured for {0}")]
    NotConfigured(&'static str),
    /// The body is not valid; the answer says why.
    #[error("the body is not valid")]
    Body(Box<Answer>),
    /// An engine or another service does not answer.
    #[error("cannot be served now: {0:#}")]
    Unavailable(anyhow::Error),
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<Box<Answer>> for Refusal {
    fn from(answer: Box<Answer>) -> Self {
        Self::Body(answer)
    }
}

impl Refusal {
    /// Its name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Refusal::BadMessage(_) | Refusal::Body(_) => "bad_message",
            Refusal::Unauthorized(_) | Refusal::Passkey(_) => "unauthorized",
            Refusal::HandleRequired => "handle_required",
            Refusal::ProofRequired => "proof_required",
            Refusal::PasskeyRequired => "passkey_required",
            Refusal::NotFound(_) => "not_found",
            Refusal::Conflict(_) => "conflict",
            Refusal::RateLimited(_) | Refusal::TextsUsedUp(_) => "rate_limited",
            Refusal::NotConfigured(_) => "not_configured",
            Refusal::Unavailable(_) => "overloaded",
        }
    }

    /// The refusal as HTTP.
    pub(crate) fn answer(self) -> Answer {
        let (code, detail) = (self.name(), self.to_string());
        match self {
            Refusal::Body(answer) => *answer,
            Refusal::BadMessage(_) => refuse(StatusCode::BAD_REQUEST, code, &detail),
            Refusal::Unauthorized(_) | Refusal::Passkey(_) => whole(unauthorized(&detail)),
            Refusal::ProofRequired | Refusal::PasskeyRequired => refuse(StatusCode::FORBIDDEN, code, &detail),
            Refusal::HandleRequired | Refusal::Conflict(_) => refuse(StatusCode::CONFLICT, code, &detail),
            Refusal::RateLimited(seconds) | Refusal::TextsUsedUp(seconds) => {
                retry_later(StatusCode::TOO_MANY_REQUESTS, code, &detail, seconds)
            }
            Refusal::NotFound(_) | Refusal::NotConfigured(_) => refuse(StatusCode::NOT_FOUND, code, &detail),
            Refusal::Unavailable(error) => {
                tracing::warn!("a sign-in request cannot be served: {error:#}");
                not_now()
            }
        }
    }
}
