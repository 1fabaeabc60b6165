//! Errors over HTTP: RFC 9457.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

/// An error that replaces the answer of a call.
pub type Refusal = Box<Response<Full<Bytes>>>;

/// What an answer that is no page may load and who may frame it: nothing, and nobody.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Marks an answer as nothing but what its `Content-Type` says. A browser that takes it for a page all the same may load
/// nothing for it.
pub fn mark_as_data(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, NO_PAGE);
}

/// An `application/problem+json` answer that no cache keeps: `code` is for programs, spelled as in error frames where
/// they have one for it; `detail` says what to do about it.
#[must_use]
pub fn problem(status: StatusCode, code: &str, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or("Error");
    let body =
        serde_json::json!({ "title": title, "status": status.as_u16(), "code": code, "detail": detail });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    mark_as_data(headers);
    response
}
