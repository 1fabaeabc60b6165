//! People as somebody sees them, and who may see one post.

use std::collections::{HashMap, HashSet};

use crate::model::accounts;
use crate::model::posts::Stored;
use crate::model::sight::judge::Door;
use crate::model::sight::standing::{Reading, Sighted};
use crate::ports::tables::{Item, Table, TableError, Tables};
use crate::protocol::{Handle, Role};

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
/// one read. What concerns all of them alike is read once.
///
/// # Errors
/// When the tables do not answer.
pub async fn audience(
    tables: &dyn Tables,
    post: &Stored,
    viewers: Vec<Handle>,
) -> Result<Vec<Handle>, TableError> {
    let mut keys = Vec::new();
    let mut places = HashMap::new();
    let mut readings = Vec::with_capacity(viewers.len());
    for viewer in &viewers {
        let mut reading = Reading::new(viewer);
        match post.group {
            // Of members nothing else is asked: neither that they follow the author, nor what the author lets others see.
            Some(group) => {
                reading.blocks(&post.author);
                reading.group(group);
            }
            None => {
                reading.is_follower(&post.author);
                reading.post(post);
            }
        }
        for key in reading.keys() {
            places.entry(key.clone()).or_insert_with(|| {
                keys.push(key.clone());
                keys.len() - 1
            });
        }
        readings.push(reading);
    }
    let found = if keys.is_empty() { Vec::new() } else { tables.get_many(&keys).await? };
    let mut shown = Vec::with_capacity(viewers.len());
    for (viewer, reading) in viewers.into_iter().zip(readings) {
        let mine: Vec<_> = reading.keys().iter().map(|key| found[places[key]].clone()).collect();
        if reading.judged(mine)?.may_see(post, Door::List) {
            shown.push(viewer);
        }
    }
    Ok(shown)
}

/// Whether they are a moderator of the deployment. Asked only where somebody would see nothing otherwise, so that it costs others nothing.
pub(super) async fn is_moderator(tables: &dyn Tables, viewer: &Handle) -> Result<bool, TableError> {
    let account = tables.get(Table::Users, accounts::key(viewer)).await?;
    let account: Option<accounts::Account> = account.map(Item::parse).transpose()?;
    Ok(account.is_some_and(|account| account.role >= Role::Moderator))
}
