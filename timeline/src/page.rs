//! What clients send for a page of their timeline, and what they get.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::posts::Post;

use crate::weights::{Parts, unit};

/// Which part of the timeline.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Fetch {
    /// The `next` of an earlier page.
    pub(crate) before: Option<String>,
    /// The most items; 20 when absent.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
}

/// What an item's score is made of. The parts sum to the score exactly.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Why {
    /// For being new.
    age: f64,
    /// For how much the reader interacts with its author.
    affinity: f64,
    /// For likes and comments.
    popularity: f64,
}

/// One post of a timeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Shown {
    /// The post as it is now.
    post: Post,
    /// What ranked it, as of `computed_at`.
    score: f64,
    /// The parts of the score.
    why: Why,
}

impl Shown {
    pub(crate) fn new(post: Post, parts: Parts) -> Self {
        let of = |part: u16| unit(u32::from(part));
        let why = Why { age: of(parts.age), affinity: of(parts.affinity), popularity: of(parts.popularity) };
        Self { post, score: unit(parts.score()), why }
    }
}

/// A page of a timeline.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Page {
    /// The items, in the order in which to show them.
    pub(crate) items: Vec<Shown>,
    /// Give it as `before` for the page after this one; null at the end.
    pub(crate) next: Option<String>,
    /// The time that the scores are of, RFC 3339 UTC with milliseconds.
    pub(crate) computed_at: String,
}
