//! What holds for every request to a public port: which pages of other origins may ask, and what browsers are told.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use soundoff_common::web::base::BasePath;
use soundoff_common::web::http::{Answer, refuse};
use soundoff_common::web::origins::{Origins, Stranger};
use soundoff_common::web::problem::mark_as_data;
use soundoff_common::web::tls_only::TlsOnly;

/// The paths that pages of other origins may ask for.
const SHARED: [&str; 2] = ["/v1/", "/.well-known/"];
/// What those pages may send and read.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
const SENT: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-none-match, if-range, range, soundoff-app");
const READ: HeaderValue =
    HeaderValue::from_static("content-length, content-range, etag, retry-after, www-authenticate");
/// How long a browser keeps the answer to a preflight, in seconds: Chromium keeps none for longer.
const KEPT: HeaderValue = HeaderValue::from_static("7200");
const PRIVATE_NETWORK: [HeaderName; 2] = [
    HeaderName::from_static("access-control-request-private-network"),
    HeaderName::from_static("access-control-allow-private-network"),
];

/// Where a public port is on the web, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) origins: Origins,
    pub(crate) base: BasePath,
    pub(crate) tls_only: TlsOnly,
}

/// One request's way through the door.
pub(crate) struct Visit {
    /// The origin that may read the answer.
    reader: Option<HeaderValue>,
    is_shared: bool,
    /// What browsers are told of TLS.
    tls_only: HeaderMap,
    /// The answer that needs no page: to a preflight, or to who may not ask.
    pub(crate) answer: Option<Answer>,
}

impl Visit {
    /// Looks at a plain request.
    pub(crate) fn of<B>(door: &Door, request: &Request<B>) -> Self {
        let headers = request.headers();
        let is_shared = SHARED.iter().any(|paths| request.uri().path().starts_with(paths));
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let (reader, answer) = match door.origins.judge(headers) {
            Ok(reader) if is_shared && asks => (reader.cloned(), Some(preflight(request))),
            Ok(reader) => (reader.filter(|_| is_shared).cloned(), None),
            // What only shows something is for all, and the stranger's browser keeps it from the page.
            Err(Stranger) if request.method() == Method::GET => (None, None),
            Err(Stranger) => (None, Some(refuse(StatusCode::FORBIDDEN, "forbidden", Stranger::DETAIL))),
        };
        let mut tls_only = HeaderMap::new();
        door.tls_only.mark(headers, &mut tls_only);
        Self { reader, is_shared, tls_only, answer }
    }

    /// Adds what browsers are told with any answer.
    pub(crate) fn mark(self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        headers.extend(self.tls_only);
        if self.is_shared {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(reader) = self.reader {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, reader);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}

/// The answer to a browser that asks whether a page may send its request.
fn preflight<B>(request: &Request<B>) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    mark_as_data(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, KEPT);
    let [asked, allowed] = PRIVATE_NETWORK;
    if request.headers().contains_key(asked) {
        headers.insert(allowed, HeaderValue::from_static("true"));
    }
    answer
}
