//! In which coding a client gets an answer: what `Accept-Encoding` asks for (RFC 9110, 12.5.3).

use hyper::header::{self, HeaderMap};

/// A content coding that we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
}

/// From the largest result to the smallest: of codings that a client likes as well, the last one is chosen.
const BY_SIZE: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Brotli];
/// The smallest quality value above 0: what a client has not excluded, but does not ask for.
const LEAST: f32 = 0.001;

impl Coding {
    /// Its name in headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    /// The coding that the client likes best; `None` when it excludes all of them.
    #[must_use]
    pub fn choose(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            // Anything would do, but a client that does not ask may not know how to unpack.
            return Some(Self::Identity);
        }
        let lists =
            headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|list| list.to_str().ok());
        let wishes: Vec<_> = lists.flat_map(|list| list.split(',')).map(wish).collect();
        let named = |name: &str| wishes.iter().find(|(wish, _)| wish.eq_ignore_ascii_case(name));
        let quality = |coding: Self| match named(coding.name()).or_else(|| named("*")) {
            Some((_, quality)) => *quality,
            None if coding == Self::Identity => LEAST,
            None => 0.0,
        };
        let best = BY_SIZE.into_iter().max_by(|one, other| quality(*one).total_cmp(&quality(*other)))?;
        (quality(best) > 0.0).then_some(best)
    }
}

/// One item of the list, such as `gzip;q=0.5`: the coding's name and its quality value. One that makes no sense
/// excludes the coding.
fn wish(item: &str) -> (&str, f32) {
    let Some((name, parameter)) = item.split_once(';') else { return (item.trim(), 1.0) };
    let parameter = parameter.trim();
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    let quality = value.and_then(|value| value.parse().ok()).filter(|quality| (0.0..=1.0).contains(quality));
    (name.trim(), quality.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best_and_the_smallest_of_equals() {
        let chosen = |lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(header::ACCEPT_ENCODING, list.parse().unwrap());
            }
            Coding::choose(&headers).map(Coding::name)
        };
        assert_eq!(chosen(&[]), Some("identity"), "it does not ask");
        for (list, coding) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("br;q=0.5, gzip;q=0.9", Some("gzip")),
            ("gzip", Some("gzip")),
            ("GZIP;Q=1", Some("gzip")),
            ("gzip ; q=0.001", Some("gzip")),
            ("identity, gzip;q=0.5", Some("identity")),
            ("identity;q=0.5, gzip;q=0.5", Some("gzip")),
            ("*", Some("br")),
            ("*;q=0.5, gzip", Some("gzip")),
            ("br;q=0, *", Some("gzip")),
            ("deflate", Some("identity")),
            ("", Some("identity")),
            ("gzip;q=0", Some("identity")),
            ("gzip;q=2, br;q=NaN, br;x=1", Some("identity")),
            ("identity;q=0, gzip", Some("gzip")),
            ("*;q=0, br", Some("br")),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("deflate, identity;q=0.0", None),
        ] {
            assert_eq!(chosen(&[list]), coding, "{list}");
        }
        assert_eq!(chosen(&["gzip", "br"]), Some("br"), "two lists are one");
    }
}
