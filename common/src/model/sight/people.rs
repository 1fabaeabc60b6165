//! People as somebody sees them, and who may see one post.

use std::collections::HashSet;

use crate::model::posts::Stored;
use crate::model::sight::judge::Door;
use crate::model::sight::standing::{Reading, Sighted};
use crate::ports::tables::{TableError, Tables};
use crate::protocol::Handle;

/// Those of `others` whom a block hides from `viewer`, in one read.
///
/// # Errors
/// When the tables do not answer.
pub async fn hidden(
    tables: &dyn Tables,
    viewer: &Handle,
    others: impl IntoIterator<Item = &Handle>,
) -> Result<HashSet<Handle>, TableError> {
    let others: HashSet<&Handle> = others.into_iter().collect();
    let mut reading = Reading::new(viewer);
    others.iter().for_each(|other| reading.blocks(other));
    let sighted = reading.read(tables).await?;
    Ok(others.into_iter().filter(|other| sighted.is_blocked(other)).cloned().collect())
}

/// What `viewer` is to each of `others`, as far as lists of them are concerned: whether a block stands, and whether they
/// are private to the viewer.
///
/// # Errors
/// When the tables do not answer.
pub async fn meet_all(
    tables: &dyn Tables,
    viewer: &Handle,
    others: &[Handle],
) -> Result<Sighted, TableError> {
    let mut reading = Reading::new(viewer);
    for other in others {
        reading.blocks(other);
        reading.privacy(other);
    }
    let mut sighted = reading.read(tables).await?;
    sighted.settle(tables, others.iter()).await?;
    Ok(sighted)
}

/// Those of some followers of its author, or of some members of its group, who may see a post that is chosen for them, in
/// one read.
///
/// # Errors
/// When the tables do not answer.
pub async fn audience(
    tables: &dyn Tables,
    post: &Stored,
    viewers: Vec<Handle>,
) -> Result<Vec<Handle>, TableError> {
    let mut keys = Vec::new();
    let mut readings = Vec::with_capacity(viewers.len());
    for viewer in &viewers {
        let mut reading = Reading::new(viewer);
        if post.group.is_none() {
            reading.is_follower(&post.author);
        }
        reading.post(post);
        keys.extend_from_slice(reading.keys());
        readings.push(reading);
    }
    let found = if keys.is_empty() { Vec::new() } else { tables.get_many(&keys).await? };
    let (mut shown, mut at) = (Vec::with_capacity(viewers.len()), 0);
    for (viewer, reading) in viewers.into_iter().zip(readings) {
        let upto = at + reading.keys().len();
        if reading.judged(&found[at..upto])?.may_see(post, Door::List) {
            shown.push(viewer);
        }
        at = upto;
    }
    Ok(shown)
}
