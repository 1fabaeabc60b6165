//! What virtual users do, and how often.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// A kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// `post.create`.
    Posts,
    /// `like.add`, on a post of another user.
    Likes,
    /// `dm.send` to a friend.
    Dms,
    /// `timeline.fetch`, the first page.
    Fetch,
    /// `comment.create`, on a post of another user.
    Comments,
    /// `follow.add` of anybody.
    Follows,
    /// `typing` to a friend.
    Typing,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Posts, Self::Likes, Self::Dms, Self::Fetch, Self::Comments, Self::Follows, Self::Typing];

    /// Its name in `--mix` and in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Posts => "posts",
            Self::Likes => "likes",
            Self::Dms => "dms",
            Self::Fetch => "fetch",
            Self::Comments => "comments",
            Self::Follows => "follows",
            Self::Typing => "typing",
        }
    }

    /// Whether it changes anything. If it changes nothing, a repetition may get another answer.
    pub(super) fn has_effect(self) -> bool {
        !matches!(self, Self::Fetch | Self::Typing)
    }

    /// Its message type.
    pub(crate) fn message_type(self) -> &'static str {
        match self {
            Self::Posts => "post.create",
            Self::Likes => "like.add",
            Self::Dms => "dm.send",
            Self::Fetch => "timeline.fetch",
            Self::Comments => "comment.create",
            Self::Follows => "follow.add",
            Self::Typing => "typing",
        }
    }
}

/// Weights of the kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mix(Vec<(Kind, u32)>);

impl Mix {
    /// Whether a kind has any weight.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|(other, _)| *other == kind)
    }

    /// A random kind.
    pub(super) fn pick(&self, rng: &mut impl Rng) -> Kind {
        let total = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random_range(0..total);
        for (kind, weight) in &self.0 {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *kind,
            }
        }
        self.0[0].0
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut weights: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').with_context(|| format!("{part:?}: say KIND=WEIGHT"))?;
            let known = || Kind::ALL.map(Kind::name).join(", ");
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.with_context(|| format!("{name:?} is none of {}", known()))?;
            let weight: u32 =
                weight.trim().parse().with_context(|| format!("{weight:?} is no whole number"))?;
            ensure!(weight <= 1_000_000, "{weight} is more than a million");
            ensure!(weights.iter().all(|(other, _)| *other != kind), "{name} is there twice");
            weights.push((kind, weight));
        }
        weights.retain(|(_, weight)| *weight > 0);
        ensure!(!weights.is_empty(), "nothing in it weighs anything");
        weights.sort_unstable();
        Ok(Self(weights))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.0.iter().map(|(kind, weight)| format!("{}={weight}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Mix};

    #[test]
    fn a_mix_is_read_in_any_order_and_what_is_wrong_with_it_is_named() {
        let mix: Mix = "dms=3,posts=1,likes=0".parse().unwrap();
        assert_eq!((mix.to_string().as_str(), mix.has(Kind::Likes)), ("posts=1,dms=3", false));
        for (text, expected) in [
            ("posts", "say KIND=WEIGHT"),
            ("tweets=1", "\"tweets\" is none of posts, likes, dms, fetch, comments, follows, typing"),
            ("posts=some", "\"some\" is no whole number"),
            ("posts=1,posts=2", "posts is there twice"),
            ("posts=0", "nothing in it weighs anything"),
        ] {
            let error = format!("{:#}", text.parse::<Mix>().unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
