//! Retries: after a refusal that the request did not cause, and after a lost answer only where two requests have the
//! effect of one.
//!
//! Waits are random, up to a bound that doubles. Retries are paid from a budget that successes fill, so that an engine
//! in trouble gets hardly more requests than usual. What is throttled is one partition, and so each has a budget of its
//! own: one post that everybody likes spends nobody else's retries. The SDK's own retries are off: it does not know
//! which requests may be made twice.

use std::error::Error;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use rand::Rng;
use soundoff_common::lock::lock;
use soundoff_common::ports::tables::{Table, TableError};
use tokio::time::Instant;

/// The most retries in a row without progress.
const AGAIN: u32 = 8;
/// The bound of the first wait; it doubles for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long after the first try the last one may begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many retries all calls together may make for the engine's sake while nothing succeeds.
const BUDGET: u32 = 500;
/// The same for one partition's sake.
const PARTITION_BUDGET: u32 = 50;
/// How many budgets partitions share: two with the same one are rarely hot at once.
const PARTITIONS: u64 = 512;
/// How many successes pay for one retry, once the budget is spent.
const SUCCESSES_A_RETRY: u32 = 5;

/// Why a try did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was done; a later try may succeed.
    Busy(String),
    /// The same, and the reason is one partition: `part` is its place among those that the call is about, where that is
    /// known.
    Throttled { why: String, part: Option<usize> },
    /// It is unknown whether it was done.
    Lost(String),
    /// Nothing was done, and another try would fail in the same way.
    Final(TableError),
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Final(error)
    }
}

/// Whether a request may be made again after its answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// Two requests have the effect of one.
    IsOnce,
    /// A second request might see the effect of the first, or have it twice.
    IsNot,
}

/// What is left for retries, in successes.
#[derive(Debug)]
struct Budget {
    left: Mutex<u32>,
    most: u32,
}

impl Budget {
    fn of(retries: u32) -> Self {
        let most = retries * SUCCESSES_A_RETRY;
        Self { left: Mutex::new(most), most }
    }

    fn earn(&self) {
        let mut left = lock(&self.left);
        *left = (*left + 1).min(self.most);
    }

    fn spend(&self) -> bool {
        let mut left = lock(&self.left);
        let rest = left.checked_sub(SUCCESSES_A_RETRY);
        *left = rest.unwrap_or(*left);
        rest.is_some()
    }
}

/// A partition, as the number of its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition(usize);

impl Partition {
    pub(super) fn of(table: Table, pk: &str) -> Self {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((table, pk));
        Self((hash % PARTITIONS) as usize)
    }
}

/// The budgets of a process.
#[derive(Debug)]
pub(super) struct Budgets {
    engine: Budget,
    partitions: Box<[Budget]>,
}

impl Default for Budgets {
    fn default() -> Self {
        let partitions = (0..PARTITIONS).map(|_| Budget::of(PARTITION_BUDGET)).collect();
        Self { engine: Budget::of(BUDGET), partitions }
    }
}

impl Budgets {
    /// The budget that a retry is paid from.
    fn of(&self, partition: Option<Partition>) -> &Budget {
        partition.map_or(&self.engine, |Partition(number)| &self.partitions[number])
    }
}

/// The retries of one call.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    budgets: &'a Budgets,
    /// The partitions that the call is about.
    about: Vec<Partition>,
    retries: u32,
    end: Instant,
}

impl<'a> Pace<'a> {
    pub(super) fn new(budgets: &'a Budgets, about: Vec<Partition>) -> Self {
        Self { budgets, about, retries: 0, end: Instant::now() + PATIENCE }
    }

    /// Tries until one try succeeds or fails finally.
    pub(super) async fn run<T, F: Future<Output = Result<T, Fault>>>(
        budgets: &'a Budgets,
        about: Vec<Partition>,
        twice: Twice,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, TableError> {
        let mut pace = Self::new(budgets, about);
        loop {
            match attempt().await {
                Ok(answer) => {
                    pace.progress();
                    return Ok(answer);
                }
                Err(fault) => pace.after(fault, twice).await?,
            }
        }
    }

    /// There was progress: the count of retries begins again.
    pub(super) fn progress(&mut self) {
        self.budgets.engine.earn();
        self.about.iter().for_each(|partition| self.budgets.of(Some(*partition)).earn());
        self.retries = 0;
    }

    /// Waits until the next try is due, or returns the error when there is none.
    pub(super) async fn after(&mut self, fault: Fault, twice: Twice) -> Result<(), TableError> {
        let (why, payer) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Lost(why) if twice == Twice::IsNot => {
                return Err(TableError::Unavailable(format!("{why}; whether it was done is unknown")));
            }
            Fault::Busy(why) | Fault::Lost(why) => (why, None),
            Fault::Throttled { why, part } => (why, self.about.get(part.unwrap_or(0)).copied()),
        };
        let bound = FIRST_WAIT.saturating_mul(1 << self.retries.min(16)).min(LONGEST_WAIT);
        let wait = bound.mul_f64(rand::rng().random::<f64>());
        if self.retries == AGAIN || Instant::now() + wait > self.end || !self.budgets.of(payer).spend() {
            return Err(TableError::Unavailable(why));
        }
        self.retries += 1;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// The meaning of an SDK's error for the next try.
pub(super) fn fault<E>(action: &str, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(context) = error else {
        let why = format!("dynamodb: {action}: {}", chain(error));
        return match error {
            SdkError::ConstructionFailure(_) => Fault::Final(TableError::Unavailable(why)),
            _ => Fault::Lost(why),
        };
    };
    let status = context.raw().status().as_u16();
    let code = context.err().code().unwrap_or("no code");
    let why = format!("dynamodb: {action}: {code} ({status})");
    match code {
        "ProvisionedThroughputExceededException" => Fault::Throttled { why, part: None },
        "RequestLimitExceeded"
        | "ThrottlingException"
        | "ThrottlingError"
        | "TransactionInProgressException" => Fault::Busy(why),
        "TransactionConflictException" | "ReplicatedWriteConflictException" => {
            Fault::Final(TableError::Conflict)
        }
        "ValidationException" => {
            let said = quoteless(context.err().message().unwrap_or_default());
            Fault::Final(TableError::Invalid(format!("{why}: {said}")))
        }
        _ if status >= 500 => Fault::Lost(why),
        _ => Fault::Final(TableError::Unavailable(why)),
    }
}

/// An engine's message, up to where it might quote what was sent.
pub(super) fn quoteless(message: &str) -> String {
    let plain = message.split(['\'', '"', '{', '[']).next().unwrap_or_default();
    plain.chars().take(200).collect::<String>().trim().to_owned()
}

/// An error and its causes as one text.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Fault {
        Fault::Busy("busy".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end() {
        let budgets = Budgets::default();
        let mut tries = 0;
        let begin = Instant::now();
        let result: Result<(), _> = Pace::run(&budgets, Vec::new(), Twice::IsNot, || {
            tries += 1;
            std::future::ready(Err(busy()))
        })
        .await;
        assert_eq!((result, tries), (Err(TableError::Unavailable("busy".to_owned())), AGAIN + 1));
        assert!(begin.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_tries_but_not_the_patience() {
        let budgets = Budgets::default();
        let mut pace = Pace::new(&budgets, Vec::new());
        let begin = Instant::now();
        let mut rounds = 0;
        while pace.after(busy(), Twice::IsOnce).await.is_ok() {
            rounds += 1;
            if rounds % 5 == 0 {
                pace.progress();
            }
        }
        assert!(rounds > AGAIN, "{rounds}");
        assert!(begin.elapsed() <= PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_asked_for_again_only_where_twice_is_once() {
        let budgets = Budgets::default();
        for (twice, expected) in [(Twice::IsOnce, AGAIN + 1), (Twice::IsNot, 1)] {
            let mut tries = 0;
            let result: Result<(), _> = Pace::run(&budgets, Vec::new(), twice, || {
                tries += 1;
                std::future::ready(Err(Fault::Lost("lost".to_owned())))
            })
            .await;
            assert!(matches!(result, Err(TableError::Unavailable(_))));
            assert_eq!(tries, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_calls_together_keep_within_the_budget() {
        let budgets = Budgets::default();
        let mut tries = 0;
        for _ in 0..1_000 {
            let _: Result<(), _> = Pace::run(&budgets, Vec::new(), Twice::IsOnce, || {
                tries += 1;
                std::future::ready(Err(busy()))
            })
            .await;
        }
        assert_eq!(tries, 1_000 + BUDGET, "each call's first try, and the budget");
        for _ in 0..SUCCESSES_A_RETRY {
            budgets.engine.earn();
        }
        assert!(budgets.engine.spend() && !budgets.engine.spend());
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_partition_spends_its_own_budget_and_nobody_elses() {
        let budgets = Budgets::default();
        let [hot, other, cold] = ["post#1", "like#1", "post#2"].map(|pk| Partition::of(Table::Entities, pk));
        assert!(hot != other && hot != cold && hot != Partition::of(Table::Users, "post#1"));
        let tries = async |about: &[Partition], part, calls: u32| {
            let mut tries = 0;
            for _ in 0..calls {
                let _: Result<(), _> = Pace::run(&budgets, about.to_vec(), Twice::IsNot, || {
                    tries += 1;
                    std::future::ready(Err(Fault::Throttled { why: "hot".to_owned(), part }))
                })
                .await;
            }
            tries
        };
        // In a transaction of two partitions the second one is named.
        assert_eq!(tries(&[other, hot], Some(1), 100).await, 100 + PARTITION_BUDGET);
        assert_eq!(tries(&[hot], None, 10).await, 10, "its budget is spent");
        for about in [other, cold] {
            assert_eq!(tries(&[about], None, 1).await, 1 + AGAIN);
        }
        let spent = |budget: &Budget| budget.most - *lock(&budget.left);
        assert_eq!(spent(&budgets.engine), 0);
        for _ in 0..SUCCESSES_A_RETRY {
            Pace::run(&budgets, vec![other, hot], Twice::IsOnce, || std::future::ready(Ok(())))
                .await
                .unwrap();
        }
        assert_eq!(tries(&[hot], None, 1).await, 2, "what succeeds pays for a retry");
    }

    #[test]
    fn what_the_engine_quotes_is_not_passed_on() {
        assert_eq!(quoteless("Value 'secret' failed"), "Value");
        assert_eq!(quoteless("Item size has exceeded"), "Item size has exceeded");
    }
}
