//! What a program calls itself in `User-Agent`, in words that its user knows: `Firefox on Linux`.

use hyper::HeaderMap;
use hyper::header::USER_AGENT;

/// The browsers, by what only they say; those that many pretend to be come last.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];
/// The longest name of a program that is no browser.
const MAX_NAME: usize = 40;

/// The program that made a request.
pub(crate) fn client(headers: &HeaderMap) -> Option<String> {
    named(headers.get(USER_AGENT)?.to_str().ok()?)
}

fn named(agent: &str) -> Option<String> {
    let known = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    let own = || {
        let name = agent.split(['/', ' ', '(']).next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (!name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain)).then_some(name)
    };
    let program = known(BROWSERS).or_else(own)?;
    Some(known(SYSTEMS).map_or_else(|| program.to_owned(), |system| format!("{program} on {system}")))
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn programs_have_names_that_their_users_know() {
        for (agent, name) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
                "Safari on macOS",
            ),
            ("okhttp/4.12.0", "okhttp"),
            ("Town/12 CFNetwork/1568.200.51 Darwin/24.1.0", "Town"),
            ("curl/8.5.0", "curl"),
            ("node", "node"),
        ] {
            assert_eq!(named(agent).as_deref(), Some(name), "{agent}");
        }
        for nameless in ["", "/1", "<script>", "a\u{e4}", &"x".repeat(41)] {
            assert_eq!(named(nameless), None, "{nameless}");
        }
    }
}
