//! Who a connection comes from, as far as addresses say it.

use std::net::{IpAddr, Ipv6Addr};

use hyper::HeaderMap;

/// The client's address. Each of our `proxies` adds the address that it heard from to the end of `X-Forwarded-For`;
/// anything before that, anybody can have written. Without proxies it is the `other_end` of the connection.
#[must_use]
pub fn client(headers: &HeaderMap, other_end: Option<IpAddr>, proxies: usize) -> Option<IpAddr> {
    if proxies == 0 {
        return other_end;
    }
    let lists = headers.get_all("x-forwarded-for").into_iter().filter_map(|list| list.to_str().ok());
    let all: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    let at = all.len().checked_sub(proxies);
    at.and_then(|at| all[at].parse().ok()).or(other_end)
}

/// Whom a limit by address counts: an IPv4 address, or the /64 of an IPv6 one, since a host that has one address of it
/// has them all.
#[must_use]
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_the_address_that_our_outermost_proxy_heard() {
        let balancer: IpAddr = "10.0.0.1".parse().unwrap();
        let asked = |lists: &[&str], proxies| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            client(&headers, Some(balancer), proxies).unwrap().to_string()
        };
        assert_eq!(asked(&["9.9.9.9"], 0), "10.0.0.1", "nobody is believed without proxies");
        assert_eq!(asked(&["203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(
            asked(&["9.9.9.9, 203.0.113.7"], 1),
            "203.0.113.7",
            "what the client wrote is not believed"
        );
        assert_eq!(asked(&["9.9.9.9", "203.0.113.7"], 1), "203.0.113.7", "two lists are one");
        assert_eq!(asked(&["203.0.113.7, 10.9.9.9"], 2), "203.0.113.7");
        assert_eq!(asked(&["2001:db8::1"], 1), "2001:db8::1");
        for unclear in [&[][..], &["rubbish"], &[""]] {
            assert_eq!(asked(unclear, 1), "10.0.0.1", "{unclear:?}");
        }
        assert_eq!(asked(&["203.0.113.7"], 2), "10.0.0.1", "a list too short for the proxies");
    }

    #[test]
    fn a_household_is_one_and_others_are_not() {
        let of = |address: &str| household(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::1"), "the same /64");
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"), "one address, two spellings");
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
