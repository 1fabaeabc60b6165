//! The secret that somebody on the local network shows, where only this machine would be let in otherwise.

use std::net::IpAddr;
use std::sync::Mutex;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hyper::header::HeaderMap;

use crate::counts::Counts;
use crate::lock::lock;
use crate::web::address::household;
use crate::web::secret::Secret;

/// The header that shows it.
pub const HEADER: &str = "soundoff-pairing";
/// Digits that nobody takes for each other, for who types it from a screen (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How many of them it has: 60 bits, which nobody finds with the tries that there are.
const LENGTH: usize = 12;
/// How many wrong ones an address may show.
const TRIES: usize = 20;
/// How many wrong ones all addresses together may show.
const ALL_TRIES: usize = 10_000;

/// One secret for a data directory, so that who is paired stays so when the process starts again.
pub struct Pairing {
    secret: String,
    wrong: Mutex<Wrong>,
}

/// The wrong ones since the process has started.
#[derive(Debug, Default)]
struct Wrong {
    each: Counts<IpAddr>,
    all: usize,
}

impl std::fmt::Debug for Pairing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pairing(…)")
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpaired {
    /// No secret was shown.
    Missing,
    /// Another one was shown.
    Wrong,
    /// Too many wrong ones were shown: none is looked at any more until the process starts again.
    Ended,
}

impl Pairing {
    /// The secret of a deployment.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let key = secret.key("pairing");
        let digits = key.iter().take(LENGTH).map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
        Self { secret: digits.collect(), wrong: Mutex::default() }
    }

    /// The secret as it is printed: letters and digits.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.secret
    }

    /// Whether a request from an address shows the secret, in any case and with any dashes.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, headers: &HeaderMap, from: IpAddr) -> Result<(), Unpaired> {
        let shown = headers.get(HEADER).ok_or(Unpaired::Missing)?;
        let shown: Vec<u8> =
            shown.as_bytes().iter().filter(|byte| **byte != b'-').map(u8::to_ascii_uppercase).collect();
        let from = household(from);
        let mut wrong = lock(&self.wrong);
        if wrong.all >= ALL_TRIES || wrong.each.of(&from) >= TRIES {
            return Err(Unpaired::Ended);
        }
        if verify_slices_are_equal(self.secret.as_bytes(), &shown).is_ok() {
            return Ok(());
        }
        wrong.each.add(from);
        wrong.all += 1;
        Err(Unpaired::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(pairing: &Pairing, secret: &str, from: [u8; 4]) -> Result<(), Unpaired> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, secret.parse().unwrap());
        pairing.judge(&headers, from.into())
    }

    #[test]
    fn who_shows_the_secret_is_let_in_however_it_is_typed() {
        let pairing = Pairing::of(&Secret::new(&[7; 32]).unwrap());
        let text = pairing.text().to_owned();
        assert!(text.len() == 12 && text.bytes().all(|byte| DIGITS.contains(&byte)), "{text}");
        assert_eq!(text, Pairing::of(&Secret::new(&[7; 32]).unwrap()).text(), "it lasts");
        assert_ne!(text, Pairing::of(&Secret::new(&[8; 32]).unwrap()).text());
        let grouped = format!("{}-{}-{}", &text[..4], &text[4..8], &text[8..]);
        for good in [text.clone(), text.to_lowercase(), grouped] {
            assert_eq!(shows(&pairing, &good, [192, 0, 2, 1]), Ok(()), "{good}");
        }
        for bad in ["", "-", &text[1..], &format!("{text}0"), "é", &"0".repeat(12)] {
            assert_eq!(shows(&pairing, bad, [192, 0, 2, 1]), Err(Unpaired::Wrong), "{bad}");
        }
        assert_eq!(pairing.judge(&HeaderMap::new(), [192, 0, 2, 1].into()), Err(Unpaired::Missing));
        assert_eq!(format!("{pairing:?}"), "Pairing(…)");
    }

    #[test]
    fn nobody_tries_for_long() {
        let pairing = Pairing::of(&Secret::new(&[7; 32]).unwrap());
        let text = pairing.text().to_owned();
        let guess = |from| shows(&pairing, "GUESS", from);
        assert!((0..TRIES).all(|_| guess([192, 0, 2, 1]) == Err(Unpaired::Wrong)));
        assert_eq!(shows(&pairing, &text, [192, 0, 2, 1]), Err(Unpaired::Ended), "it may have guessed it");
        assert_eq!(shows(&pairing, &text, [192, 0, 2, 2]), Ok(()), "others are not kept from it");
        assert_eq!(pairing.judge(&HeaderMap::new(), [192, 0, 2, 1].into()), Err(Unpaired::Missing));
        let addresses = (0..=u16::MAX).map(|n| [[10, 0], n.to_be_bytes()].concat().try_into().unwrap());
        let tried = addresses.take_while(|from| guess(*from) == Err(Unpaired::Wrong)).count();
        assert_eq!(tried, ALL_TRIES - TRIES, "of all addresses together");
        assert_eq!(shows(&pairing, &text, [192, 0, 2, 2]), Err(Unpaired::Ended));
    }
}
