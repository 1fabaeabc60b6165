//! The files of `web/`, embedded in the binary by `build.rs`, and how browsers get them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use soundoff_common::web::coding::Coding;
use soundoff_common::web::http::{Answer, method_not_allowed, names_tag, refuse, whole};

// The sets of files, by path: APP, the app and its client library; CONSOLE, a page to try frames on; OPS, what
// operators look at.
include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What a file is to browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Script,
    Style,
    Picture,
}

/// A file, and the path at which it is served.
#[derive(Debug)]
pub(crate) struct File {
    path: &'static str,
    kind: Kind,
    plain: Form,
    gzip: Form,
    brotli: Form,
}

/// A file's bytes in one coding, and their entity tag.
#[derive(Debug)]
struct Form {
    bytes: &'static [u8],
    tag: &'static str,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Picture => "image/svg+xml",
        }
    }
}

impl File {
    /// Whether it is served at a path.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.path == path
    }

    fn form(&self, coding: Coding) -> &Form {
        match coding {
            Coding::Identity => &self.plain,
            Coding::Gzip => &self.gzip,
            Coding::Brotli => &self.brotli,
        }
    }
}

/// What pages may do: run our scripts and styles, show our pictures and those that the user is about to upload, talk to
/// us and, where large pictures are uploaded past us, to the place `uploads`. Nothing inline, nothing from other sites,
/// and no other site may frame them.
pub(crate) fn policy(uploads: Option<&str>) -> HeaderValue {
    let uploads = uploads.map(|origin| format!(" {origin}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         connect-src 'self'{uploads}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("origins are ASCII")
}

/// Files of the app that it asks for when somebody first goes to a page of theirs.
const LATER: [&str; 1] = ["/app/groups.js"];

/// Makes browsers fetch at once everything that a page is made of, instead of waiting until one module asks for the
/// next.
fn preloads(files: &[File]) -> String {
    let link = |file: &File| match file.kind {
        Kind::Script => Some(format!("<{}>;rel=modulepreload", relative(file))),
        Kind::Style => Some(format!("<{}>;rel=preload;as=style", relative(file))),
        Kind::Page | Kind::Picture => None,
    };
    files.iter().filter(|file| !LATER.contains(&file.path)).filter_map(link).collect::<Vec<_>>().join(",")
}

/// A file's path as pages name it. All pages are at the top, which may be below somebody's path.
fn relative(file: &File) -> &'static str {
    file.path.trim_start_matches('/')
}

/// Whether a path is that of a file which is not the app's.
pub(crate) fn is_file(path: &str) -> bool {
    [CONSOLE, OPS].into_iter().flatten().any(|file| file.path == path)
}

/// Whether there is a page at a path beside the app's.
pub(crate) fn is_page(path: &str) -> bool {
    [CONSOLE, OPS].into_iter().flatten().any(|file| file.kind == Kind::Page && file.path == path)
}

/// The answer, if the request is for one of `files`. Browsers keep files and ask each time whether they are still good:
/// a new build shows at once.
pub(crate) fn answer<B>(
    files: &'static [File],
    policy: &HeaderValue,
    request: &Request<B>,
) -> Option<Answer> {
    let file = files.iter().find(|file| file.path == request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(method_not_allowed("GET"));
    }
    let vary = (header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = Coding::choose(request.headers()) else {
        let detail = "this file comes as br, gzip or identity: accept one of them";
        let mut refusal = refuse(StatusCode::NOT_ACCEPTABLE, "bad_message", detail);
        refusal.headers_mut().extend([vary]);
        return Some(refusal);
    };
    let Form { bytes, tag } = file.form(coding);
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tags| names_tag(tags, tag));
    let mut response = Response::new(Full::new(if known { Bytes::new() } else { Bytes::from_static(bytes) }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.extend([
        vary,
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind.content_type())),
        (header::ETAG, HeaderValue::from_static(tag)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, policy.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]);
    if coding != Coding::Identity && !known {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if file.kind == Kind::Page {
        let link = HeaderValue::from_str(&preloads(files)).expect("paths are ASCII");
        headers.insert(header::LINK, link);
    }
    Some(whole(response))
}
