//! The clock of one process: the time of its mids, which no restart and no setting of the wall clock turns back, and
//! how far its wall clock is from those of the deployment.
//!
//! Two kinds of items serve it. The *mark* is one for the deployment: every mid is below it. Each process that is not
//! alone also has a row, which says what its wall clock and its mids show; others take it in (a hybrid logical clock).

mod course;
mod highest;
mod moment;
mod peers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::Rng as _;
use soundoff_common::lock::lock;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Condition, Item, Key, Query, Table, TableError, Tables, Write};
use soundoff_common::protocol::{CLOCKS_APART_MS, millis, now_ms};
use soundoff_common::telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::mids::{Mids, RESERVED_MS};
use course::{Course, Standing};
use moment::{Moment, difference};
use peers::Row;

/// The partition of all of it.
const PARTITION: &str = "clock";
/// The range key of the mark.
const MARK_SK: &str = "mark";
/// The start of a row's range key.
const ROW: &str = "p#";
/// How often a process looks at the others' rows and renews its own.
const BEAT: Duration = Duration::from_secs(2);
/// How often it does so at first, so that it soon knows the others' time to some milliseconds.
const FIRST_BEAT: Duration = Duration::from_millis(250);
/// How many of the first beats there are.
const FIRST_BEATS: u32 = 20;
/// How long the tables may take for one call before time goes on without them.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a mark that others raise at the same moment is tried again at once.
const RACES: usize = 5;
/// The most rows that are read.
const MOST: usize = 1_000;

soundoff_common::attributes! {
    /// The attributes of the mark, in milliseconds since 1970.
    pub(super) mod mark {
        MARK = "mark",
    }
}

soundoff_common::attributes! {
    /// The attributes of a row: a number that rises with every change, and in milliseconds since 1970 the process's
    /// wall clock and the time of its mids.
    pub(super) mod row {
        N = "n",
        WALL = "wall",
        TIME = "time",
    }
}

/// The kinds of items declared here.
pub(crate) const HOLDINGS: &[Holding] = &[
    Holding {
        kind: "mark",
        table: Table::Entities,
        pk: PARTITION,
        sk: MARK_SK,
        attributes: mark::ALL,
        of: Of::Nobody,
        summary: "A time that no mid has reached yet; it never goes back.",
    },
    Holding {
        kind: "clock of an edge",
        table: Table::Entities,
        pk: PARTITION,
        sk: "p#<process>",
        attributes: row::ALL,
        of: Of::Nobody,
        summary: "What an edge's clocks show, renewed every two seconds; removed when it stops, or after ten minutes without a change.",
    },
];

/// The key of the mark or of a row.
fn key(sk: &str) -> Key {
    Key::new(PARTITION, sk)
}

/// The wall clock, in milliseconds since 1970. Tests set their own.
type Wall = Box<dyn Fn() -> u64 + Send + Sync>;

/// What the tables hold.
struct Held {
    mark: Option<u64>,
    rows: Vec<Row>,
}

/// The clock of one process; its edges share it.
pub struct Clock {
    tables: Arc<dyn Tables>,
    metrics: Metrics,
    mids: Mids,
    /// The range key of the process's own row, if there may be other processes.
    own: Option<String>,
    wall: Wall,
    /// A clock that cannot be set.
    steady: Instant,
    course: Mutex<Course>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", self.mids)
    }
}

impl Clock {
    /// The clock of the only process that uses `tables`. Where there is no mark yet, it looks for the highest mid in
    /// them.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn alone(tables: Arc<dyn Tables>, metrics: Metrics) -> Result<Arc<Self>, TableError> {
        Self::alone_by(tables, metrics, Box::new(now_ms)).await
    }

    async fn alone_by(
        tables: Arc<dyn Tables>,
        metrics: Metrics,
        wall: Wall,
    ) -> Result<Arc<Self>, TableError> {
        let mark = tables.get(Table::Entities, key(MARK_SK)).await?.and_then(|item| item.number(mark::MARK));
        let least = match mark {
            Some(_) => 0,
            None => highest::highest(&*tables).await?,
        };
        Self::begin(tables, metrics, wall, None, (Held { mark, rows: Vec::new() }, least)).await
    }

    /// The clock of one of several processes.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn among_others(tables: Arc<dyn Tables>, metrics: Metrics) -> Result<Arc<Self>, TableError> {
        Self::among_others_by(tables, metrics, Box::new(now_ms)).await
    }

    async fn among_others_by(
        tables: Arc<dyn Tables>,
        metrics: Metrics,
        wall: Wall,
    ) -> Result<Arc<Self>, TableError> {
        let own = format!("{ROW}{}", Ulid::generate());
        let held = held(&*tables).await?;
        Self::begin(tables, metrics, wall, Some(own), (held, 0)).await
    }

    /// Begins above the mark and above the time `least`.
    async fn begin(
        tables: Arc<dyn Tables>,
        metrics: Metrics,
        wall_clock: Wall,
        own: Option<String>,
        (held, least): (Held, u64),
    ) -> Result<Arc<Self>, TableError> {
        let (steady, wall) = (Instant::now(), wall_clock());
        let mark = held.mark.unwrap_or(least);
        // The mark is this far ahead of the time of those who reserved it: beginning at the mark itself would push the
        // time forward with every start.
        let reached = mark.saturating_sub(RESERVED_MS);
        // A wall clock that is far ahead of all that is known is believed when no live process contradicts it.
        let unsure = !held.rows.is_empty() && wall > mark + CLOCKS_APART_MS;
        let time = if unsure { mark } else { wall.max(reached) };
        let course = Course::begin(time, Moment { wall, steady: 0 }, &held.rows);
        let mids = Mids::begin(mark, difference(time, wall));
        let clock = Self { tables, metrics, mids, own, wall: wall_clock, steady, course: Mutex::new(course) };
        match clock.reserve(held.mark, (mark + 1).max(time + RESERVED_MS)).await {
            // On a full disk only reads come in; the next beats try again, and meanwhile mids go on by successors.
            Ok(()) | Err(TableError::NoRoom) => Ok(Arc::new(clock)),
            Err(error) => Err(error),
        }
    }

    /// The id of a message that arrives at `now_ms`.
    pub(crate) fn mid(&self, now_ms: u64) -> Ulid {
        self.mids.next(now_ms)
    }

    /// The time that the edges agree on when the wall clock says `now_ms`, both in milliseconds since 1970.
    pub(crate) fn agreed_ms(&self, now_ms: u64) -> u64 {
        self.mids.time(now_ms)
    }

    /// Goes on above a mid that a client says it was told, if that can be true.
    pub(crate) fn hear(&self, told: Ulid) {
        self.mids.hear(told, (self.wall)());
    }

    /// Now, in seconds since 1970, by the time of mids: for what must not end before its time.
    pub(crate) fn latest_s(&self) -> u64 {
        let now = (self.wall)();
        self.mids.time(now).max(now) / 1000
    }

    /// Why no new sockets should come here, if there is a reason.
    pub(crate) fn unready(&self) -> Option<String> {
        let course = lock(&self.course);
        match course.standing {
            _ if self.own.is_none() => None,
            Standing::Far => {
                let seconds = seconds(course.skew);
                Some(format!("the clock is {seconds:+.1} s from the other edges'"))
            }
            Standing::Comparing => Some("the clock is being compared with the other edges'".to_owned()),
            Standing::Near if !self.mids.has_caught_up((self.wall)()) => {
                Some("the clock has not reached the mids of earlier edges".to_owned())
            }
            Standing::Near => None,
        }
    }

    /// Keeps the time until `stop`: looks at the others' rows, renews its own, and reserves the mark ahead.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut beats = 0_u32;
        let mut well = true;
        loop {
            let pause = match self.own {
                Some(_) if beats < FIRST_BEATS => FIRST_BEAT,
                _ => BEAT,
            };
            // At moments that differ from beat to beat, so that some rows are read soon after they were written.
            let pause = pause.mul_f64(rand::rng().random_range(0.75..1.25));
            tokio::select! { biased; () = stop.cancelled() => break, () = tokio::time::sleep(pause) => {} }
            beats = beats.saturating_add(1);
            match self.beat(u64::from(beats)).await {
                Ok(()) => well = true,
                Err(error) if well => {
                    well = false;
                    tracing::warn!(%error, "the clock cannot reach the tables; mids go on within what is reserved");
                }
                Err(_) => {}
            }
        }
        if let Some(own) = &self.own {
            // If this fails, others remove it later.
            let _ = self.bounded(self.tables.write(vec![Write::delete(Table::Entities, key(own))])).await;
        }
    }

    async fn beat(&self, n: u64) -> Result<(), TableError> {
        let looked = match self.own {
            Some(_) => self.bounded(held(&*self.tables)).await.map(Some),
            None => Ok(None),
        };
        let others = looked.as_ref().ok().and_then(Option::as_ref).map(|held| self.others(held));
        let gone = self.go_on(others.as_deref());
        let held = looked?;
        let mark = held.as_ref().and_then(|held| held.mark);
        if let Some(mark) = mark {
            self.mids.reserved(mark);
        }
        if let Some(wanted) = self.mids.wanted((self.wall)()) {
            self.bounded(self.reserve(mark, wanted)).await?;
        }
        let Some(own) = &self.own else { return Ok(()) };
        let wall = (self.wall)();
        let item = Item::new().with(row::N, n).with(row::WALL, wall).with(row::TIME, self.mids.time(wall));
        self.bounded(self.tables.write(vec![Write::put(Table::Entities, key(own), item)])).await?;
        for (sk, n) in gone {
            let dead = Write::delete(Table::Entities, key(&sk)).when(Condition::Equals(row::N, n.into()));
            match self.bounded(self.tables.write(vec![dead])).await {
                Ok(()) | Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn others(&self, held: &Held) -> Vec<Row> {
        held.rows.iter().filter(|row| Some(&row.sk) != self.own.as_ref()).cloned().collect()
    }

    /// Goes on to now; returns the rows of dead processes.
    fn go_on(&self, others: Option<&[Row]>) -> Vec<(String, u64)> {
        let at = Moment { wall: (self.wall)(), steady: millis(self.steady.elapsed()) };
        let mut course = lock(&self.course);
        let before = course.standing;
        self.mids.shift(course.go_on(at, others));
        let (after, skew) = (course.standing, seconds(course.skew));
        self.metrics.edge_clock_skew_seconds.set(skew);
        match (before, after) {
            (Standing::Far, Standing::Near) => tracing::info!("the clock is near the other edges' again"),
            (Standing::Near | Standing::Comparing, Standing::Far) => {
                tracing::error!(
                    skew,
                    "the clock is too far from the other edges': set it; no new sockets come here"
                );
            }
            _ => {}
        }
        course.peers.gone(at.steady).map(|(sk, n)| (sk.to_owned(), n)).collect()
    }

    /// Makes the mark in the tables at least `to`. `seen` is what was read there.
    async fn reserve(&self, mut seen: Option<u64>, to: u64) -> Result<(), TableError> {
        for _ in 0..RACES {
            let unchanged = match seen {
                Some(seen) if seen >= to => {
                    self.mids.reserved(seen);
                    return Ok(());
                }
                Some(seen) => Condition::Equals(mark::MARK, seen.into()),
                None => Condition::Missing,
            };
            let item = Item::new().with(mark::MARK, to);
            let raised = Write::put(Table::Entities, key(MARK_SK), item).when(unchanged);
            match self.tables.write(vec![raised]).await {
                Ok(()) => {
                    self.mids.reserved(to);
                    return Ok(());
                }
                Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
                    let found = self.tables.get(Table::Entities, key(MARK_SK)).await?;
                    seen = found.and_then(|item| item.number(mark::MARK));
                }
                Err(error) => return Err(error),
            }
        }
        Err(TableError::Conflict)
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, TableError>>) -> Result<T, TableError> {
        let late = |_| TableError::Unavailable(format!("no answer in {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, call).await.map_err(late)?
    }
}

/// Milliseconds as seconds.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Reads the mark and all rows.
async fn held(tables: &dyn Tables) -> Result<Held, TableError> {
    let page = tables.query(Query::prefix(Table::Entities, PARTITION, "", MOST)).await?;
    let mut held = Held { mark: None, rows: Vec::new() };
    for (sk, item) in page.items {
        if sk == MARK_SK {
            held.mark = item.number(mark::MARK);
        } else {
            let number = |name| item.number(name).unwrap_or(0);
            held.rows.push(Row { n: number(row::N), wall: number(row::WALL), time: number(row::TIME), sk });
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests;
