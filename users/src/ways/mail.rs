//! Mail addresses in their one spelling.

use std::str::FromStr as _;

use icu_normalizer::ComposingNormalizer;
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use soundoff_common::invisible::is_invisible;

use crate::ways::spelling::{Spelled, narrow, trimmed};

/// The longest address (RFC 5321's path, without its brackets).
const MAX_BYTES: usize = 254;
/// The longest part before the `@` (RFC 5321).
const MAX_LOCAL_BYTES: usize = 64;

/// Reads an address as somebody typed or pasted it; the error says what to do.
///
/// The part before the `@` is in lower case, since hardly any mail system still distinguishes it by case and people are
/// not consistent in it, and composed (NFC, as RFC 6532 has it). The domain is as the DNS has it (UTS 46,
/// non-transitional).
pub(crate) fn read(typed: &str) -> Result<Spelled, &'static str> {
    let text = trimmed(typed);
    let (local, domain) = match text.rsplit_once(['@', '\u{FF20}', '\u{FE6B}']) {
        Some((local, domain)) => (local, trimmed_dot(domain)),
        None => return Err("`email` is no mail address, such as anna@example.org"),
    };
    if text.len() > 4 * MAX_BYTES {
        return Err("`email` is too long for a mail address");
    }
    if local.starts_with('"') || local.ends_with('"') {
        return Err(
            "`email` has a quoted part, which no code is sent to; give an address such as anna@example.org",
        );
    }
    if domain.starts_with('[') {
        return Err(
            "`email` names a machine by its number; give an address with a domain, such as anna@example.org",
        );
    }
    // Persian and Indian domains are spelled with joiners; UTS 46 says where.
    let is_joiner = |c| matches!(c, '\u{200C}' | '\u{200D}');
    if local.chars().any(is_invisible) || domain.chars().any(|c| is_invisible(c) && !is_joiner(c)) {
        return Err("`email` has an invisible character in it; type the address instead of pasting it");
    }
    let composed = ComposingNormalizer::new_nfc();
    let plain: String = local.chars().map(narrow).collect();
    let local = composed.normalize(&plain.to_lowercase()).into_owned();
    let domain = ascii(domain)?;
    let value = format!("{local}@{domain}");
    // The mail library reads it again when it is sent.
    if local.len() > MAX_LOCAL_BYTES || value.len() > MAX_BYTES || lettre::Address::from_str(&value).is_err()
    {
        return Err("`email` is no mail address, such as anna@example.org");
    }
    let former = former(typed, &local, &domain, &value);
    Ok(Spelled { value, former })
}

/// A name with the dot of the DNS's root is the same name; a sentence may have ended there, too.
fn trimmed_dot(domain: &str) -> &str {
    domain.strip_suffix(['.', '\u{3002}', '\u{FF0E}', '\u{FF61}']).unwrap_or(domain)
}

/// The name of a mail host as the DNS has it.
fn ascii(domain: &str) -> Result<String, &'static str> {
    const NO_HOST: &str =
        "`email` has no domain that mail can go to after its `@`; look for a mistyped letter";
    let found = Uts46::new().to_ascii(
        domain.as_bytes(),
        AsciiDenyList::STD3,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    let found = found.map_err(|_| NO_HOST)?.into_owned();
    match found.rsplit_once('.') {
        Some((_, top)) if top.bytes().any(|b| b.is_ascii_alphabetic()) => Ok(found),
        Some(_) => Err(
            "`email` names a machine by its number; give an address with a domain, such as anna@example.org",
        ),
        None => Err("`email` has a domain without a dot; give the whole address, such as anna@example.org"),
    }
}

/// How version 0.1.0 stored the address when it was typed like this, or with its domain in its own script. Codes went
/// to that mailbox; so it has to be the one of `value`.
fn former(typed: &str, local: &str, domain: &str, value: &str) -> Vec<String> {
    let as_typed = typed.trim().to_lowercase();
    let same_box = as_typed
        .rsplit_once('@')
        .is_some_and(|(before, _)| ComposingNormalizer::new_nfc().normalize(before) == local);
    let (own_script, _) =
        Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let mut former: Vec<String> = same_box.then_some(as_typed).into_iter().collect();
    former.push(format!("{local}@{own_script}"));
    former.retain(|spelling| spelling != value);
    former.dedup();
    former
}

#[cfg(test)]
#[path = "mail_tests.rs"]
mod tests;
