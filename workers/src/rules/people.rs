//! Another user's standing to the sender: whether they exist, and whether a block stands between the two.

use std::collections::HashSet;

use soundoff_common::model::accounts;
use soundoff_common::model::blocks;
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Item, Key, Table, TableError, Tables, Write};
use soundoff_common::protocol::{ErrorCode, Handle};

/// What one user is to another, as read.
#[derive(Debug)]
pub(crate) struct Standing {
    pair: (Handle, Handle),
    account: Option<Item>,
    block: Block,
}

/// Whether a block stands between two users, as read.
#[derive(Debug)]
pub(crate) struct Block {
    stands: bool,
    /// The state that [`Block::unchanged`] checks; none when both are the same user.
    seen: Option<[Option<String>; 2]>,
}

/// What `other` is to `me`, and the items at `keys`, in one read.
pub(crate) async fn meet(
    cx: &Context,
    me: &Handle,
    other: &Handle,
    mut keys: Vec<(Table, Key)>,
) -> Result<(Standing, Vec<Option<Item>>), TableError> {
    let asked = keys.len();
    keys.push((Table::Users, accounts::key(other)));
    if me != other {
        keys.extend(blocks::keys(me, other));
    }
    let mut found = cx.tables.get_many(&keys).await?;
    let mut theirs = found.split_off(asked);
    let account = theirs.remove(0);
    let block = Block::judge(&theirs);
    Ok((Standing { pair: (me.clone(), other.clone()), account, block }, found))
}

/// The items at `keys`, in one read with the account of `other`, which must exist. For acts that a block does not
/// concern.
pub(crate) async fn find(
    cx: &Context,
    other: &Handle,
    mut keys: Vec<(Table, Key)>,
) -> Result<Vec<Option<Item>>, Failure> {
    keys.push((Table::Users, accounts::key(other)));
    let mut found = cx.tables.get_many(&keys).await?;
    found.pop().flatten().ok_or_else(no_such_user)?;
    Ok(found)
}

impl Standing {
    /// Their account.
    pub(crate) fn account(self) -> Result<Item, Failure> {
        self.account.ok_or_else(no_such_user)
    }

    /// Refuses when they do not exist.
    pub(crate) fn exists(&self) -> Result<(), Failure> {
        self.account.as_ref().map(|_| ()).ok_or_else(no_such_user)
    }

    /// Whether a block stands.
    pub(crate) fn blocked(&self) -> bool {
        self.block.stands
    }

    /// Refuses to show what is theirs across a block, with the error for what does not exist.
    pub(crate) fn may_see(&self) -> Result<(), Failure> {
        if self.block.stands { Err(no_such_user()) } else { self.exists() }
    }

    /// Refuses an act towards them across a block.
    pub(crate) fn may_act(&self) -> Result<(), Failure> {
        self.exists()?;
        self.block.may_act()
    }

    /// Checks that make a transaction fail when a block has changed since it was read.
    pub(crate) fn unchanged(self) -> Vec<Write> {
        self.block.unchanged(&self.pair.0, &self.pair.1)
    }
}

impl Block {
    /// The block between two users, read without their accounts. Nobody blocks themselves: that costs no read.
    pub(crate) async fn between(cx: &Context, a: &Handle, b: &Handle) -> Result<Self, TableError> {
        if a == b {
            return Ok(Self::judge(&[]));
        }
        Ok(Self::judge(&cx.tables.get_many(&blocks::keys(a, b)).await?))
    }

    fn judge(found: &[Option<Item>]) -> Self {
        let (stands, seen) = blocks::judge(found);
        Self { stands, seen: (!found.is_empty()).then_some(seen) }
    }

    /// Whether it stands.
    pub(crate) fn stands(&self) -> bool {
        self.stands
    }

    /// Refuses an act across it.
    pub(crate) fn may_act(&self) -> Result<(), Failure> {
        if self.stands {
            return Err(Failure::reject(ErrorCode::Forbidden, "a block stands between you and this user"));
        }
        Ok(())
    }

    /// Checks that make a transaction fail when a block has changed since it was read.
    pub(crate) fn unchanged(self, a: &Handle, b: &Handle) -> Vec<Write> {
        self.seen.map_or_else(Vec::new, |seen| blocks::unchanged(a, b, seen))
    }
}

/// Those of `others` whom a block hides from `me`, in one read.
pub(crate) async fn hidden(
    tables: &dyn Tables,
    me: &Handle,
    others: impl IntoIterator<Item = &Handle>,
) -> Result<HashSet<Handle>, TableError> {
    let mut others: Vec<Handle> = others.into_iter().filter(|other| *other != me).cloned().collect();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return Ok(HashSet::new());
    }
    let blocked = blocks::between(tables, me, &others).await?;
    Ok(others.into_iter().zip(blocked).filter_map(|(other, blocked)| blocked.then_some(other)).collect())
}

/// Refuses what nobody does to themselves.
pub(crate) fn not_oneself(me: &Handle, other: &Handle, what: &str) -> Result<(), Failure> {
    if me == other {
        return Err(Failure::reject(ErrorCode::BadMessage, format!("nobody {what} themselves")));
    }
    Ok(())
}

fn no_such_user() -> Failure {
    Failure::reject(ErrorCode::NotFound, "there is no such user")
}
