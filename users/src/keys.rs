use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{DecodingKey, EncodingKey};
use soundoff_common::hex::hex;

/// An Ed25519 key that signs access tokens.
pub struct SigningKey {
    pub(crate) id: String,
    pub(crate) encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// Reads the PKCS #8 key at `path`; makes one there, for its owner's eyes only, when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no such key.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        let mut pkcs8 = Vec::new();
        match File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut pkcs8).with_context(|| format!("cannot read {}", path.display()))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                pkcs8 = Self::generate()?;
                let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                let mut file = made.with_context(|| format!("cannot make {}", path.display()))?;
                file.write_all(&pkcs8)
                    .and_then(|()| file.sync_all())
                    .context("cannot store the token key")?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
        Self::of(&pkcs8)
            .with_context(|| format!("{} is no Ed25519 key; restore it or remove it", path.display()))
    }

    /// A fresh key as PKCS #8.
    fn generate() -> anyhow::Result<Vec<u8>> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let document =
            Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| anyhow::anyhow!("no randomness"))?;
        Ok(document.as_ref().to_vec())
    }

    /// The key of a PKCS #8 document.
    fn of(pkcs8: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| anyhow::anyhow!("unreadable PKCS #8"))?;
        let public = pair.public_key().as_ref();
        let id = hex(&digest(&SHA256, public).as_ref()[..8]);
        let (encoding, decoding) = (EncodingKey::from_ed_der(pkcs8), DecodingKey::from_ed_der(public));
        Ok(Self { id, encoding, decoding })
    }

    #[cfg(test)]
    pub(crate) fn fresh() -> Self {
        Self::of(&Self::generate().unwrap()).unwrap()
    }
}
