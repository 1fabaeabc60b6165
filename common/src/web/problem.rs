//! Errors over HTTP: RFC 9457.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, header};

/// An error that replaces the answer of a call.
pub type Refusal = Box<Response<Full<Bytes>>>;

/// An `application/problem+json` answer that no cache keeps: `code` is for programs, spelled as in error frames where
/// they have one for it; `detail` says what to do about it.
#[must_use]
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or("Error");
    let body =
        serde_json::json!({ "title": title, "status": status.as_u16(), "code": code, "detail": detail });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let never = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}
