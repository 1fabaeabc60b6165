//! What somebody is to one other user: what most acts ask, and so without lists of whom to read.

use crate::model::privacy::{self, Privacy};
use crate::model::sight::judge::{Act, Refusal, may_do};
use crate::model::sight::standing::{Relation, Sighted, Standing};
use crate::model::{accounts, blocks, follows};
use crate::ports::tables::{Item, Key, Table, TableError, Tables};
use crate::protocol::Handle;

/// What was read of another user.
#[derive(Debug)]
pub struct Meeting {
    /// What the viewer is to them.
    pub standing: Standing,
    /// Their account.
    pub account: Option<Item>,
    /// What was read in the same call.
    pub found: Vec<Option<Item>>,
}

/// What `viewer` is to `other`, and the items at `keys`: in one read, or in two when `other` has changed their privacy.
/// Most have not, and their account says so.
///
/// # Errors
/// When the tables do not answer, or an item is corrupt.
pub async fn meet(
    tables: &dyn Tables,
    viewer: &Handle,
    other: &Handle,
    mut keys: Vec<(Table, Key)>,
) -> Result<Meeting, TableError> {
    let (asked, own) = (keys.len(), viewer == other);
    if !own {
        keys.extend(blocks::keys(viewer, other));
    }
    keys.push((Table::Users, accounts::key(other)));
    let mut found = tables.get_many(&keys).await?;
    let account = found.pop().flatten();
    let mut standing = Standing { own, ..Standing::default() };
    if !own {
        let (blocked, seen) = blocks::judge(&found[asked..]);
        (standing.blocked, standing.seen) = (blocked, Some(seen));
        found.truncate(asked);
        let guarded = account.as_ref().is_some_and(|account| account.flag(accounts::attribute::GUARDED));
        standing.privacy = Some(match guarded {
            true => Privacy::parse(tables.get(Table::Relationships, privacy::key(other)).await?)?,
            false => Privacy::default(),
        });
    }
    Ok(Meeting { standing, account, found })
}

impl Standing {
    /// Reads whether `viewer` follows the other, when they are private and it is not known.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn settle(
        &mut self,
        tables: &dyn Tables,
        viewer: &Handle,
        other: &Handle,
    ) -> Result<(), TableError> {
        if self.is_unsettled() {
            let found = tables.get(Table::Relationships, follows::key(viewer, other)).await?;
            self.follows = Some(Relation::of(found.as_ref()));
        }
        Ok(())
    }

    /// Reads who of the two follows the other, when an act depends on it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn settle_act(
        &mut self,
        tables: &dyn Tables,
        (viewer, other): (&Handle, &Handle),
        act: Act,
    ) -> Result<(), TableError> {
        if matches!(may_do(self, act), Err(Refusal::Only(_))) {
            let keys = [follows::key(viewer, other), follows::key(other, viewer)];
            let found = tables.get_many(&keys.map(|key| (Table::Relationships, key))).await?;
            let relation = |at: usize| Some(Relation::of(found[at].as_ref()));
            (self.follows, self.followed) = (relation(0), relation(1));
        }
        Ok(())
    }
}

impl Sighted {
    /// Reads who of the viewer and another user follows the other, when an act depends on it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn settle_act(
        &mut self,
        tables: &dyn Tables,
        other: &Handle,
        act: Act,
    ) -> Result<(), TableError> {
        match self.people.get_mut(other) {
            Some(standing) => standing.settle_act(tables, (&self.viewer, other), act).await,
            None => Ok(()),
        }
    }
}
