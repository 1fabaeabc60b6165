//! How much a user has interacted with authors recently.

use std::collections::HashMap;

use soundoff_common::model::affinity;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Item, Tables};
use soundoff_common::protocol::Handle;

use crate::reads::few_at_once;

/// Rows of one query.
const ROWS: usize = 200;
/// The most queries for one user: after that, older weeks do not count.
const QUERIES: usize = 5;

/// Hundredths of a point, by author.
pub(crate) type Affinities = HashMap<Handle, u32>;

/// The affinities of many users, in order.
pub(crate) async fn all_affinities(
    tables: &dyn Tables,
    users: &[&Handle],
    now: u64,
) -> Result<Vec<Affinities>, Failure> {
    few_at_once(users.iter().map(|user| affinities(tables, user, now)).collect()).await
}

/// A user's affinities as of `now`, in milliseconds since 1970.
pub(crate) async fn affinities(tables: &dyn Tables, user: &Handle, now: u64) -> Result<Affinities, Failure> {
    let mut affinities = Affinities::new();
    let mut below: Option<String> = None;
    for _ in 0..QUERIES {
        let mut query = affinity::query(user, now, ROWS);
        if let Some(below) = below.take() {
            query = query.below(below);
        }
        let page = tables.query(query).await?;
        page.items.iter().for_each(|(sk, item)| add(&mut affinities, sk, item, now));
        if !page.more {
            break;
        }
        below = page.items.last().map(|(sk, _)| sk.clone());
    }
    Ok(affinities)
}

/// Adds the worth of one author's week as of `now`.
fn add(affinities: &mut Affinities, sk: &str, item: &Item, now: u64) {
    let Some((week, author)) = affinity::split(sk) else { return };
    let weeks_ago = affinity::week(now).saturating_sub(week);
    let worth = affinity::worth(item.number(affinity::attribute::N).unwrap_or(0), weeks_ago);
    let sum = affinities.entry(author).or_default();
    *sum = sum.saturating_add(worth);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_weeks_count_less_and_less() {
        let now = 2_700 * 7 * 24 * 3_600 * 1_000 + 5;
        let mut affinities = Affinities::new();
        for (sk, points) in
            [("02700#bob", 3_u64), ("02699#bob", 10), ("02698#bob", 1), ("02693#ann", 4), ("02701#cat", 2)]
        {
            add(&mut affinities, sk, &Item::new().with("n", points), now);
        }
        // Each week is rounded by itself: 300 + 707 + 50; 4 points of seven weeks ago; a clock that is ahead.
        let expected = [("bob", 1_057), ("ann", 35), ("cat", 200)];
        assert_eq!(affinities, expected.map(|(name, worth)| (name.parse().unwrap(), worth)).into());
    }
}
