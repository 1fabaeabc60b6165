//! The files of `web/`, embedded in the binary, and how browsers get them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::OnceLock;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use soundoff_common::web::http::{Answer, method_not_allowed, names_tag, whole};

/// What pages may do: run our scripts and styles, show our pictures and those that the user is about to upload, talk to us and, where large
/// pictures are uploaded past us, to the place `uploads`. Nothing inline, nothing of others, in nobody's frame.
pub(crate) fn policy(uploads: Option<&str>) -> HeaderValue {
    let uploads = uploads.map(|origin| format!(" {origin}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         connect-src 'self'{uploads}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("origins are ASCII")
}

/// A file, and the path at which it is served.
#[derive(Debug)]
pub(crate) struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
    served: OnceLock<Served>,
}

/// What browsers get of a file.
#[derive(Debug)]
struct Served {
    bytes: Bytes,
    tag: String,
}

macro_rules! files {
    ($($path:literal is $kind:ident $file:literal,)*) => {
        [$(File {
            path: $path,
            kind: $kind,
            text: include_str!(concat!("../../../web/", $file)),
            served: OnceLock::new(),
        }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// The app and its client library. Paths other than `/` lie under two prefixes, which a balancer in front of several services can tell.
pub(super) static APP: [File; 24] = files![
    "/" is HTML "app/index.html",
    "/app/comments.js" is SCRIPT "app/comments.js",
    "/app/compose.js" is SCRIPT "app/compose.js",
    "/app/conversations.js" is SCRIPT "app/conversations.js",
    "/app/dom.js" is SCRIPT "app/dom.js",
    "/app/effects.js" is SCRIPT "app/effects.js",
    "/app/feed.js" is SCRIPT "app/feed.js",
    "/app/icon.svg" is PICTURE "app/icon.svg",
    "/app/live.js" is SCRIPT "app/live.js",
    "/app/main.js" is SCRIPT "app/main.js",
    "/app/messages.js" is SCRIPT "app/messages.js",
    "/app/notifications.js" is SCRIPT "app/notifications.js",
    "/app/parts.css" is STYLE "app/parts.css",
    "/app/people.js" is SCRIPT "app/people.js",
    "/app/post_card.js" is SCRIPT "app/post_card.js",
    "/app/post_page.js" is SCRIPT "app/post_page.js",
    "/app/posts.js" is SCRIPT "app/posts.js",
    "/app/profile.js" is SCRIPT "app/profile.js",
    "/app/providers.js" is SCRIPT "app/providers.js",
    "/app/router.js" is SCRIPT "app/router.js",
    "/app/sign_in.js" is SCRIPT "app/sign_in.js",
    "/app/style.css" is STYLE "app/style.css",
    "/app/timeline.js" is SCRIPT "app/timeline.js",
    "/client/soundoff.js" is SCRIPT "client/soundoff.js",
];

/// A page to try frames on.
pub(super) static CONSOLE: [File; 3] = files![
    "/console" is HTML "console/index.html",
    "/console/console.css" is STYLE "console/console.css",
    "/console/console.js" is SCRIPT "console/console.js",
];

/// What operators look at.
pub(crate) static OPS: [File; 11] = files![
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

impl File {
    fn served(&self) -> &Served {
        self.served.get_or_init(|| {
            let text = if self.kind == HTML { self.text.to_owned() } else { slim(self.text) };
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            // It need not withstand anybody: all files are ours.
            Served { tag: format!("\"{:016x}\"", hasher.finish()), bytes: text.into() }
        })
    }
}

/// Without what is there for readers of the repository, a quarter of all bytes: comments, indentation, and spaces around punctuation. Lines
/// keep their numbers.
fn slim(text: &str) -> String {
    let mut slim = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        let comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        if !comment {
            slim.push_str(&squeezed(line));
        }
        slim.push('\n');
    }
    slim
}

/// Where spaces mean nothing, in a script and in a style.
const SPACED: [(&str, &str); 20] = [
    (" = ", "="),
    (" => ", "=>"),
    (" && ", "&&"),
    (" || ", "||"),
    (" ?? ", "??"),
    (" ? ", "?"),
    (" === ", "==="),
    (" !== ", "!=="),
    (" > ", ">"),
    (" < ", "<"),
    ("if (", "if("),
    ("for (", "for("),
    ("while (", "while("),
    (", ", ","),
    ("; ", ";"),
    (": ", ":"),
    (" {", "{"),
    ("{ ", "{"),
    (" }", "}"),
    (";}", "}"),
];

/// A line without such spaces outside of its quoted texts. A line that may hold a text of another kind, a pattern or an escape is left as it is.
fn squeezed(line: &str) -> String {
    if line.contains(['`', '/', '\\']) {
        return line.to_owned();
    }
    let bare = |part: &str| SPACED.iter().fold(part.to_owned(), |part, (from, to)| part.replace(from, to));
    let parts = line.split('"').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { bare(part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("\"")
}

/// Has browsers fetch what a page is made of at once, not as its modules ask for each other.
fn preloads(files: &[File]) -> String {
    let link = |file: &File| match file.kind {
        SCRIPT => Some(format!("<{}>;rel=modulepreload", file.path)),
        STYLE => Some(format!("<{}>;rel=preload;as=style", file.path)),
        _ => None,
    };
    files.iter().filter_map(link).collect::<Vec<_>>().join(",")
}

/// The answer, if one of `files` is asked for. Browsers keep files and ask each time whether they are still good: a new build shows at once.
pub(crate) fn answer<B>(
    files: &'static [File],
    policy: &HeaderValue,
    request: &Request<B>,
) -> Option<Answer> {
    let file = files.iter().find(|file| file.path == request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(method_not_allowed("GET"));
    }
    let Served { bytes, tag } = file.served();
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tags| names_tag(tags, tag));
    let mut response = Response::new(Full::new(if known { Bytes::new() } else { bytes.clone() }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    if file.kind == HTML {
        let link = HeaderValue::from_str(&preloads(files)).expect("paths are ASCII");
        headers.insert(header::LINK, link);
    }
    headers.insert(header::ETAG, HeaderValue::from_str(tag).expect("hex is ASCII"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(whole(response))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use http_body_util::BodyExt as _;

    use super::*;

    /// The most bytes of the app, its client library included.
    const BUDGET: usize = 100_000;

    fn lies_in(folder: &str) -> BTreeMap<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web").join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap()))
            .collect()
    }

    async fn get(path: &str, known: Option<&str>) -> Option<(StatusCode, hyper::HeaderMap, Bytes)> {
        let mut request = Request::get(path);
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let folders = [("/console", &CONSOLE[..]), ("/ops", &OPS)];
        let of = folders.into_iter().find(|(folder, _)| path.starts_with(folder));
        let files = of.map_or(&APP[..], |(_, files)| files);
        let answer = answer(files, &policy(None), &request.body(()).unwrap())?;
        let (parts, body) = answer.into_parts();
        Some((parts.status, parts.headers, body.collect().await.unwrap().to_bytes()))
    }

    #[tokio::test]
    async fn every_file_that_lies_there_is_served() {
        for folder in ["app", "console", "ops"] {
            for (name, text) in lies_in(folder) {
                let index = if folder == "app" { "/".to_owned() } else { format!("/{folder}") };
                let path = if name == "index.html" { index } else { format!("/{folder}/{name}") };
                let (status, headers, body) =
                    get(&path, None).await.unwrap_or_else(|| panic!("no row for {path}"));
                let bare = |text: &str| text.split_whitespace().collect::<String>().replace(";}", "}");
                let code =
                    text.lines().filter(|line| !line.trim_start().starts_with("/")).collect::<String>();
                let expected = if name.ends_with(".html") { &text } else { &code };
                let body = std::str::from_utf8(&body).unwrap();
                assert_eq!((status, bare(body)), (StatusCode::OK, bare(expected)), "{path}");
                assert_eq!(body.lines().count(), text.lines().count(), "{path}");
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
    fn what_is_left_out_is_neither_code_nor_text() {
        assert_eq!(slim("/* a */\n  // b\n  c(\"//\"); // d\n"), "\n\nc(\"//\"); // d\n");
        let style = "@media (f: 1) {\n  .a:hover > .b { c: d, e; }\n  g { h: calc(1 + 2); }\n}";
        assert_eq!(slim(style), "@media (f:1){\n.a:hover>.b{c:d,e}\ng{h:calc(1 + 2)}\n}\n");
        let script = "if (a === b) { c = { d: \"e: { f }, g\" }; }";
        assert_eq!(slim(script), "if(a===b){c={d:\"e: { f }, g\"}}\n");
        for left in ["a = `b, c`;", "a = /b, c/;", "a = \"b\\\", \";"] {
            assert_eq!(squeezed(left), left);
        }
        for file in APP.iter().chain(&CONSOLE).chain(&OPS).filter(|file| file.kind == SCRIPT) {
            for (at, line) in file.text.lines().enumerate() {
                let place = format!("{} line {}", file.path, at + 1);
                let code = !line.trim_start().starts_with("//");
                assert_eq!(
                    line.matches('`').count() % 2,
                    0,
                    "{place}: a text over several lines would change"
                );
                assert!(!code || !line.contains(" '"), "{place}: texts are in double quotes");
            }
        }
    }

    #[tokio::test]
    async fn pages_have_all_their_files_fetched_at_once_and_run_nothing_inline() {
        for (page, files) in [("/", &APP[..]), ("/console", &CONSOLE), ("/ops", &OPS)] {
            let (_, headers, body) = get(page, None).await.unwrap();
            let link = headers[header::LINK].to_str().unwrap();
            let waits = |file: &&File| {
                matches!(file.kind, SCRIPT | STYLE) && !link.contains(&format!("<{}>", file.path))
            };
            assert!(files.iter().find(waits).is_none(), "{link}");
            let body = std::str::from_utf8(&body).unwrap();
            assert!(!body.contains("<style") && !body.contains("style=") && !body.contains(" on"), "{page}");
            assert!(body.split("<script").skip(1).all(|tag| tag.contains("src=")), "{page}");
        }
    }

    #[test]
    fn the_app_is_small() {
        let bytes: usize = APP.iter().map(|file| file.served().bytes.len()).sum();
        assert!(bytes < BUDGET, "{bytes} bytes");
    }
}
