//! Users who send little and do what the server says: they must not notice what others do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crowd::{Member, TYPE};
use super::judge::share;
use crate::client::{Answer, Client, Retries};
use crate::open_loop::{BACKLOG, Due, LAST_ANSWERS, Missed, Pace, start_clock};
use crate::report::Latencies;
use crate::server::Server;

/// How many they are.
pub(super) const POLITE: usize = 20;
/// Messages of each in a second.
const EACH_SECOND: u32 = 2;
/// Messages of all in a second.
pub(super) const MESSAGES: u32 = EACH_SECOND * POLITE as u32;

/// What polite users notice.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// From the due time to accepted.
    pub(super) accepted: Latencies,
    /// From the due time to the reply.
    pub(super) replied: Latencies,
    /// From the due time to accepted, by the second of the phase in which the message was due.
    each_second: Mutex<BTreeMap<u32, Latencies>>,
    due: u64,
    in_time: AtomicU64,
    retries: Arc<Retries>,
}

impl Noticed {
    /// The share of messages with the reply `ok` within ten seconds after they were due.
    pub(super) fn success(&self) -> f64 {
        share(self.in_time.load(Relaxed), self.due)
    }

    /// The least share of messages for which one try was enough.
    fn first_try(&self) -> f64 {
        let Retries { rate_limited, overloaded, unanswered, cut_off, .. } = &*self.retries;
        let again: u64 =
            [rate_limited, overloaded, unanswered, cut_off].map(|count| count.load(Relaxed)).iter().sum();
        share(self.in_time.load(Relaxed).saturating_sub(again), self.due)
    }

    /// Notes that a message of the phase that began then was accepted just now.
    fn note_accepted(&self, after: Duration, begun: Instant) {
        self.accepted.record(after);
        let due = begun.elapsed().saturating_sub(after).as_secs() as u32;
        let mut seconds = self.each_second.lock().expect("no thread panics while it holds the lock");
        seconds.entry(due).or_insert_with(|| Latencies::to_digits(2)).record(after);
    }

    /// The time to accepted in milliseconds that a share of the messages of each second did not exceed, at the middle
    /// of the second.
    pub(super) fn accepted_each_second(&self, share: f64) -> Vec<(f64, f64)> {
        let seconds = self.each_second.lock().expect("no thread panics while it holds the lock");
        let point = |(second, latencies): (&u32, &Latencies)| {
            (f64::from(*second) + 0.5, latencies.micros(share) as f64 / 1e3)
        };
        seconds.iter().map(point).collect()
    }

    /// Replies `ok` in a second.
    pub(super) fn served_each_second(&self) -> f64 {
        self.success() * f64::from(MESSAGES)
    }

    /// Success in words.
    pub(super) fn words(&self) -> String {
        format!("{:.2} % ({:.2} % at the first try)", 100.0 * self.success(), 100.0 * self.first_try())
    }
}

/// Lets polite users send for some seconds, and waits up to ten more for the last answers.
///
/// # Errors
/// They cannot connect, or the clock has died.
pub(super) async fn behave(
    server: &Arc<Server>,
    members: &[Member],
    seconds: u32,
    stop: &watch::Receiver<bool>,
) -> Result<Noticed> {
    let begun = Instant::now();
    let pace = Pace { rate: EACH_SECOND * members.len() as u32, duration: seconds, chance: None };
    let noticed = Arc::new(Noticed { due: pace.total(), ..Noticed::default() });
    let (mut users, mut dues) = (JoinSet::new(), Vec::new());
    for member in members {
        let mut client = Client::new(server.clone(), member.token.clone(), noticed.retries.clone());
        client.connected().await.context("a polite user cannot connect")?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        dues.push(sender);
        users.spawn(converse(client, member.clone(), receiver, noticed.clone(), begun));
    }
    let clock = start_clock(pace, dues, Arc::<Missed>::default(), stop.clone());
    while let Some(ended) = users.join_next().await {
        ended??;
    }
    clock.join().map_err(|_| anyhow!("the clock's thread died"))?;
    Arc::into_inner(noticed).context("somebody still counts")
}

async fn converse(
    mut client: Client,
    member: Member,
    mut dues: mpsc::Receiver<Due>,
    noticed: Arc<Noticed>,
    begun: Instant,
) -> Result<()> {
    let stamp = soundoff_common::protocol::now_ms();
    let mut deadline: Option<Instant> = None;
    loop {
        let last = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        if deadline.is_some() && client.in_flight() == 0 {
            break;
        }
        tokio::select! {
            biased;
            due = dues.recv(), if deadline.is_none() => match due {
                Some((n, due)) => {
                    let id = format!("{stamp:x}-p{n}");
                    client.send_due(id, TYPE, &member.body, Instant::from_std(due));
                }
                None => deadline = Some(Instant::now() + LAST_ANSWERS),
            },
            answer = client.next() => match answer? {
                Answer::Accepted { after, .. } => noticed.note_accepted(after, begun),
                Answer::Done { outcome, after, .. } => {
                    noticed.replied.record(after);
                    let is_in_time = outcome.is_ok() && after <= LAST_ANSWERS;
                    noticed.in_time.fetch_add(u64::from(is_in_time), Relaxed);
                }
                Answer::Again { .. } | Answer::Push { .. } => {}
            },
            () = tokio::time::sleep_until(last), if deadline.is_some() => break,
        }
    }
    client.bye().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_in_the_second_in_which_it_was_due() {
        let (noticed, begun) = (Noticed::default(), Instant::now().checked_sub(Duration::from_millis(7_500)));
        for after in [10, 30, 2_000] {
            noticed.note_accepted(Duration::from_millis(after), begun.unwrap());
        }
        let slowest: Vec<_> =
            noticed.accepted_each_second(1.0).into_iter().map(|(at, ms)| (at, ms.round())).collect();
        assert_eq!((slowest[0].0, slowest[1], slowest.len()), (5.5, (7.5, 30.0), 2));
        assert_eq!(noticed.accepted.count(), 3);
    }
}
