//! The file with the root. It is at least 32 bytes as they are, or, once the root was rotated, `so_root_v1_<base64url>`
//! with several roots: newest first, each with the time since which it is used, and a checksum.

use super::keys::{self, Generation, ROOT_BYTES, SecretError, trimmed};
use crate::hex::hex;

pub(super) const PREFIX: &str = "so_root_";
const KIND: &str = "so_root_v1_";
/// The most roots at once: each costs a look-up for whom the newer do not know.
const MOST: usize = 4;

/// The roots of a deployment.
#[derive(Clone)]
pub struct Roots {
    /// Newest first.
    roots: Vec<Root>,
    /// Which of them is in use: the first, or the second when the first is announced only.
    in_use: usize,
}

#[derive(Clone)]
struct Root {
    bytes: Vec<u8>,
    since: u64,
}

/// How a root stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Processes take what is made under it, and make nothing under it yet.
    Announced,
    /// Everything is made under it.
    InUse,
    /// What was made under it is still taken.
    Former,
}

/// The roots cannot be changed like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// One rotation at a time.
    #[error("a root is announced already: `soundoff secret use` begins to use it")]
    Announced,
    /// Too many.
    #[error(
        "there are {MOST} roots already: `soundoff secret reseal` and `soundoff secret retire` finish a rotation"
    )]
    TooMany,
    /// There is nothing to begin with.
    #[error("no root is announced: `soundoff secret rotate` makes one")]
    NoneAnnounced,
    /// Nothing to retire.
    #[error("there is no former root: nothing is to be retired")]
    NoFormer,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.roots.len())
    }
}

impl Roots {
    /// The roots of a text. Line breaks at its end do not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &[u8]) -> Result<Self, SecretError> {
        let text = trimmed(text);
        if !text.starts_with(PREFIX.as_bytes()) {
            if text.len() < ROOT_BYTES {
                return Err(SecretError::TooShort);
            }
            return Ok(Self { roots: vec![Root { bytes: text.to_vec(), since: 0 }], in_use: 0 });
        }
        let encoded = text.strip_prefix(KIND.as_bytes()).ok_or(SecretError::Version)?;
        Self::decoded(&keys::content(KIND, encoded)?).ok_or(SecretError::Version)
    }

    fn decoded(content: &[u8]) -> Option<Self> {
        let (in_use, mut rest) = content.split_first()?;
        let (in_use, mut roots) = (usize::from(*in_use), Vec::new());
        while !rest.is_empty() {
            let (since, after) = rest.split_first_chunk()?;
            let (length, after) = after.split_first_chunk()?;
            let (bytes, after) =
                after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            roots.push(Root { bytes: bytes.to_vec(), since: u64::from_be_bytes(*since) });
            rest = after;
        }
        (in_use <= 1 && in_use < roots.len()).then_some(Self { roots, in_use })
    }

    /// The text that [`Self::read`] reads: one line.
    ///
    /// # Panics
    /// When a root has 4 GiB or more.
    #[must_use]
    pub fn text(&self) -> String {
        let mut content = vec![u8::from(self.in_use == 1)];
        for Root { bytes, since } in &self.roots {
            let length = u32::try_from(bytes.len()).expect("a root is short");
            content.extend(since.to_be_bytes());
            content.extend(length.to_be_bytes());
            content.extend(bytes);
        }
        keys::written(KIND, content)
    }

    /// The keys of all roots, those in use first.
    pub(super) fn generations(&self) -> Result<Vec<Generation>, SecretError> {
        let (newer, rest) = self.roots.split_at(self.in_use);
        let in_order = rest.iter().take(1).chain(newer).chain(rest.iter().skip(1));
        in_order.map(|root| Generation::of_root(&root.bytes)).collect()
    }

    /// Adds a new root at `now` (milliseconds since 1970): in use from now on, or only announced.
    ///
    /// # Errors
    /// Why not.
    pub fn add(&mut self, fresh: [u8; ROOT_BYTES], now: u64, announced: bool) -> Result<(), RootsError> {
        if self.in_use == 1 {
            return Err(RootsError::Announced);
        }
        if self.roots.len() >= MOST {
            return Err(RootsError::TooMany);
        }
        self.roots.insert(0, Root { bytes: fresh.to_vec(), since: now });
        self.in_use = usize::from(announced);
        Ok(())
    }

    /// Uses the root that is announced, from `now` on.
    ///
    /// # Errors
    /// Why not.
    pub fn use_newest(&mut self, now: u64) -> Result<(), RootsError> {
        if self.in_use == 0 {
            return Err(RootsError::NoneAnnounced);
        }
        self.in_use = 0;
        self.roots[0].since = now;
        Ok(())
    }

    /// Forgets all but the one in use.
    ///
    /// # Errors
    /// Why not.
    pub fn retire(&mut self) -> Result<(), RootsError> {
        if self.in_use == 1 {
            return Err(RootsError::Announced);
        }
        if self.roots.len() == 1 {
            return Err(RootsError::NoFormer);
        }
        self.roots.truncate(1);
        Ok(())
    }

    /// Since when the one in use is, in milliseconds since 1970; 0 when it is as old as the deployment.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.roots[self.in_use].since
    }

    /// The name of each root, how it stands, and since when, newest first.
    ///
    /// # Errors
    /// [`SecretError::TooShort`].
    pub fn states(&self) -> Result<Vec<(String, State, u64)>, SecretError> {
        let state = |at: usize| match at.cmp(&self.in_use) {
            std::cmp::Ordering::Less => State::Announced,
            std::cmp::Ordering::Equal => State::InUse,
            std::cmp::Ordering::Greater => State::Former,
        };
        let one = |(at, root): (usize, &Root)| {
            Ok((hex(&Generation::of_root(&root.bytes)?.id), state(at), root.since))
        };
        self.roots.iter().enumerate().map(one).collect()
    }
}
