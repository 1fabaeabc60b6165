//! Another user's standing to the sender: whether they exist, whether a block stands between the two, and what they let
//! others see and do.

use soundoff_common::model::accounts;
use soundoff_common::model::privacy::From;
use soundoff_common::model::sight::{self, Act, Meeting, Refusal, Sighted, Standing};
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Item, Key, Table, TableError, Write};
use soundoff_common::protocol::{ErrorCode, Handle};

/// What one user is to another, as read.
#[derive(Debug)]
pub(crate) struct Met {
    me: Handle,
    other: Handle,
    account: Option<Item>,
    standing: Standing,
}

/// What `other` is to `me`, and the items at `keys`.
pub(crate) async fn meet(
    cx: &Context,
    me: &Handle,
    other: &Handle,
    keys: Vec<(Table, Key)>,
) -> Result<(Met, Vec<Option<Item>>), TableError> {
    let Meeting { standing, account, found } = sight::meet(&*cx.tables, me, other, keys).await?;
    Ok((Met { me: me.clone(), other: other.clone(), account, standing }, found))
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

impl Met {
    /// Their account.
    pub(crate) fn account(&mut self) -> Result<Item, Failure> {
        self.account.take().ok_or_else(no_such_user)
    }

    /// Refuses when they do not exist.
    pub(crate) fn exists(&self) -> Result<(), Failure> {
        self.account.as_ref().map(|_| ()).ok_or_else(no_such_user)
    }

    /// Refuses to show what is theirs across a block, with the error for what does not exist.
    pub(crate) fn may_see(&self) -> Result<(), Failure> {
        if self.standing.blocked { Err(no_such_user()) } else { self.exists() }
    }

    /// Refuses to show what a private user shows to followers only.
    pub(crate) async fn may_see_lists(&mut self, cx: &Context) -> Result<(), Failure> {
        self.may_see()?;
        self.standing.settle(&*cx.tables, &self.me, &self.other).await?;
        if self.standing.may_see_lists() {
            return Ok(());
        }
        let message = "this account is private: only who follows it sees its posts and lists";
        Err(Failure::reject(ErrorCode::Forbidden, message))
    }

    /// Refuses an act towards them that they, or a block, do not allow.
    pub(crate) async fn may_do(&mut self, cx: &Context, act: Act) -> Result<(), Failure> {
        self.exists()?;
        self.standing.settle_act(&*cx.tables, (&self.me, &self.other), act).await?;
        may_do(&self.standing, act)
    }

    /// Whether who wants to follow them must ask.
    pub(crate) fn is_private(&self) -> bool {
        self.standing.is_private()
    }

    /// What the sender is to this and to other users, to read more.
    pub(crate) fn into_sighted(self) -> Sighted {
        Sighted::of(&self.me, &self.other, self.standing)
    }

    /// Checks that make a transaction fail when something of it has changed since it was read.
    pub(crate) fn unchanged(&self) -> Vec<Write> {
        self.standing.unchanged(&self.me, &self.other)
    }
}

/// Refuses an act that a user, or a block, does not allow.
pub(crate) fn may_do(standing: &Standing, act: Act) -> Result<(), Failure> {
    sight::may_do(standing, act).map_err(|refusal| refused(refusal, act))
}

fn refused(refusal: Refusal, act: Act) -> Failure {
    let Refusal::Only(from) = refusal else {
        return Failure::reject(ErrorCode::Forbidden, "a block stands between you and this user");
    };
    let what = match act {
        Act::Message => "messages",
        Act::Comment => "comments",
        Act::Notice => "notices",
    };
    let message = match from {
        From::Everyone => format!("this user takes {what} of everyone"),
        From::Followers => format!("this user takes {what} of their followers only"),
        From::Following => format!("this user takes {what} only of those whom they follow"),
        From::Mutuals => format!("this user takes {what} only of those who follow them and whom they follow"),
        From::Nobody => format!("this user takes no {what}"),
    };
    Failure::reject(ErrorCode::Forbidden, message)
}

/// Refuses what nobody does to themselves.
pub(crate) fn not_oneself(me: &Handle, other: &Handle, what: &str) -> Result<(), Failure> {
    if me == other {
        return Err(Failure::reject(ErrorCode::BadMessage, format!("nobody {what} themselves")));
    }
    Ok(())
}

pub(crate) fn no_such_user() -> Failure {
    Failure::reject(ErrorCode::NotFound, "there is no such user")
}
