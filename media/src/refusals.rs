//! What requests for media are refused with.

use hyper::StatusCode;
use soundoff_common::web::http::{Answer, method_not_allowed, not_now, refuse};

/// The refusal when a medium is not there, or not there yet, or is for nobody: its sender does not learn which.
pub(crate) fn no_such() -> Box<Answer> {
    let detail = "there is no such media, or it has not passed its check yet";
    Box::new(refuse(StatusCode::NOT_FOUND, "not_found", detail))
}

/// The refusal when something that is needed fails.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Box<Answer> {
    tracing::warn!("a media request cannot be served: {error}");
    Box::new(not_now())
}

/// The refusal of another method than `allowed`.
pub(crate) fn not_with(allowed: &'static str) -> Box<Answer> {
    Box::new(method_not_allowed(allowed))
}
