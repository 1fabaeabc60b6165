//! Whether browsers are told to ask a host by TLS only (HSTS, RFC 6797).

use hyper::header::{self, HeaderMap, HeaderValue};

/// For which hosts browsers are told to use TLS only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hosts {
    /// For none.
    None,
    /// For the one that they asked.
    #[default]
    Asked,
    /// For all below its name as well.
    Subdomains,
}

/// What is said to browsers that came by TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsOnly(Option<HeaderValue>);

impl TlsOnly {
    /// Said for `hosts`, for a year, behind so many `proxies` of ours. Without one nothing says how a request came, but
    /// what the client itself wrote.
    #[must_use]
    pub fn new(hosts: Hosts, proxies: usize) -> Self {
        Self(match hosts {
            _ if proxies == 0 => None,
            Hosts::None => None,
            Hosts::Asked => Some(HeaderValue::from_static("max-age=31536000")),
            Hosts::Subdomains => Some(HeaderValue::from_static("max-age=31536000; includeSubDomains")),
        })
    }

    /// Adds it to the answer to a request that came by TLS, as our outermost proxy says.
    pub fn mark(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        if let Some(only) = self.0.as_ref().filter(|_| is_by_tls(asked)) {
            answer.insert(header::STRICT_TRANSPORT_SECURITY, only.clone());
        }
    }
}

fn is_by_tls(asked: &HeaderMap) -> bool {
    asked.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_to_those_who_came_by_tls_through_a_proxy_of_ours() {
        let said = |hosts, proxies, proto: &'static str| {
            let (mut asked, mut answer) = (HeaderMap::new(), HeaderMap::new());
            asked.insert("x-forwarded-proto", HeaderValue::from_static(proto));
            TlsOnly::new(hosts, proxies).mark(&asked, &mut answer);
            answer.remove(header::STRICT_TRANSPORT_SECURITY).map(|only| only.to_str().unwrap().to_owned())
        };
        assert_eq!(said(Hosts::Asked, 1, "https").as_deref(), Some("max-age=31536000"));
        let all = said(Hosts::Subdomains, 2, "https");
        assert_eq!(all.as_deref(), Some("max-age=31536000; includeSubDomains"));
        for hosts in [Hosts::None, Hosts::Asked, Hosts::Subdomains] {
            assert_eq!(said(hosts, 1, "http"), None, "{hosts:?}: browsers forget what they hear without TLS");
            assert_eq!(said(hosts, 0, "https"), None, "{hosts:?}: nobody is believed without proxies");
        }
        assert_eq!(said(Hosts::None, 1, "https"), None);
    }
}
