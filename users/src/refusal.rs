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
    /// What was to prove who asks proves nothing. One text for many reasons: it must not help a guesser.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The proof is good and nobody has it yet: say which handle the new account is to have.
    #[error("this is a new account: repeat the request with a `handle`, 3 to 30 of a-z, 0-9 and _")]
    HandleRequired,
    /// What is named is not there.
    #[error("{0}")]
    NotFound(&'static str),
    /// The state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// Too often; again in so many seconds.
    #[error("too many requests; wait before the next")]
    RateLimited(u64),
    /// This way to sign in is not configured.
    #[error("this server is not configured for {0}")]
    NotConfigured(&'static str),
    /// The body is not what it must be; the answer says so.
    #[error("the body is not what it must be")]
    Body(Box<Answer>),
    /// Something that is needed does not answer.
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
    /// One word for metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Refusal::BadMessage(_) | Refusal::Body(_) => "bad_message",
            Refusal::Unauthorized(_) => "unauthorized",
            Refusal::HandleRequired => "handle_required",
            Refusal::NotFound(_) => "not_found",
            Refusal::Conflict(_) => "conflict",
            Refusal::RateLimited(_) => "rate_limited",
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
            Refusal::Unauthorized(_) => whole(unauthorized(&detail)),
            Refusal::HandleRequired | Refusal::Conflict(_) => refuse(StatusCode::CONFLICT, code, &detail),
            Refusal::RateLimited(seconds) => {
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
