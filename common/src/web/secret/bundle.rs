//! The keys of one role, as one line of text: `so_role_<role>_v1_<base64url>`. What is encoded are the generations, the
//! one in use first, each with its name and its keys by number of purpose, and a checksum.

use std::collections::BTreeMap;

use super::keys::{self, Generation, ID_BYTES, KEY_BYTES, Keys, Purpose, Role, SecretError};

/// Begins each of them, so that scanners for leaked secrets recognize it.
pub(super) const PREFIX: &str = "so_role_";
const VERSION: &str = "_v1_";

/// The keys that a role needs, of generations that have them.
pub(super) fn write(role: Role, generations: &[Generation]) -> String {
    let mut content = vec![count(generations.len())];
    for generation in generations {
        content.extend_from_slice(&generation.id);
        content.push(count(role.needs().len()));
        for purpose in role.needs() {
            content.push(number(*purpose));
            content.extend(generation.key(*purpose).into_iter().flatten());
        }
    }
    let kind = format!("{PREFIX}{}{VERSION}", role.name());
    keys::written(&kind, content)
}

fn count(many: usize) -> u8 {
    u8::try_from(many).expect("there are few of them")
}

fn number(purpose: Purpose) -> u8 {
    let at = Purpose::ALL.iter().position(|known| *known == purpose);
    count(at.expect("all of them are listed"))
}

pub(super) fn read(text: &[u8]) -> Result<(Role, Vec<Generation>), SecretError> {
    let text = std::str::from_utf8(text).map_err(|_| SecretError::Damaged)?;
    let rest = text.strip_prefix(PREFIX).ok_or(SecretError::Damaged)?;
    let (role, encoded) = rest.split_once(VERSION).ok_or(SecretError::Version)?;
    let role: Role = role.parse().map_err(|_| SecretError::Version)?;
    let content = keys::content(&text[..text.len() - encoded.len()], encoded.as_bytes())?;
    // It is as it was written: what cannot be read was written by another version.
    Ok((role, generations(&content).ok_or(SecretError::Version)?))
}

fn generations(content: &[u8]) -> Option<Vec<Generation>> {
    let (many, mut rest) = content.split_first()?;
    let mut generations = Vec::new();
    for _ in 0..*many {
        let (id, after) = rest.split_first_chunk::<ID_BYTES>()?;
        let (many, after) = after.split_first()?;
        rest = after;
        let mut keys = BTreeMap::new();
        for _ in 0..*many {
            let (number, after) = rest.split_first()?;
            let (key, after) = after.split_first_chunk::<KEY_BYTES>()?;
            rest = after;
            // What a newer version needs besides: while a deployment is updated, its processes of both versions read the
            // same text.
            if let Some(purpose) = Purpose::ALL.get(usize::from(*number)) {
                keys.insert(*purpose, *key);
            }
        }
        generations.push(Generation { id: *id, keys: Keys::Derived(keys) });
    }
    (rest.is_empty() && !generations.is_empty()).then_some(generations)
}
