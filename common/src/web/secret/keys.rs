//! What keys are for, whose processes need which, and how they follow from a root.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// The bytes of a key.
pub const KEY_BYTES: usize = 32;
/// The least bytes of a root.
pub(super) const ROOT_BYTES: usize = 32;
/// The bytes that name a generation.
pub(super) const ID_BYTES: usize = 8;
/// The bytes of a checksum.
const CHECK_BYTES: usize = 8;

/// What a key is for. The key for one purpose reveals nothing about the key for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Signs what processes send to edges.
    Deliveries,
    /// Signs upload URLs.
    Uploads,
    /// Seals fields of the User service.
    Fields,
    /// Finds and compares what is stored as a hash.
    Lookup,
    /// Makes refresh tokens.
    Refresh,
    /// Signs the public halves of token keys: the seed of an Ed25519 key.
    TokenKeys,
    /// Judges those signatures, and can make none: the public half of that key.
    TokenKeysCheck,
    /// The operator's key.
    Operators,
    /// Tells whether somebody shows the operator's key, and is not that key: its SHA-256.
    OperatorsCheck,
    /// The pairing secret of `up --lan`; no role of a deployment has it.
    Pairing,
    /// Signs URLs of pictures that are not shown to everybody.
    Pictures,
}

impl Purpose {
    /// All of them. The place of each is its number in bundles: new ones come last.
    pub(super) const ALL: [Purpose; 11] = [
        Purpose::Deliveries,
        Purpose::Uploads,
        Purpose::Fields,
        Purpose::Lookup,
        Purpose::Refresh,
        Purpose::TokenKeys,
        Purpose::TokenKeysCheck,
        Purpose::Operators,
        Purpose::OperatorsCheck,
        Purpose::Pairing,
        Purpose::Pictures,
    ];

    /// The purpose in words. The keys that are not made from another are derived by it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Deliveries => "internal deliveries",
            Purpose::Uploads => "media uploads",
            Purpose::Fields => "users fields",
            Purpose::Lookup => "users lookup",
            Purpose::Refresh => "users refresh",
            Purpose::TokenKeys => "token keys",
            Purpose::TokenKeysCheck => "token keys, to check",
            Purpose::Operators => "operators",
            Purpose::OperatorsCheck => "operators, to check",
            Purpose::Pairing => "pairing",
            Purpose::Pictures => "media pictures",
        }
    }
}

/// The text is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A root that can be guessed.
    #[error("the secret must be at least 32 bytes of randomness")]
    TooShort,
    /// Not as it was written.
    #[error("the secret is damaged or incomplete: copy it again, all of its one line")]
    Damaged,
    /// Of another version.
    #[error("the secret was made by another version of soundoff: derive it again with this one")]
    Version,
}

/// The process was given the keys of a role that has none for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret holds the keys of the role {}, and none for {}: {}", .role.name(), .purpose.name(), remedy(*.role, *.purpose))]
pub struct LacksKey {
    pub(super) role: Role,
    pub(super) purpose: Purpose,
}

/// What helps a process with the keys of a role that has none for a purpose.
fn remedy(role: Role, purpose: Purpose) -> String {
    if role.needs().contains(&purpose) {
        let role = role.name();
        return format!(
            "an older version derived it; derive it again with this one (`soundoff secret derive --role {role}`)"
        );
    }
    "this needs those of another role (`soundoff secret derive --role …`), or the root".to_owned()
}

/// The keys of one generation.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) id: [u8; ID_BYTES],
    pub(super) keys: Keys,
}

#[derive(Clone)]
pub(super) enum Keys {
    Root(hkdf::Prk),
    Derived(BTreeMap<Purpose, [u8; KEY_BYTES]>),
}

impl Generation {
    pub(super) fn of_root(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.len() < ROOT_BYTES {
            return Err(SecretError::TooShort);
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"soundoff").extract(bytes);
        let id = *expand(&root, "generation").first_chunk().expect("a key is longer");
        Ok(Self { id, keys: Keys::Root(root) })
    }

    pub(super) fn key(&self, purpose: Purpose) -> Option<[u8; KEY_BYTES]> {
        let root = match &self.keys {
            Keys::Root(root) => root,
            Keys::Derived(keys) => return keys.get(&purpose).copied(),
        };
        Some(match purpose {
            Purpose::TokenKeysCheck => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&expand(root, Purpose::TokenKeys.name()));
                let pair = pair.expect("a seed of Ed25519 has 32 bytes");
                pair.public_key().as_ref().try_into().expect("a key of Ed25519 has 32 bytes")
            }
            Purpose::OperatorsCheck => sha256(&expand(root, Purpose::Operators.name())),
            made => expand(root, made.name()),
        })
    }
}

/// HKDF-SHA256 (RFC 5869).
fn expand(root: &hkdf::Prk, purpose: &str) -> [u8; KEY_BYTES] {
    let info = [purpose.as_bytes()];
    let mut key = [0; KEY_BYTES];
    let filled = root.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
    filled.expect("32 bytes are within what HKDF gives");
    key
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; KEY_BYTES] {
    digest(&SHA256, bytes).as_ref().try_into().expect("a digest of SHA-256 has 32 bytes")
}

/// A text of a kind that holds some bytes, and a checksum of both: one that was cut off is not taken for another.
pub(super) fn written(kind: &str, mut content: Vec<u8>) -> String {
    content.extend(checksum(kind, &content));
    format!("{kind}{}", BASE64.encode(content))
}

/// What a text of a kind holds, by what comes after its kind.
pub(super) fn content(kind: &str, encoded: &[u8]) -> Result<Vec<u8>, SecretError> {
    let mut wire = BASE64.decode(encoded).map_err(|_| SecretError::Damaged)?;
    let (content, check) = wire.split_last_chunk::<CHECK_BYTES>().ok_or(SecretError::Damaged)?;
    if *check != checksum(kind, content) {
        return Err(SecretError::Damaged);
    }
    wire.truncate(content.len());
    Ok(wire)
}

fn checksum(kind: &str, content: &[u8]) -> [u8; CHECK_BYTES] {
    *sha256(&[kind.as_bytes(), content].concat()).first_chunk().expect("a digest is longer")
}

pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &text[..end]
}

/// What a process of a deployment does, as far as its keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds websockets.
    Edge,
    /// Moves messages from main_q on.
    Router,
    /// Runs handlers.
    Workers,
    /// Each stage of the timelines.
    Timeline,
    /// Signs people in, and takes media.
    Users,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [Role::Edge, Role::Router, Role::Workers, Role::Timeline, Role::Users];

    /// The role's name, which is that of its command.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Edge => "edge",
            Role::Router => "router",
            Role::Workers => "workers",
            Role::Timeline => "timeline",
            Role::Users => "users",
        }
    }

    /// The keys that its processes use, and no others.
    #[must_use]
    pub fn needs(self) -> &'static [Purpose] {
        match self {
            Role::Edge => &[Purpose::Deliveries, Purpose::TokenKeysCheck, Purpose::OperatorsCheck],
            Role::Router => &[Purpose::Deliveries, Purpose::OperatorsCheck],
            Role::Workers | Role::Timeline => {
                &[Purpose::Deliveries, Purpose::OperatorsCheck, Purpose::Pictures]
            }
            Role::Users => &[
                Purpose::Deliveries,
                Purpose::Uploads,
                Purpose::Fields,
                Purpose::Lookup,
                Purpose::Refresh,
                Purpose::TokenKeys,
                Purpose::TokenKeysCheck,
                Purpose::OperatorsCheck,
                Purpose::Pictures,
            ],
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Role::ALL.map(Role::name).join(", ");
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("no such role; there are {}", names()))
    }
}
