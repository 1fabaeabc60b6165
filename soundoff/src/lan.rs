//! `up --lan`: who in the local network may ask for what, and the URL that they open.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use soundoff_common::announce;
use soundoff_common::web::http::{Answer, Peer, refuse};
use soundoff_common::web::origins::{address_in, is_loopback};
use soundoff_common::web::pairing::{Pairing, Unpaired};

use crate::files;

/// What is for developers only, and all that lies below it. The files of its pages are for all: they read the secret
/// from the address of the page, which browsers send to nobody.
const DEVELOPERS: [&str; 3] = ["/dev", "/ops", "/console"];
/// What says that a request was handed on by a proxy: then its connection does not say where it comes from.
const HANDED_ON: [&str; 2] = ["x-forwarded-for", "forwarded"];
/// The most addresses that are printed: a machine with containers has one for each network.
const MOST_PRINTED: usize = 4;

/// Judges the hosts that a developer's server is asked as. A name may be anybody's: a page on the web can make this
/// machine's browser ask us by it (DNS rebinding). `lan` says whether addresses are right.
///
/// # Errors
/// The refusal to answer with.
pub(crate) fn judge_host(headers: &HeaderMap, lan: Option<&Pairing>) -> Result<(), Box<Answer>> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let detail = match (lan, address_in(host)) {
        _ if is_loopback(host) => return Ok(()),
        (Some(_), Some(_)) => return Ok(()),
        (Some(_), None) => "use the address that `up --lan` has printed: a name may be anybody's",
        (None, Some(_)) => {
            "use http://127.0.0.1 or http://localhost; for phones, and emulators that ask for 10.0.2.2, \
             start it with `soundoff up --lan`"
        }
        (None, None) => "use http://127.0.0.1 or http://localhost",
    };
    Err(Box::new(refuse(StatusCode::MISDIRECTED_REQUEST, "forbidden", detail)))
}

/// Judges who asks for what is for developers only: this machine may, and who shows the pairing secret.
///
/// # Errors
/// The refusal to answer with.
pub(crate) fn judge_developer<B>(request: &Request<B>, pairing: &Pairing) -> Result<(), Box<Answer>> {
    let path = request.uri().path();
    let below =
        |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !DEVELOPERS.into_iter().any(below) || files::is_file(path) {
        return Ok(());
    }
    let headers = request.headers();
    // Callers that cannot be distinguished are strangers, and one.
    let from = request.extensions().get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0.to_canonical());
    if from.is_loopback() && !HANDED_ON.into_iter().any(|name| headers.contains_key(name)) {
        return Ok(());
    }
    pairing.judge(headers, from).map_err(|unpaired| {
        let detail = match unpaired {
            Unpaired::Missing => {
                "open the URL with #pair= that `up --lan` has printed, or send the pairing secret as soundoff-pairing"
            }
            Unpaired::Wrong => "that is not the pairing secret that `up --lan` has printed",
            Unpaired::Ended => "too many wrong pairing secrets came from here: start `up --lan` again",
        };
        let mut refusal = refuse(StatusCode::UNAUTHORIZED, "unpaired", detail);
        let challenge = HeaderValue::from_static("SoundOff-Pairing");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Box::new(refusal)
    })
}

/// Says where phones find a server that listens at `address`, and how they are paired.
pub(crate) fn greet(address: SocketAddr, pairing: &Pairing) {
    let secret = pairing.text();
    let urls: Vec<_> =
        reachable(address).iter().map(|address| format!("http://{address}/#pair={secret}")).collect();
    match urls.first() {
        Some(first) => announce!("  phone      {first}"),
        None => announce!("  phone      this machine is in no network"),
    }
    for other in urls.iter().skip(1) {
        announce!("             {other}");
    }
    announce!("  emulator   http://10.0.2.2:{}/  (what Android's has for this machine)", address.port());
    announce!("  pairing    {secret}  (for tokens, outbox, /ops and /console from elsewhere)");
    if let Some(first) = urls.first().filter(|_| std::io::stdout().is_terminal()) {
        // White on black, whatever the terminal's own colours are.
        picture(first).lines().for_each(|line| announce!("  \u{1b}[97;40m{line}\u{1b}[0m"));
    }
}

/// A text as a picture of characters, for cameras; empty when it is too long for one.
fn picture(text: &str) -> String {
    let code = QrCode::new(text);
    // What is light in the picture is drawn, and what is dark is left out.
    let draw = |code: QrCode| {
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
    };
    code.map(draw).unwrap_or_default()
}

/// Where others reach what listens at `listening`: by the way to everywhere else first, and by IPv4 before IPv6.
fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    let (ip, port) = (listening.ip(), listening.port());
    if !ip.is_unspecified() {
        return vec![listening];
    }
    let is_usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        // An address of one link needs the link's name, which no URL has.
        IpAddr::V6(v6) => listening.is_ipv6() && !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut found: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).filter(is_usable).collect();
    let outward = outward();
    found.sort_by_key(|ip| (Some(*ip) != outward, ip.is_ipv6()));
    found.truncate(MOST_PRINTED);
    found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// This machine's address on its way out. Nothing is sent for it.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Of a network for documentation, which is everywhere else.
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use soundoff_common::web::secret::Secret;

    use super::*;

    fn pairing() -> Pairing {
        Pairing::of(&Secret::new(&[7; 32]).unwrap())
    }

    #[test]
    fn names_are_answered_if_they_are_this_machines_and_addresses_if_others_may_come() {
        let pairing = pairing();
        let judged = |host: &str, lan: Option<&Pairing>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            judge_host(&headers, lan).is_ok()
        };
        for good in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(judged(good, None) && judged(good, Some(&pairing)), "{good}");
        }
        for address in ["10.0.0.1", "10.0.2.2:8080", "[fd00::1]:8080", "192.168.1.20:80"] {
            assert!(!judged(address, None) && judged(address, Some(&pairing)), "{address}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example:8080",
            "localhost:80@evil.example",
            "10.0.0.1.example",
        ] {
            assert!(!judged(bad, None) && !judged(bad, Some(&pairing)), "{bad}");
        }
        assert!(judge_host(&HeaderMap::new(), Some(&pairing)).is_err());
    }

    #[test]
    fn developers_are_on_this_machine_or_paired() {
        let pairing = pairing();
        let ask = |path: &str, from: Option<&str>, headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut request = request.body(()).unwrap();
            if let Some(from) = from {
                request.extensions_mut().insert(Peer(from.parse().unwrap()));
            }
            judge_developer(&request, &pairing).is_ok()
        };
        let mine = [("soundoff-pairing", pairing.text())];
        for path in
            ["/dev/tokens", "/dev/outbox", "/dev", "/dev/x", "/ops/data", "/ops/letters", "/console/x"]
        {
            for local in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
                assert!(ask(path, Some(local), &[]), "{path} from {local}");
                for name in HANDED_ON {
                    assert!(!ask(path, Some(local), &[(name, "for=192.0.2.1")]), "{path}: a proxy's");
                }
            }
            for from in [Some("192.168.1.30"), Some("fd00::2"), None] {
                assert!(!ask(path, from, &[]) && ask(path, from, &mine), "{path} from {from:?}");
            }
        }
        for open in
            ["/", "/v1/auth/ways", "/app/main.js", "/ops", "/console", "/ops/ops.js", "/devices", "/opsx"]
        {
            assert!(ask(open, Some("192.168.1.30"), &[]), "{open}");
        }
    }

    #[test]
    fn a_camera_gets_a_picture_and_a_given_address_is_the_one() {
        let lines: Vec<_> =
            picture("http://192.168.1.20:8080/#pair=ABCDEFGHJKMN").lines().map(str::to_owned).collect();
        assert!(
            lines.len() > 10 && lines.iter().all(|line| line.chars().count() == lines[0].chars().count())
        );
        let given = "192.168.1.20:8080".parse().unwrap();
        assert_eq!(reachable(given), [given]);
        let all = reachable("0.0.0.0:1".parse().unwrap());
        assert!(all.iter().all(|at| at.is_ipv4() && !at.ip().is_loopback() && at.port() == 1), "{all:?}");
    }
}
