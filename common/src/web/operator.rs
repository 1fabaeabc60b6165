//! The key with which an operator reads a deployment's dead letters and redrives them.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::hex::{hex, unhex};
use crate::web::secret::Secret;

/// One key for a deployment. It is derived from the secret, so no process needs it in its configuration, and a new
/// secret makes it invalid.
#[derive(Clone)]
pub struct OperatorKey([u8; 32]);

impl std::fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorKey(…)")
    }
}

impl OperatorKey {
    /// The key of a deployment.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(secret.key("operators"))
    }

    /// The key as an operator shows it: 64 hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> String {
        hex(&self.0)
    }

    /// Whether a text is this key. It takes the same time, whatever is wrong with a text of the right length.
    #[must_use]
    pub fn is_shown_by(&self, text: &str) -> bool {
        unhex(text).is_some_and(|shown| verify_slices_are_equal(&self.0, &shown).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_of_the_same_secret_is_good() {
        let secret = Secret::new(&[7; 32]).unwrap();
        let key = OperatorKey::of(&secret);
        let text = key.text();
        assert!(text.len() == 64 && key.is_shown_by(&text));
        assert!(OperatorKey::of(&Secret::new(&[7; 32]).unwrap()).is_shown_by(&text));
        assert!(!OperatorKey::of(&Secret::new(&[8; 32]).unwrap()).is_shown_by(&text));
        assert!(!key.is_shown_by(&hex(&secret.key("internal deliveries"))), "another purpose's key");
        for wrong in
            ["", "00", "é", &text[2..], &format!("{text}00"), &format!("{}00", &text[..62]), &"0".repeat(64)]
        {
            assert!(!key.is_shown_by(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{key:?}"), "OperatorKey(…)");
    }
}
