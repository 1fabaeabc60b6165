//! What the flags about passkeys take.

use soundoff_common::protocol::Role;

/// How Android names an app.
const APP: &str = "android:apk-key-hash:";
/// The SHA-256 of a certificate in base64url.
const HASH_DIGITS: usize = 43;
/// The longest name of a host (RFC 1035).
const LONGEST_DOMAIN: usize = 253;

/// A domain that passkeys may belong to.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    let domain = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    let is_name = domain.len() <= LONGEST_DOMAIN
        && domain.split('.').all(is_label)
        && top.bytes().any(|b| b.is_ascii_alphabetic())
        && (domain.contains('.') || domain == "localhost");
    if is_name {
        return Ok(domain);
    }
    Err("is no domain; write example.org: no https://, no port, no path, no number of a machine".to_owned())
}

/// An app that may use them, as Android names it.
pub(crate) fn app(text: &str) -> Result<String, String> {
    let hash = text.strip_prefix(APP).map(|hash| hash.trim_end_matches('='));
    let is_good = |hash: &&str| {
        let plain = hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain && hash.len() == HASH_DIGITS
    };
    let hash = hash.filter(is_good).ok_or_else(|| {
        format!(
            "is no app; write {APP} and the SHA-256 of its certificate in base64url, {HASH_DIGITS} letters"
        )
    })?;
    Ok(format!("{APP}{hash}"))
}

/// A role that may want one.
pub(crate) fn role(text: &str) -> Result<Role, String> {
    match text.parse()? {
        Role::User => Err("is everybody's role; write moderator, admin or both".to_owned()),
        role => Ok(role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_and_nothing_else() {
        for (text, read) in [("example.org", "example.org"), ("App.Example.ORG", "app.example.org")] {
            assert_eq!(domain(text).as_deref(), Ok(read));
        }
        assert_eq!(domain("localhost").as_deref(), Ok("localhost"));
        for wrong in [
            "",
            "org",
            "https://example.org",
            "example.org:443",
            "example.org/",
            "127.0.0.1",
            "a..b",
            "-a.org",
            "*.example.org",
            "b\u{fc}cher.example",
        ] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_app_is_named_by_its_certificate() {
        let named = format!("{APP}{}", "A-z_".repeat(10) + "abc");
        assert_eq!(app(&named), Ok(named.clone()));
        assert_eq!(app(&format!("{named}=")), Ok(named.clone()), "with its padding");
        for wrong in
            ["", "https://example.org", APP, &named[1..], &named[..named.len() - 1], &format!("{named}+")]
        {
            assert!(app(wrong).is_err(), "{wrong}");
        }
        assert_eq!((role("admin"), role("moderator")), (Ok(Role::Admin), Ok(Role::Moderator)));
        assert!(role("user").is_err() && role("root").is_err());
    }
}
