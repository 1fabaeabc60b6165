//! How often the ways to sign in to an account change, and when one was last taken away.

use serde::{Deserialize, Serialize};
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, EXPIRES, Item, Key, Table, Tables, Write};
use soundoff_common::protocol::Handle;

use crate::refusal::Refusal;
use crate::ways::meter::{Count, DAY_MS, Rule};

/// Each change sends a notice: nobody fills a mailbox with them.
const CHANGES: Rule = Rule { window_ms: DAY_MS, pause_ms: 0, free: 30, most: 60 };
/// Longer than any session lasts.
const KEPT_S: u64 = 366 * 24 * 3600;

pub(crate) const HOLDING: Holding = Holding {
    kind: "changes of identities",
    table: Table::Entities,
    pk: "identities-changes#<h>",
    sk: "changes",
    attributes: &[MADE, "since", "last", "unlinked_at", EXPIRES],
    of: Of::User,
    summary: "How often a user's ways to sign in changed in a day, and when one was last taken away.",
};
/// [`Changes::made`] as an attribute.
const MADE: &str = "made";

fn key(user: &Handle) -> Key {
    Key::new(format!("identities-changes#{user}"), "changes")
}

/// What has changed so far. Times are in milliseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Changes {
    made: u64,
    since: u64,
    last: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlinked_at: Option<u64>,
    #[serde(rename = "expires")]
    gone_at: u64,
}

/// What is done to an account's ways to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Linked,
    Unlinked,
}

async fn read(tables: &dyn Tables, user: &Handle) -> Result<Option<Changes>, Refusal> {
    let item = tables.get(Table::Entities, key(user)).await?;
    Ok(item.map(Item::parse).transpose()?)
}

/// The write that counts one more change. It fails when another was counted meanwhile.
pub(crate) async fn one_more(
    tables: &dyn Tables,
    user: &Handle,
    change: Change,
    now: u64,
) -> Result<Write, Refusal> {
    let before = read(tables, user).await?;
    let unchanged =
        before.as_ref().map_or(Condition::Missing, |before| Condition::Equals(MADE, before.made.into()));
    let before = before.unwrap_or_default();
    let count = Count { made: before.made, since: before.since, last: before.last };
    let wait = CHANGES.wait_ms(&count, now);
    if wait > 0 {
        return Err(Refusal::RateLimited(wait.div_ceil(1000)));
    }
    let Count { made, since, last } = CHANGES.counted(&count, now);
    let unlinked_at = if change == Change::Unlinked { Some(now) } else { before.unlinked_at };
    let after = Changes { made, since, last, unlinked_at, gone_at: now / 1000 + KEPT_S };
    Ok(Write::put(Table::Entities, key(user), Item::of(&after)).when(unchanged))
}

/// Whether none of a user's ways was taken away at `since` (milliseconds since 1970) or later.
pub(crate) async fn none_taken_since(
    tables: &dyn Tables,
    user: &Handle,
    since: u64,
) -> Result<bool, Refusal> {
    let changes = read(tables, user).await?;
    Ok(changes.and_then(|changes| changes.unlinked_at).is_none_or(|at| at < since))
}

const _: () = assert!(matches!(EXPIRES.as_bytes(), b"expires"), "`Changes` spells it out");
