//! Moves what the User service keeps to the generation of the secret that is in use, so that a former root can be
//! forgotten: token keys, and the ways to sign in, whose values are sealed and whose places are keyed hashes. What else
//! is found by a keyed hash (codes, nonces, exchanged codes) lasts for a day at most.

use std::sync::Arc;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use soundoff_common::model::accounts;
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::protocol::Handle;

use crate::keys::ring::Ring;
use crate::keys::seal::Seal;
use crate::ways::identity::{self, Identity, Kind, Linked, Row, list_partition};
use crate::ways::passkeys::stored;

/// How long what is not moved may last, in milliseconds: a nonce of a provider's token, for a day and a little.
pub const LASTS_MS: u64 = 25 * 3600 * 1000;
/// How many users one page looks at.
const USERS: usize = 200;
/// How many of them at once.
const AT_ONCE: usize = 16;
/// The most ways to sign in of one user that are read; they have fewer.
const MOST: usize = 100;

/// What one page did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Resealed {
    /// How many users were looked at.
    pub users: u64,
    /// How many values were moved.
    pub moved: u64,
    /// How many ways to sign in need a former root still.
    pub identities: u64,
    /// How many token keys do.
    pub token_keys: u64,
    /// Where the next page begins; `None` after the last.
    pub next: Option<(String, String)>,
}

/// How one way to sign in stands after a look at it.
enum Stands {
    Well,
    Moved,
    Left,
}

/// Moves what is stored, page by page. Each page can be repeated: what was moved stays as it is.
pub struct Reseal {
    tables: Arc<dyn Tables>,
    ring: Arc<Ring>,
}

impl Reseal {
    /// Works on `tables`, whose token keys are those of `ring`.
    #[must_use]
    pub fn new(tables: Arc<dyn Tables>, ring: Arc<Ring>) -> Self {
        Self { tables, ring }
    }

    /// Does the page after `after`, the first for `None`. With `only_count` nothing is changed.
    ///
    /// # Errors
    /// When the tables do not answer, the process only verifies tokens, or a value does not open under any root.
    pub async fn page(&self, after: Option<(String, String)>, only_count: bool) -> anyhow::Result<Resealed> {
        let mut done = Resealed::default();
        if after.is_none() {
            let keys = self.ring.reseal(only_count).await?;
            (done.token_keys, done.moved) = (keys.left, keys.moved);
        }
        let after = after.map(|(pk, sk)| Key::new(pk, sk));
        let page = self.tables.scan(Table::Users, 0, 1, after, USERS).await?;
        done.next = (page.len() == USERS)
            .then(|| page.last().map(|(key, _)| (key.pk.clone(), key.sk.clone())))
            .flatten();
        let users = page.iter().filter_map(|(_, item)| item.text(accounts::attribute::HANDLE)?.parse().ok());
        let users: Vec<Handle> = users.collect();
        done.users = users.len() as u64;
        let mut each = futures_util::stream::iter(users)
            .map(async |user| self.user(&user, only_count).await)
            .buffer_unordered(AT_ONCE);
        while let Some(stands) = each.next().await {
            for stands in stands? {
                match stands {
                    Stands::Well => {}
                    Stands::Moved => done.moved += 1,
                    Stands::Left => done.identities += 1,
                }
            }
        }
        Ok(done)
    }

    async fn user(&self, user: &Handle, only_count: bool) -> anyhow::Result<Vec<Stands>> {
        let seal = self.ring.seal()?;
        let list = Query::prefix(Table::Entities, list_partition(user), "", MOST);
        let mut all = Vec::new();
        for (sk, item) in self.tables.query(list).await?.items {
            let linked: Linked = item.parse()?;
            all.push(self.identity(seal, &Row::of_key(sk), &linked, only_count).await?);
        }
        Ok(all)
    }

    async fn identity(
        &self,
        seal: &Seal,
        row: &Row,
        linked: &Linked,
        only_count: bool,
    ) -> anyhow::Result<Stands> {
        let (user, kind) = (&linked.user, row.kind());
        let context = Identity::context(kind, user);
        let value = seal.open(&linked.sealed, &context)?;
        let today = Row::of(kind, std::str::from_utf8(&value)?, seal);
        let is_there = *row == today && seal.is_present(&linked.sealed, &context);
        let mut writes = match kind == Kind::Passkey.name() {
            true => stored::moved(&*self.tables, seal, (row, &today)).await?,
            false => Vec::new(),
        };
        if is_there && writes.is_empty() {
            return Ok(Stands::Well);
        }
        if only_count {
            return Ok(Stands::Left);
        }
        if !is_there {
            writes.extend(moved(row, &today, linked, seal.seal(&value, &context)?));
        }
        match self.tables.write(writes).await {
            Ok(()) => Ok(Stands::Moved),
            // It was taken away, or moved by a sign-in, at this moment: the next pass will see.
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(Stands::Left),
            Err(error) => Err(error.into()),
        }
    }
}

/// The writes that move a way to sign in from one row to another, or seal it again where it is.
fn moved(from: &Row, to: &Row, linked: &Linked, sealed: String) -> Vec<Write> {
    let user = &linked.user;
    let as_read = || {
        let same = Condition::Equals(identity::SEALED, linked.sealed.as_str().into());
        Condition::All(vec![Condition::Equals(identity::USER, user.as_str().into()), same])
    };
    let places = |row: &Row| [row.key(), row.key_in(user)];
    if from == to {
        let again = || vec![Change::Set(identity::SEALED, sealed.as_str().into())];
        let one = |at: Key| Write::update(Table::Entities, at, again()).when(as_read());
        return places(to).map(one).into();
    }
    let Linked { linked_at, session, .. } = *linked;
    let item = Item::of(&Linked { user: user.clone(), linked_at, sealed, session });
    let mut writes: Vec<_> = places(from).map(|at| Write::delete(Table::Entities, at).when(as_read())).into();
    writes
        .extend(places(to).map(|at| Write::put(Table::Entities, at, item.clone()).when(Condition::Missing)));
    writes
}
