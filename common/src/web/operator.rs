//! The key with which an operator reads a deployment's dead letters and redrives them.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::hex::{hex, unhex};
use crate::web::secret::{KEY_BYTES, LacksKey, Purpose, Secret, sha256};

/// The key as an operator shows it: 64 hexadecimal digits. It is derived from the root, so no process needs it in its
/// configuration, and a new root makes it invalid.
///
/// # Errors
/// [`LacksKey`]: no role has it.
pub fn operator_key(secret: &Secret) -> Result<String, LacksKey> {
    Ok(hex(&secret.keys(Purpose::Operators)?[0]))
}

/// Tells whether somebody shows the operator's key. It is not that key: what a process holds is no use elsewhere.
#[derive(Clone)]
pub struct OperatorCheck(Vec<[u8; KEY_BYTES]>);

impl std::fmt::Debug for OperatorCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorCheck(…)")
    }
}

impl OperatorCheck {
    /// The check of a deployment.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub fn of(secret: &Secret) -> Result<Self, LacksKey> {
        Ok(Self(secret.keys(Purpose::OperatorsCheck)?))
    }

    /// Whether a text is the key. It takes the same time, whatever is wrong with a text of the right length.
    #[must_use]
    pub fn is_shown_by(&self, text: &str) -> bool {
        let Some(shown) = unhex(text).filter(|shown| shown.len() == KEY_BYTES) else { return false };
        let shown = sha256(&shown);
        self.0.iter().fold(false, |good, known| good | verify_slices_are_equal(known, &shown).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::secret::roots::Roots;

    #[test]
    fn only_the_whole_key_of_the_same_secret_is_good() {
        let secret = Secret::new(&[7; 32]).unwrap();
        let (check, text) = (OperatorCheck::of(&secret).unwrap(), operator_key(&secret).unwrap());
        assert!(text.len() == 64 && check.is_shown_by(&text));
        let other = Secret::new(&[8; 32]).unwrap();
        assert!(!OperatorCheck::of(&other).unwrap().is_shown_by(&text));
        let other_purpose = hex(&secret.keys(Purpose::Deliveries).unwrap()[0]);
        assert!(!check.is_shown_by(&other_purpose), "another purpose's key");
        let held = hex(&secret.keys(Purpose::OperatorsCheck).unwrap()[0]);
        assert!(!check.is_shown_by(&held), "what a process holds is not the key");
        for wrong in
            ["", "00", "é", &text[2..], &format!("{text}00"), &format!("{}00", &text[..62]), &"0".repeat(64)]
        {
            assert!(!check.is_shown_by(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{check:?}"), "OperatorCheck(…)");
    }

    #[test]
    fn both_keys_are_good_while_the_root_is_replaced() {
        let mut roots = Roots::read(&[b'a'; 32]).unwrap();
        let old = operator_key(&roots.secret().unwrap()).unwrap();
        roots.add([1; 32], 1, false).unwrap();
        let (check, new) =
            (OperatorCheck::of(&roots.secret().unwrap()).unwrap(), operator_key(&roots.secret().unwrap()));
        assert!(check.is_shown_by(&old) && check.is_shown_by(&new.unwrap()));
        roots.retire().unwrap();
        assert!(!OperatorCheck::of(&roots.secret().unwrap()).unwrap().is_shown_by(&old));
    }
}
