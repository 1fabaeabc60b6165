//! Which pages of the web may talk to a public port: the server's own, and those that an operator lists.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};

/// What `--origins` takes, in words for people.
pub const EXAMPLES: &str =
    "https://app.example.org, https://*.example.org, http://localhost:5173, capacitor://localhost or null";

/// An origin, or all subdomains of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// One, as browsers write it: `scheme://host[:port]`.
    Exact(String),
    /// All hosts below another one, with this scheme and port: `https://`, `.example.org:8443`.
    Below(String, String),
    /// Pages without an origin: files, and frames in a sandbox. Anybody can make one.
    Null,
}

impl FromStr for Origin {
    type Err = String;

    /// Reads one as it is written in `--origins`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| Err(format!("`{text}` {why}; write {EXAMPLES}"));
        if text == "null" {
            return Ok(Self::Null);
        }
        if text == "*" {
            return wrong("would let every page of the web sign its visitors in");
        }
        let Some((scheme, host)) = text.split_once("://") else { return wrong("has no scheme") };
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !is_scheme {
            return wrong("has no scheme");
        }
        // Browsers leave it out.
        let usual = match &*scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let host = host.strip_suffix(usual).unwrap_or(&host);
        let (all_below, host) = match host.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, host),
        };
        if host.contains(['/', '?', '#']) {
            return wrong("has a path: an origin is scheme, host and port");
        }
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b)) {
            return wrong("names no host");
        }
        if !all_below {
            return Ok(Self::Exact(format!("{scheme}://{host}")));
        }
        if !host.contains('.') {
            return wrong("is far too many hosts");
        }
        Ok(Self::Below(format!("{scheme}://"), format!(".{host}")))
    }
}

impl Origin {
    fn is(&self, origin: &str) -> bool {
        match self {
            Self::Exact(one) => origin == one,
            Self::Below(scheme, host) => {
                let below = origin.strip_prefix(&**scheme).and_then(|name| name.strip_suffix(&**host));
                below.is_some_and(|name| !name.is_empty() && !name.contains(['/', ':', '@']))
            }
            Self::Null => origin == "null",
        }
    }
}

/// Those that may.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    listed: Arc<[Origin]>,
    /// Also all pages of this machine.
    loopback: bool,
    /// Also all pages of the address that was asked, if it is written as one.
    addresses: bool,
}

/// A request of a page that may not talk to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger;

impl Stranger {
    /// What to do about it.
    pub const DETAIL: &'static str =
        "pages of this origin may not use this server: start it with --origins that name it";
}

impl Origins {
    /// These, beside the server's own.
    #[must_use]
    pub fn new(listed: &[Origin]) -> Self {
        Self { listed: listed.into(), ..Self::default() }
    }

    /// And all pages that come from this machine, as a developer's do.
    #[must_use]
    pub fn and_loopback(self) -> Self {
        Self { loopback: true, ..self }
    }

    /// And all pages that come from the address that a request is for, as those of a developer's machine do for others
    /// in the local network. An address is no name: nobody can make it lead elsewhere.
    #[must_use]
    pub fn and_addresses(self) -> Self {
        Self { addresses: true, ..self }
    }

    /// The origin of a request's page, if a page of another origin makes it that may.
    ///
    /// # Errors
    /// The page may not. A client that is no browser sends no origin, and may.
    pub fn judge<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, Stranger> {
        let Some(value) = headers.get(header::ORIGIN) else { return Ok(None) };
        let origin = value.to_str().map_err(|_| Stranger)?;
        let (scheme, host) = origin.split_once("://").unwrap_or_default();
        if matches!(scheme, "http" | "https") {
            let own = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
            // A name that leads to this machine may be anybody's (DNS rebinding).
            if host.as_bytes().eq_ignore_ascii_case(own) && !self.loopback {
                return Ok(Some(value));
            }
            let asked = std::str::from_utf8(own).ok().and_then(address_in);
            if self.addresses && asked.is_some() && asked == address_in(host) {
                return Ok(Some(value));
            }
        }
        if self.lists(origin) { Ok(Some(value)) } else { Err(Stranger) }
    }

    /// Whether an origin is listed, or is this machine where its pages may.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        let (scheme, host) = origin.split_once("://").unwrap_or_default();
        let is_here = self.loopback && matches!(scheme, "http" | "https") && is_loopback(host);
        is_here || self.listed.iter().any(|listed| listed.is(origin))
    }
}

/// A host without its port.
fn name_in(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    }
}

/// Whether a host, perhaps with a port, is this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    matches!(name_in(host), "localhost" | "127.0.0.1" | "[::1]")
}

/// The address that a host is, perhaps with a port; none if it is a name.
#[must_use]
pub fn address_in(host: &str) -> Option<IpAddr> {
    let name = name_in(host);
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(origins: &Origins, host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        origins.judge(&headers).is_ok()
    }

    #[test]
    fn a_page_may_if_it_is_our_own_or_listed() {
        let listed = [
            "https://app.example.org",
            "HTTPS://Shop.Example.org:443",
            "https://*.example.net",
            "http://*.test.example:81",
        ];
        let listed: Vec<Origin> =
            [&listed[..], &["capacitor://localhost"]].concat().iter().map(|o| o.parse().unwrap()).collect();
        let origins = Origins::new(&listed);
        for good in [
            "https://app.example.org",
            "https://shop.example.org",
            "https://a.example.net",
            "https://a.b.example.net",
            "http://x.test.example:81",
            "capacitor://localhost",
            "https://api.example.org",
            "http://api.example.org",
        ] {
            assert!(may(&origins, "api.example.org", good), "{good}");
        }
        for bad in [
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.example",
            "https://evilapp.example.org",
            "https://example.net",
            "https://aexample.net",
            "https://a.example.net:444",
            "https://evil.example/.example.net",
            "https://user@a.example.net",
            "http://x.test.example",
            "capacitor://evil",
            "null",
            "",
            "http://localhost:5173",
            "file://",
        ] {
            assert!(!may(&origins, "api.example.org", bad), "{bad}");
        }
        assert_eq!(origins.judge(&HeaderMap::new()), Ok(None), "no browser");
        assert!(may(&Origins::new(&[Origin::Null]), "x", "null"));
    }

    #[test]
    fn a_developers_pages_are_those_of_this_machine() {
        let origins = Origins::default().and_loopback();
        for good in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:3000", "http://localhost"] {
            assert!(may(&origins, "127.0.0.1:8080", good), "{good}");
        }
        for bad in [
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example:80",
            "http://192.168.1.5:5173",
            "http://127.0.0.2",
            "ftp://localhost",
            "null",
            "http://localhost:80@evil.example",
        ] {
            assert!(!may(&origins, "127.0.0.1:8080", bad), "{bad}");
        }
        assert!(!may(&origins, "evil.example:8080", "http://evil.example:8080"), "DNS rebinding");
    }

    #[test]
    fn the_pages_of_an_address_may_use_it_where_names_may_not() {
        let origins = Origins::default().and_loopback().and_addresses();
        for (host, origin) in [
            ("192.168.1.20:8080", "http://192.168.1.20:8080"),
            ("192.168.1.20:8080", "http://192.168.1.20:5173"),
            ("10.0.2.2", "http://10.0.2.2"),
            ("[fd00::1]:8080", "http://[fd00::1]:8080"),
            ("192.168.1.20:8080", "http://localhost:5173"),
        ] {
            assert!(may(&origins, host, origin), "{origin} of {host}");
        }
        for (host, origin) in [
            ("192.168.1.20:8080", "http://192.168.1.21:8080"),
            ("192.168.1.20:8080", "http://192.168.1.20.evil.example:8080"),
            ("evil.example:8080", "http://evil.example:8080"),
            ("evil.example", "http://192.168.1.20"),
            ("192.168.1.20:80@evil.example", "http://192.168.1.20:80@evil.example"),
            ("192.168.1.20", "ftp://192.168.1.20"),
        ] {
            assert!(!may(&origins, host, origin), "{origin} of {host}");
        }
        assert!(
            !may(&Origins::default().and_loopback(), "10.0.0.1:80", "http://10.0.0.1:80"),
            "only if asked"
        );
        for (host, address) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]:8080", Some("::1")),
            ("::1", None),
            ("1.2.3", None),
            ("0x7f.1:80", None),
            ("", None),
        ] {
            assert_eq!(address_in(host), address.map(|it| it.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for bad in [
            "*",
            "app.example.org",
            "https://",
            "https://a b",
            "https://a/b",
            "https://*.org",
            "://a",
            "https://*",
        ] {
            let error = bad.parse::<Origin>().unwrap_err();
            assert!(error.contains(bad) && error.contains("capacitor://localhost"), "{error}");
        }
    }
}
