//! The secret of a deployment, and the keys for each purpose that are derived from it.
//!
//! A process holds a root, or only the keys that its role needs ([`bundle`]). While a root is replaced there are several
//! *generations* of each key ([`roots`]): what was made under any of them is taken, and what is made is made under the
//! one in use.

mod bundle;
mod keys;
pub mod roots;

use std::sync::Arc;

pub(crate) use keys::sha256;
use keys::{Generation, trimmed};
pub use keys::{KEY_BYTES, LacksKey, Purpose, Role, SecretError};
use roots::Roots;

use crate::hex::hex;

/// Keys by purpose, in one generation or several. Cheap to clone.
#[derive(Clone)]
pub struct Secret {
    /// The one in use first.
    generations: Arc<[Generation]>,
    role: Option<Role>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The secret of one root.
    ///
    /// # Errors
    /// [`SecretError::TooShort`], below 32 bytes.
    pub fn new(root: &[u8]) -> Result<Self, SecretError> {
        Ok(Self { generations: Arc::new([Generation::of_root(root)?]), role: None })
    }

    /// The secret of a text as operators keep it: a root, several, or the keys of a role. Line breaks at its end do not
    /// count.
    ///
    /// # Errors
    /// What is wrong with it. No error repeats any of it.
    pub fn read(text: &[u8]) -> Result<Self, SecretError> {
        let text = trimmed(text);
        if text.starts_with(bundle::PREFIX.as_bytes()) {
            let (role, generations) = bundle::read(text)?;
            return Ok(Self { generations: generations.into(), role: Some(role) });
        }
        Roots::read(text)?.secret()
    }

    /// The keys for a purpose, one of each generation: what is made is made with the first, and what was made with any
    /// of them is taken.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub fn keys(&self, purpose: Purpose) -> Result<Vec<[u8; KEY_BYTES]>, LacksKey> {
        let keys = self.generations.iter().map(|generation| generation.key(purpose));
        let role = self.role.unwrap_or(Role::Users);
        keys.collect::<Option<Vec<_>>>().ok_or(LacksKey { role, purpose })
    }

    /// Whether it holds all that a role needs.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub fn serves(&self, role: Role) -> Result<(), LacksKey> {
        role.needs().iter().try_for_each(|purpose| self.keys(*purpose).map(drop))
    }

    /// Whether it is the root itself, from which all keys follow.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.role.is_none()
    }

    /// The keys that a role needs, of all generations, as one line of text that [`Secret::read`] reads.
    ///
    /// # Errors
    /// [`LacksKey`], when this is no root.
    pub fn derive(&self, role: Role) -> Result<String, LacksKey> {
        self.serves(role)?;
        Ok(bundle::write(role, &self.generations))
    }

    /// The names of the generations, the one in use first: 16 hexadecimal digits each, which reveal nothing.
    #[must_use]
    pub fn generations(&self) -> Vec<String> {
        self.generations.iter().map(|generation| hex(&generation.id)).collect()
    }
}

impl Roots {
    /// The keys of all roots.
    ///
    /// # Errors
    /// [`SecretError::TooShort`].
    pub fn secret(&self) -> Result<Secret, SecretError> {
        Ok(Secret { generations: self.generations()?.into(), role: None })
    }
}

#[cfg(test)]
mod tests;
