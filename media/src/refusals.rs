//! What requests for media are refused with.

use std::net::{IpAddr, Ipv4Addr};

use hyper::StatusCode;
use hyper::http::Extensions;
use soundoff_common::telemetry::{Metrics, ReasonLabel};
use soundoff_common::web::address::household;
use soundoff_common::web::http::{Answer, Peer, method_not_allowed, not_now, refuse, retry_later};

use crate::items::TOO_MANY_PIXELS;
use crate::places::Full;

/// Whom a request's places are counted for. Callers that cannot be distinguished are counted as one.
pub(crate) fn household_of(extensions: &Extensions) -> IpAddr {
    let Peer(address) = extensions.get().copied().unwrap_or(Peer(Ipv4Addr::UNSPECIFIED.into()));
    household(address)
}

/// Counts a refusal by its reason, which is from a fixed set.
pub(crate) fn count(metrics: &Metrics, reason: &'static str) {
    metrics.media_refused.get_or_create(&ReasonLabel { reason }).inc();
}

/// The refusal of an upload for which there is no place.
pub(crate) fn no_place_in(full: Full, metrics: &Metrics) -> Box<Answer> {
    let (status, reason, detail) = match full {
        Full::User => (StatusCode::TOO_MANY_REQUESTS, "in_user", "finish your other uploads first"),
        Full::Household => {
            let detail = "too many uploads come from your address; try again when some are done";
            (StatusCode::TOO_MANY_REQUESTS, "in_household", detail)
        }
        Full::All => {
            (StatusCode::SERVICE_UNAVAILABLE, "in_all", "too many uploads are in progress; try again")
        }
    };
    count(metrics, reason);
    Box::new(retry_later(status, "overloaded", detail, 2))
}

/// The refusal of an upload whose sender has no pixels left for it, and has them again after `wait` milliseconds.
pub(crate) fn no_pixels(wait: u64, metrics: &Metrics) -> Box<Answer> {
    count(metrics, "pixels");
    let status = StatusCode::TOO_MANY_REQUESTS;
    Box::new(retry_later(status, "rate_limited", TOO_MANY_PIXELS, wait.div_ceil(1000)))
}

/// The refusal of an upload that was slow while others had no place.
pub(crate) fn gave_way() -> Box<Answer> {
    let detail = "the upload was slow and others were waiting for its place; send it again";
    Box::new(retry_later(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail, 2))
}

/// The refusal of a picture that there is no place to send from.
pub(crate) fn no_place_out(full: Full, metrics: &Metrics) -> Answer {
    let (status, reason, detail) = match full {
        Full::User | Full::Household => {
            let detail = "too many pictures are being sent to your address; read those first";
            (StatusCode::TOO_MANY_REQUESTS, "out_household", detail)
        }
        Full::All => {
            (StatusCode::SERVICE_UNAVAILABLE, "out_all", "too many pictures are being sent; try again")
        }
    };
    count(metrics, reason);
    retry_later(status, "overloaded", detail, 1)
}

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
