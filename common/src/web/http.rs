//! What pages share: bodies, text and metrics, JSON in and out, the bearer token.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::telemetry::{Metrics, classic};
use crate::web::problem::{mark_as_data, problem};

/// An answer's body: whole, or streamed.
pub type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// The client's address, which the edge attaches to each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How long a small body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole body as the body of an answer.
#[must_use]
pub fn whole(response: Response<Full<Bytes>>) -> Answer {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

/// Plain text in UTF-8.
#[must_use]
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    mark_as_data(headers);
    response
}

/// A process's metrics, in the format that the request's headers accept: OpenMetrics, or Prometheus' older text.
#[must_use]
pub fn metrics(metrics: &Metrics, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let accepts = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
    };
    let (said, kind) = if asked.get_all(header::ACCEPT).iter().any(accepts) {
        (metrics.text(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (classic(&metrics.text()), "text/plain; version=0.0.4; charset=utf-8")
    };
    let mut response = text(StatusCode::OK, said);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether a request for `/readyz` asks only for what is wrong with the process itself. A balancer asks like this: one
/// that took processes out, or had them replaced, because an engine is away would make an outage worse.
#[must_use]
pub fn asks_for_own(uri: &Uri) -> bool {
    parameter(uri, "own").is_some()
}

/// The answer of `/readyz`: what is wrong, a line for each.
#[must_use]
pub fn readiness(wrong: &[String]) -> Response<Full<Bytes>> {
    match wrong {
        [] => text(StatusCode::OK, "ready\n"),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n"),
    }
}

/// A refusal; see [`problem`].
#[must_use]
pub fn refuse(status: StatusCode, code: &str, detail: &str) -> Answer {
    whole(problem(status, code, detail))
}

/// A refusal with the number of seconds after which the client may try again.
#[must_use]
pub fn retry_later(status: StatusCode, code: &str, detail: &str, seconds: u64) -> Answer {
    let mut answer = refuse(status, code, detail);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// The refusal when a service that is needed does not answer.
#[must_use]
pub fn not_now() -> Answer {
    let detail = "this cannot be served now; try again";
    retry_later(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail, 1)
}

/// The refusal of a method other than `allowed`.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Answer {
    let detail = format!("this address takes {allowed}");
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "bad_message", &detail);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// JSON that no cache keeps.
///
/// # Panics
/// If it cannot be JSON: only our own types come here.
#[must_use]
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).expect("our own types are JSON");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    mark_as_data(headers);
    whole(response)
}

/// Reads a request's JSON body of at most `most` bytes.
///
/// # Errors
/// The refusal to answer with. It never repeats the body; `example` shows a good one.
pub async fn read_json<T, B>(request: Request<B>, most: usize, example: &str) -> Result<T, Box<Answer>>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refused = |status, code, detail: &str| Box::new(refuse(status, code, detail));
    is_plain_text(request.headers())?;
    let collected = Limited::new(request.into_body(), most).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let detail = format!("the body is over {most} bytes, or broke off");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &detail));
        }
        Err(_) => {
            return Err(refused(StatusCode::REQUEST_TIMEOUT, "bad_message", "the body took too long"));
        }
    };
    serde_json::from_slice(&body).map_err(|error| {
        // The error's own text may repeat what was sent, such as a token: its place and kind say enough.
        let at = format!("line {} column {}", error.line(), error.column());
        let what = if error.is_data() { "a field is missing or of the wrong kind" } else { "it is not JSON" };
        refused(StatusCode::BAD_REQUEST, "bad_message", &format!("send {example}: {what} ({at})"))
    })
}

/// Refuses bodies that are packed, or in another charset than UTF-8.
fn is_plain_text(headers: &HeaderMap) -> Result<(), Box<Answer>> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let refused = |detail: &str| Box::new(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_message", detail));
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let mut refusal = refused("send the body as it is: this address takes no Content-Encoding");
        refusal.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return Err(refusal);
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let charset = kind.split(';').find_map(|part| part.trim().strip_prefix("charset="));
    if charset.is_some_and(|name| !matches!(name.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")) {
        return Err(refused("send the body in UTF-8"));
    }
    Ok(())
}

/// The bearer token, if there is one. An `Authorization` of another kind is not for us: browsers show it to everything
/// that is behind a proxy with basic authentication.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The value of a query's parameter, not decoded; the first, if it is given more than once. Other parameters are not
/// ours: people share links that others have added to.
#[must_use]
pub fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find_map(|(found, value)| (found == name).then_some(value))
}

/// Whether a list of entity tags names ours. Weak ones are enough for `If-None-Match` (RFC 9110, 13.1.2).
#[must_use]
pub fn names_tag(tags: &HeaderValue, tag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(str::trim).any(|each| each == "*" || each.strip_prefix("W/").unwrap_or(each) == tag)
}

/// The refusal of a request whose bearer token is missing or not valid.
#[must_use]
pub fn unauthorized(detail: &str) -> Response<Full<Bytes>> {
    let mut refusal = problem(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Asked {
        #[expect(dead_code, reason = "only whether it parses is looked at")]
        token: u8,
    }

    #[tokio::test]
    async fn a_bad_body_is_refused_without_being_repeated() {
        for (body, status) in [
            (r#"{"token":"s3cret"}"#, StatusCode::BAD_REQUEST),
            (r#"{"token":"#, StatusCode::BAD_REQUEST),
            (
                r#"{"token":1,"pad":"0123456789012345678901234567890123456789"}"#,
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
        ] {
            let request = Request::new(Full::new(Bytes::from(body)));
            let refusal = read_json::<Asked, _>(request, 40, r#"{"token":1}"#).await.unwrap_err();
            assert_eq!(refusal.status(), status, "{body}");
            let text = refusal.into_body().collect().await.unwrap().to_bytes();
            assert!(!String::from_utf8_lossy(&text).contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_packed_or_no_utf_8_is_refused_with_a_reason() {
        let asked = async |name: &'static str, value: &'static str| {
            let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
            request.headers_mut().insert(name, HeaderValue::from_static(value));
            read_json::<serde_json::Value, _>(request, 40, "{}").await.map_err(|refusal| refusal.status())
        };
        for good in
            ["application/json", "application/json; charset=UTF-8", "text/plain;charset=\"utf-8\"", "x"]
        {
            assert!(asked("content-type", good).await.is_ok(), "{good}");
        }
        assert!(asked("content-encoding", "identity").await.is_ok());
        for (name, bad) in [
            ("content-encoding", "gzip"),
            ("content-encoding", "br, gzip"),
            ("content-type", "application/json; charset=utf-16"),
            ("content-type", "application/json;charset=latin1"),
        ] {
            assert_eq!(asked(name, bad).await, Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{bad}");
        }
    }

    #[test]
    fn other_parameters_are_not_ours() {
        let uri: Uri = "/p?a&fbclid=x&size=thumb&size=full".parse().unwrap();
        assert_eq!([parameter(&uri, "size"), parameter(&uri, "a")], [Some("thumb"), Some("")]);
        assert_eq!(parameter(&uri, "clid"), None);
    }

    #[test]
    fn only_a_bearer_token_is_ours() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(
            [of("Bearer t"), of("bearer  t "), of("Bearer")],
            [Some("t"), Some("t"), Some("")].map(|o| o.map(str::to_owned))
        );
        assert_eq!([of("Basic dTpw"), of("Digest x=1"), of("")], [None, None, None]);
    }

    #[test]
    fn tags_are_found_in_lists() {
        for list in ["\"t\"", "\"a\", \"t\"", "W/\"t\"", "*"] {
            assert!(names_tag(&HeaderValue::from_str(list).unwrap(), "\"t\""), "{list}");
        }
        assert!(!names_tag(&HeaderValue::from_static("\"a\", \"tt\""), "\"t\""));
    }
}
