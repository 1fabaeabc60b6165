//! The path below which proxies hand on requests, and how requests are made plain.

use std::str::FromStr;

use hyper::{Method, Request, Uri};

/// A path in front of all of ours, such as `/soundoff`; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl FromStr for BasePath {
    type Err = String;

    /// Reads one as it is written in `--base-path`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_end_matches('/');
        let is_fit = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        if !path.is_empty() && (!path.starts_with('/') || path.contains("//") || !path.bytes().all(is_fit)) {
            return Err(format!("`{text}` is no path; write one such as /soundoff"));
        }
        Ok(Self(path.to_owned()))
    }
}

impl BasePath {
    /// A path as we know it. Some proxies take the base away, and some hand it on.
    #[must_use]
    pub fn within<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&*self.0).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    /// Whether a path leads to `ours`.
    #[must_use]
    pub fn leads_to(&self, path: &str, ours: &str) -> bool {
        self.within(path).trim_end_matches('/') == ours
    }

    /// Makes a request plain: without the base; HEAD is GET, whose body the server leaves out; and a call's path may end
    /// with a slash.
    pub fn plain<B>(&self, request: &mut Request<B>) {
        if request.method() == Method::HEAD {
            *request.method_mut() = Method::GET;
        }
        let path = request.uri().path();
        let mut plain = self.within(path);
        if plain.starts_with("/v1/") {
            plain = plain.trim_end_matches('/');
        }
        if plain.len() == path.len() {
            return;
        }
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        // A part of a URI's path is a path, too.
        if let Ok(uri) = format!("{plain}{query}").parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_made_plain() {
        let base: BasePath = "/soundoff/".parse().unwrap();
        for (method, uri, expected) in [
            (Method::HEAD, "/v1/auth/ways/", "/v1/auth/ways"),
            (Method::GET, "/v1/media/1//?size=thumb", "/v1/media/1?size=thumb"),
            (Method::GET, "/?fbclid=1", "/?fbclid=1"),
            (Method::GET, "//", "//"),
            (Method::GET, "/ops/", "/ops/"),
            (Method::GET, "/soundoff/", "/"),
            (Method::GET, "/soundoff/v1/ws/?a=/", "/v1/ws?a=/"),
            (Method::GET, "/soundoffs/v1", "/soundoffs/v1"),
            (Method::GET, "/soundoff", "/soundoff"),
        ] {
            let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
            base.plain(&mut request);
            assert_eq!((request.method(), &*request.uri().to_string()), (&Method::GET, expected), "{uri}");
        }
    }

    #[test]
    fn what_is_no_path_is_named() {
        for bad in ["soundoff", "/a b", "//a", "/a?b", "/a#b", "https://a/b"] {
            assert!(bad.parse::<BasePath>().unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!("/".parse(), Ok(BasePath::default()));
    }
}
