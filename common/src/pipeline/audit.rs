//! Records what belongs into the audit trail: in the log at once, and on main_q in the background. The router archives
//! it, and a worker keeps it where `soundoff audit` reads it.
//!
//! Nobody waits for it, and nothing fails because of it. While main_q is away events wait in memory, within a bound;
//! beyond that they are lost, which is counted and said aloud. What anybody on the net can cause is bounded by time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use ulid::Ulid;

use crate::lock::lock;
use crate::model::audit::{EVENT, Event, Kind};
use crate::pipeline::envelope::Stamped;
use crate::pipeline::handler::raw;
use crate::ports::queues::{Outgoing, QueueName, Queues};
use crate::protocol::{Handle, now_ms};
use crate::telemetry::{KindLabel, Metrics};

/// How many events wait for main_q.
const WAITING: usize = 4096;
/// How many are sent together.
const TOGETHER: usize = 100;
/// How long a send that failed is not repeated.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many events a second a process records.
const PER_SECOND: u32 = 50;
/// How many more than that at once.
const BURST: u32 = 500;
/// How often it is said how many were not recorded.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// How long an operator's command waits until its event is on main_q.
const OPERATOR_WAITS: Duration = Duration::from_secs(5);

/// The audit trail of a process. Cheap to clone.
#[derive(Clone)]
pub struct Trail {
    queues: Arc<dyn Queues>,
    metrics: Metrics,
    waiting: mpsc::Sender<Outgoing>,
    pace: Arc<Mutex<Pace>>,
}

/// How many events may be recorded now.
struct Pace {
    left: f64,
    since: Instant,
    /// How many were not.
    suppressed: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: f64::from(BURST), since: now, suppressed: 0 }
    }

    fn takes_one(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.left = (self.left + passed * f64::from(PER_SECOND)).min(f64::from(BURST));
        let takes = self.left >= 1.0;
        if takes {
            self.left -= 1.0;
        } else {
            self.suppressed += 1;
        }
        takes
    }
}

impl Trail {
    /// A trail that ends on `queues`; it sends in the background for as long as somebody has it.
    #[must_use]
    pub fn start(queues: Arc<dyn Queues>, metrics: Metrics) -> Self {
        let (waiting, taken) = mpsc::channel(WAITING);
        let pace = Arc::new(Mutex::new(Pace::new(Instant::now())));
        let carrier = Carrier { queues: queues.clone(), metrics: metrics.clone(), pace: pace.clone() };
        tokio::spawn(carrier.run(taken));
        Self { queues, metrics, waiting, pace }
    }

    /// Records what anybody on the net can cause. Beyond 50 a second, and 500 at once, events are only counted.
    pub fn record(&self, event: Event) {
        if !lock(&self.pace).takes_one(Instant::now()) {
            return;
        }
        if self.waiting.try_send(said(&self.metrics, event)).is_err() {
            lost(&self.metrics, 1, "main_q is away");
        }
    }

    /// Records what an operator did, and waits a little until it is on main_q: their command may end at once.
    pub async fn record_now(&self, event: Event) {
        let sent = self.queues.send(vec![said(&self.metrics, event)]);
        match tokio::time::timeout(OPERATOR_WAITS, sent).await {
            Ok(sent) => {
                sent.into_iter().filter_map(Result::err).for_each(|error| lost(&self.metrics, 1, &error))
            }
            Err(_) => lost(&self.metrics, 1, "main_q does not answer"),
        }
    }
}

fn lost(metrics: &Metrics, count: u64, why: impl std::fmt::Display) {
    metrics.audit_events_lost.inc_by(count);
    tracing::error!("{count} audit events are in this log only: {why}");
}

/// Says an event in the log, and makes the message that carries it.
fn said(metrics: &Metrics, event: Event) -> Outgoing {
    let (kind, at) = (event.kind.name(), now_ms());
    metrics.audit_events.get_or_create(&KindLabel { kind }).inc();
    tracing::info!(
        target: "audit",
        kind,
        user = event.user.as_ref().map(Handle::as_str),
        session = event.session.map(tracing::field::display),
        household = event.household.as_deref(),
        by = event.by.as_deref(),
        way = event.way.as_deref(),
        created = event.created,
        reason = event.reason.as_deref(),
        what = event.what.as_deref(),
        count = event.count,
    );
    Outgoing { queue: QueueName::main(), body: message(&event, at), user: None }
}

fn message(event: &Event, at: u64) -> Bytes {
    // A message needs a handle, and nobody has this one.
    let nobody = || "soundoff".parse().expect("a valid handle");
    let from = event.user.clone().unwrap_or_else(nobody);
    let body = raw(event);
    Stamped { mid: Ulid::generate(), id: "", message_type: EVENT, from: &from, origin: None, at, body: &body }
        .bytes()
}

/// Sends what waits.
struct Carrier {
    queues: Arc<dyn Queues>,
    metrics: Metrics,
    pace: Arc<Mutex<Pace>>,
}

impl Carrier {
    async fn run(self, mut taken: mpsc::Receiver<Outgoing>) {
        let mut ticks = tokio::time::interval(TOLD_EVERY);
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                many = taken.recv_many(&mut batch, TOGETHER) => if many == 0 { return },
                _ = ticks.tick() => batch.extend(self.suppressed()),
            }
            self.send(batch).await;
        }
    }

    /// The event that says how many were not recorded.
    fn suppressed(&self) -> Option<Outgoing> {
        let count = std::mem::take(&mut lock(&self.pace).suppressed);
        let event = Event { count: Some(count), ..Event::new(Kind::Suppressed) };
        (count > 0).then(|| said(&self.metrics, event))
    }

    async fn send(&self, mut batch: Vec<Outgoing>) {
        let mut waits = false;
        while !batch.is_empty() {
            let sent = self.queues.send(batch.clone()).await;
            let failed = batch.into_iter().zip(sent);
            batch = failed.filter_map(|(event, sent)| sent.is_err().then_some(event)).collect();
            if !batch.is_empty() {
                if !std::mem::replace(&mut waits, true) {
                    tracing::error!("main_q does not take audit events; up to {WAITING} wait for it");
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attacker_causes_is_bounded_and_counted() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let taken = (0..10_000).filter(|_| pace.takes_one(begun)).count();
        assert_eq!((taken as u32, pace.suppressed), (BURST, u64::from(10_000 - BURST)));
        let later = (0..10_000).filter(|_| pace.takes_one(begun + Duration::from_secs(2))).count();
        assert_eq!(later as u32, 2 * PER_SECOND);
        let much_later = (0..10_000).filter(|_| pace.takes_one(begun + Duration::from_secs(3600))).count();
        assert_eq!(much_later as u32, BURST);
    }
}
