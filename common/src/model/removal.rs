//! The time by which things are taken away for their age. It never runs ahead of what really passed by much, so that a
//! wall clock that is set a year forward takes nothing away that people still need.

use std::time::{Duration, Instant};

use crate::model::holdings::{Holding, Of};
use crate::ports::tables::{Item, Key, Table, TableError, Tables, Write};
use crate::protocol::millis;

/// How much faster than time passes it may go, so that it catches up after a process was off for long.
const FASTER: u32 = 2;
/// How often it is written down, where it is.
const NOTED_EVERY: Duration = Duration::from_secs(60);

crate::attributes! {
    /// The attribute of the item: milliseconds since 1970.
    pub mod attribute {
        AT = "at",
    }
}

/// The kinds of items declared here.
pub const HOLDINGS: &[Holding] = &[Holding {
    kind: "removals",
    table: Table::Entities,
    pk: PARTITION,
    sk: SK,
    attributes: attribute::ALL,
    of: Of::Nobody,
    summary: "The time by which `up` removes expired items; it goes at most twice as fast as time passes.",
}];

const PARTITION: &str = "clock";
const SK: &str = "removals";

fn key() -> Key {
    Key::new(PARTITION, SK)
}

/// The time of removals in one process.
#[derive(Debug)]
pub struct Removals {
    /// The time at `since`, in milliseconds since 1970.
    at: u64,
    since: Instant,
    noted: Option<Instant>,
}

impl Removals {
    /// Begins at the wall clock's time.
    #[must_use]
    pub fn begin(now_ms: u64, since: Instant) -> Self {
        Self { at: now_ms, since, noted: None }
    }

    /// Goes on where an earlier process was; tables that know of none begin at the wall clock's time.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn resume(tables: &dyn Tables, now_ms: u64, since: Instant) -> Result<Self, TableError> {
        let found = tables.get(Table::Entities, key()).await?;
        let at = found.and_then(|item| item.number(attribute::AT)).unwrap_or(now_ms);
        Ok(Self { at, since, noted: None })
    }

    /// The time by which things may be taken away now: the wall clock's, or an earlier one.
    pub fn now(&mut self, wall_ms: u64, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since) * FASTER;
        self.since = now;
        self.at = self.at.max(wall_ms.min(self.at.saturating_add(millis(passed))));
        self.at.min(wall_ms)
    }

    /// Writes it down for the next process, now and then.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn note(&mut self, tables: &dyn Tables, now: Instant) -> Result<(), TableError> {
        if self.noted.is_some_and(|noted| now < noted + NOTED_EVERY) {
            return Ok(());
        }
        let item = Item::new().with(attribute::AT, self.at);
        tables.write(vec![Write::put(Table::Entities, key(), item)]).await?;
        self.noted = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryTables;

    const NOW: u64 = 1_790_000_000_000;
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;

    #[tokio::test]
    async fn a_clock_that_is_set_takes_nothing_away_before_its_time() {
        let (tables, start) = (MemoryTables::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut removals = Removals::resume(&tables, NOW, start).await.unwrap();
        assert_eq!(removals.now(NOW + 10_000, after(10)), NOW + 10_000);
        assert_eq!(removals.now(NOW + YEAR_MS, after(20)), NOW + 30_000, "twice as fast as time passes");
        removals.note(&tables, after(20)).await.unwrap();
        removals.now(NOW + YEAR_MS, after(50));
        removals.note(&tables, after(50)).await.unwrap();
        let mut next = Removals::resume(&tables, NOW + YEAR_MS, start).await.unwrap();
        assert_eq!(next.now(NOW + YEAR_MS, after(1)), NOW + 32_000, "a restart changes nothing");
        assert_eq!(next.now(NOW - YEAR_MS, after(2)), NOW - YEAR_MS, "what is not past is not taken away");
        assert_eq!(next.now(NOW + 33_000, after(3)), NOW + 33_000, "right again");
        next.note(&tables, after(3)).await.unwrap();
        let mut long_off = Removals::resume(&tables, NOW + YEAR_MS, start).await.unwrap();
        assert_eq!(long_off.now(NOW + YEAR_MS, after(YEAR_MS / 1000)), NOW + YEAR_MS, "it catches up");
    }
}
