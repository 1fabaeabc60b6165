//! Passkeys as they are stored, beside the identity that they are.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Change, Condition, Item, Key, Table, Tables, Write};
use soundoff_common::protocol::Handle;

use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::ways::identity::{Identity, Row, SEALED, USER};
use crate::ways::passkeys::answers::{decoded, encoded};
use crate::ways::passkeys::keys::PublicKey;

pub(crate) const HOLDING: Holding = Holding {
    kind: "passkey",
    table: Table::Entities,
    pk: "identity#<kind>#<hash>",
    sk: SK,
    attributes: &[USER, SEALED, COUNTER, USED_AT],
    of: Of::User,
    summary: "A passkey's public key and name, sealed; its counter, and when it was last used.",
};
const SK: &str = "passkey";
/// [`Stored::counter`] as an attribute.
const COUNTER: &str = "counter";
/// [`Stored::used_at`] as an attribute.
const USED_AT: &str = "used_at";

/// A passkey's item.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    user: Handle,
    /// [`Passkey`], sealed for its user.
    sealed: String,
    /// What its counter said last; 0 where it has none.
    counter: u32,
    /// When it was last used or added, in milliseconds since 1970.
    used_at: u64,
}

/// What is known of a passkey and does not change.
#[derive(Serialize, Deserialize)]
pub(crate) struct Passkey {
    /// Its public key (COSE), in base64url.
    key: String,
    /// By which name it knows its user.
    pub(super) user_handle: String,
    /// What its user calls it.
    #[serde(default)]
    name: String,
    #[serde(skip)]
    counter: u32,
}

impl Passkey {
    pub(super) fn new(key: Vec<u8>, user_handle: String, counter: u32) -> Self {
        Self { key: encoded(key), user_handle, name: String::new(), counter }
    }

    /// The same under a name.
    pub(crate) fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    pub(super) fn key(&self) -> anyhow::Result<PublicKey> {
        let key = decoded(&self.key).ok().and_then(|key| PublicKey::read(&key));
        key.ok_or_else(|| anyhow::anyhow!("a stored passkey's key cannot be read"))
    }

    /// The write that keeps it.
    pub(crate) fn kept(
        &self,
        seal: &Seal,
        (identity, user): (&Identity, &Handle),
        now: u64,
    ) -> Result<Write, Refusal> {
        let text = serde_json::to_vec(self).map_err(anyhow::Error::from)?;
        let sealed = seal.seal(&text, &context(user))?;
        let stored = Stored { user: user.clone(), sealed, counter: self.counter, used_at: now };
        Ok(Write::put(Table::Entities, key(&identity.row(seal)), Item::of(&stored)).when(Condition::Missing))
    }
}

/// A passkey that is stored.
pub(super) struct Known {
    pub(super) user: Handle,
    pub(super) passkey: Passkey,
    counter: u32,
    key: Key,
}

impl Known {
    /// The write that keeps its counter; `None` when that has not risen, so that there is a copy of it. Many passkeys
    /// count nothing: theirs is always 0.
    pub(super) fn counted(&self, counter: u32, now: u64) -> Option<Write> {
        if (counter, self.counter) != (0, 0) && counter <= self.counter {
            return None;
        }
        let changes = vec![Change::Set(COUNTER, counter.into()), Change::Set(USED_AT, now.into())];
        let unchanged = Condition::Equals(COUNTER, self.counter.into());
        Some(Write::update(Table::Entities, self.key.clone(), changes).when(unchanged))
    }
}

/// The passkey that an identity is; `None` when nobody has it.
pub(super) async fn of(
    tables: &dyn Tables,
    seal: &Seal,
    identity: &Identity,
) -> Result<Option<Known>, Refusal> {
    // While the secret is replaced it may be where another generation has put it.
    let rows = std::iter::once(identity.row(seal)).chain(identity.former_rows(seal));
    let keys: Vec<_> = rows.map(|row| (Table::Entities, key(&row))).collect();
    let found = tables.get_many(&keys).await?;
    let first = keys.into_iter().zip(found).find_map(|((_, key), item)| Some((key, item?)));
    let Some((key, item)) = first else { return Ok(None) };
    let Stored { user, sealed, counter, .. } = item.parse()?;
    let passkey = opened(seal, &user, &sealed)?;
    Ok(Some(Known { user, passkey, counter, key }))
}

/// What users see of their passkeys: the name, and when it was last used (milliseconds since 1970).
pub(crate) async fn seen(
    tables: &dyn Tables,
    seal: &Seal,
    rows: &[&Row],
) -> Result<HashMap<String, (String, u64)>, Refusal> {
    let keys: Vec<_> = rows.iter().map(|row| (Table::Entities, key(row))).collect();
    let mut seen = HashMap::new();
    for (row, item) in rows.iter().zip(tables.get_many(&keys).await?) {
        let Some(item) = item else { continue };
        let Stored { user, sealed, used_at, .. } = item.parse()?;
        seen.insert(row.id(), (opened(seal, &user, &sealed)?.name, used_at));
    }
    Ok(seen)
}

/// The write that removes what is stored of a passkey.
pub(crate) fn forgotten(row: &Row) -> Write {
    Write::delete(Table::Entities, key(row))
}

/// The writes that move what is stored of a passkey from one row to another, sealed by the generation in use; none when
/// it is there like that.
pub(crate) async fn moved(
    tables: &dyn Tables,
    seal: &Seal,
    (from, to): (&Row, &Row),
) -> anyhow::Result<Vec<Write>> {
    let Some(item) = tables.get(Table::Entities, key(from)).await? else { return Ok(Vec::new()) };
    let Stored { user, sealed, counter, used_at } = item.parse()?;
    let context = context(&user);
    if from == to && seal.is_present(&sealed, &context) {
        return Ok(Vec::new());
    }
    let again = seal.seal(&seal.open(&sealed, &context)?, &context)?;
    let as_read = Condition::All(vec![
        Condition::Equals(SEALED, sealed.into()),
        Condition::Equals(COUNTER, counter.into()),
    ]);
    if from == to {
        let changes = vec![Change::Set(SEALED, again.into())];
        return Ok(vec![Write::update(Table::Entities, key(to), changes).when(as_read)]);
    }
    let item = Item::of(&Stored { user, sealed: again, counter, used_at });
    Ok(vec![
        Write::delete(Table::Entities, key(from)).when(as_read),
        Write::put(Table::Entities, key(to), item).when(Condition::Missing),
    ])
}

fn opened(seal: &Seal, user: &Handle, sealed: &str) -> Result<Passkey, Refusal> {
    let text = seal.open(sealed, &context(user))?;
    Ok(serde_json::from_slice(&text).map_err(anyhow::Error::from)?)
}

fn key(row: &Row) -> Key {
    Key { sk: SK.to_owned(), ..row.key() }
}

fn context(user: &Handle) -> String {
    format!("passkey {user}")
}
