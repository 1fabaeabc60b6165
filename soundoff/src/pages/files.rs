//! The files of `web/`, embedded in the binary, and how browsers get them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use soundoff_common::http::{Answer, method_not_allowed, names_tag, whole};

/// What pages may do: run our scripts and styles, show our pictures and those that the user is about to upload, talk to us. Nothing inline,
/// nothing of others, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file, and the path at which it is served.
#[derive(Debug)]
pub(crate) struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal is $kind:ident $file:literal,)*) => {
        &[$(File { path: $path, kind: $kind, bytes: include_bytes!(concat!("../../../web/", $file)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The app and its client library. Paths other than `/` lie under two prefixes, which a balancer in front of several services can tell.
pub(super) const APP: &[File] = files![
    "/" is HTML "app/index.html",
    "/app/main.js" is SCRIPT "app/main.js",
];

/// A page to try frames on.
pub(super) const CONSOLE: &[File] = files![
    "/console" is HTML "console/index.html",
    "/console/console.css" is STYLE "console/console.css",
    "/console/console.js" is SCRIPT "console/console.js",
];

/// What operators look at.
pub(crate) const OPS: &[File] = files![
    "/ops" is HTML "ops/index.html",
    "/ops/dom.js" is SCRIPT "ops/dom.js",
    "/ops/figures.js" is SCRIPT "ops/figures.js",
    "/ops/icon.svg" is PICTURE "ops/icon.svg",
    "/ops/letter.js" is SCRIPT "ops/letter.js",
    "/ops/letters.js" is SCRIPT "ops/letters.js",
    "/ops/ops.css" is STYLE "ops/ops.css",
    "/ops/ops.js" is SCRIPT "ops/ops.js",
    "/ops/plot.js" is SCRIPT "ops/plot.js",
    "/ops/plots.js" is SCRIPT "ops/plots.js",
    "/ops/queues.js" is SCRIPT "ops/queues.js",
];

/// The answer, if one of `files` is asked for. Browsers keep files and ask each time whether they are still good: a new build shows at once.
pub(crate) fn answer<B>(files: &'static [File], request: &Request<B>) -> Option<Answer> {
    let file = files.iter().find(|file| file.path == request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(method_not_allowed("GET"));
    }
    let tag = tag(file.bytes);
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tags| names_tag(tags, &tag));
    let mut response = Response::new(Full::new(Bytes::from_static(if known { b"" } else { file.bytes })));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hex is ASCII"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(whole(response))
}

/// Names the bytes. It need not withstand anybody: all of them are ours.
fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use http_body_util::BodyExt as _;

    use super::*;

    /// The most bytes of the app, its client library included.
    const BUDGET: usize = 100_000;

    fn lies_in(folder: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web").join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
    }

    async fn get(path: &str, known: Option<&str>) -> Option<(StatusCode, hyper::HeaderMap, Bytes)> {
        let mut request = Request::get(path);
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let files = [("/console", CONSOLE), ("/ops", OPS)];
        let files = files.iter().find(|(folder, _)| path.starts_with(folder)).map_or(APP, |(_, files)| files);
        let answer = answer(files, &request.body(()).unwrap())?;
        let (parts, body) = answer.into_parts();
        Some((parts.status, parts.headers, body.collect().await.unwrap().to_bytes()))
    }

    #[tokio::test]
    async fn every_file_that_lies_there_is_served() {
        for folder in ["app", "console", "ops"] {
            for (name, bytes) in lies_in(folder) {
                let index = if folder == "app" { "/".to_owned() } else { format!("/{folder}") };
                let path = if name == "index.html" { index } else { format!("/{folder}/{name}") };
                let (status, headers, body) =
                    get(&path, None).await.unwrap_or_else(|| panic!("no row for {path}"));
                assert_eq!((status, &body[..]), (StatusCode::OK, &bytes[..]), "{path}");
                let kind = match name.rsplit_once('.').unwrap().1 {
                    "html" => HTML,
                    "js" => SCRIPT,
                    "css" => STYLE,
                    "svg" => PICTURE,
                    other => panic!("{path}: what is a .{other}?"),
                };
                assert_eq!(headers[header::CONTENT_TYPE], kind, "{path}");
            }
        }
        assert!(get("/app/nothing.js", None).await.is_none());
    }

    #[tokio::test]
    async fn a_browser_that_has_the_file_does_not_get_it_again() {
        let (_, headers, _) = get("/", None).await.unwrap();
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        let tag = headers[header::ETAG].to_str().unwrap();
        let (status, again, body) = get("/", Some(tag)).await.unwrap();
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again[header::ETAG], headers[header::ETAG]);
        assert_eq!(get("/", Some("\"another\"")).await.unwrap().0, StatusCode::OK);
        assert_ne!(headers[header::ETAG], get("/app/main.js", None).await.unwrap().1[header::ETAG]);
    }

    #[test]
    fn the_page_fetches_all_its_files_at_once_and_runs_nothing_inline() {
        for files in [APP, OPS] {
            let (index, rest) = files.split_first().unwrap();
            let page = std::str::from_utf8(index.bytes).unwrap();
            for file in rest {
                let named = page.contains(&format!("=\"{}\"", file.path));
                assert!(named, "{} waits for another's import", file.path);
            }
        }
        for file in APP.iter().chain(CONSOLE).chain(OPS).filter(|file| file.kind == HTML) {
            let page = std::str::from_utf8(file.bytes).unwrap();
            assert!(
                !page.contains("<style") && !page.contains("style=") && !page.contains(" on"),
                "{}",
                file.path
            );
            assert!(page.split("<script").skip(1).all(|tag| tag.contains("src=")), "{}", file.path);
        }
    }

    #[test]
    fn the_app_is_small() {
        let bytes: usize = APP.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < BUDGET, "{bytes} bytes");
    }
}
