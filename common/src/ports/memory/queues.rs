use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lock::lock;
use crate::ports::queues::{
    DeadLetter, Depth, MAX_BODY_BYTES, Message, Outgoing, QueueError, QueueName, Queues, Receipt, Rounds,
};
use crate::protocol::{Handle, now_ms};

/// Queues in memory.
pub struct MemoryQueues {
    lines: Mutex<Lines>,
    /// Queues that take nothing now.
    away: Mutex<Vec<QueueName>>,
    /// Wakes receives that wait: something may be visible now.
    news: Notify,
    receives: AtomicUsize,
}

struct Lines {
    by_name: BTreeMap<QueueName, Line>,
    /// The last number that was given to a message.
    last: u64,
}

/// One queue. Messages are named by numbers that rise.
#[derive(Default)]
struct Line {
    messages: BTreeMap<u64, Held>,
    dead: BTreeMap<u64, (Option<Handle>, DeadLetter)>,
    /// The numbers of visible messages, some of messages that are not there any more.
    visible: Rounds<Option<Handle>, u64>,
}

struct Held {
    body: Bytes,
    sent_at: u64,
    attempt: u32,
    user: Option<Handle>,
    /// `None` while it is visible.
    hidden_until: Option<Instant>,
}

impl Line {
    /// Makes what was hidden until now or less long visible.
    fn show(&mut self, now: Instant) {
        for (number, held) in &mut self.messages {
            if held.hidden_until.is_some_and(|until| until <= now) {
                held.hidden_until = None;
                self.visible.insert(held.user.clone(), *number);
            }
        }
    }
}

impl Lines {
    fn of(&mut self, queue: &QueueName) -> Result<&mut Line, QueueError> {
        self.by_name.get_mut(queue).ok_or_else(|| QueueError::UnknownQueue(queue.clone()))
    }

    fn push(&mut self, outgoing: Outgoing, sent_at: u64) -> Result<(), QueueError> {
        let Outgoing { queue, body, user } = outgoing;
        if body.len() > MAX_BODY_BYTES {
            return Err(QueueError::TooLarge(body.len()));
        }
        self.last += 1;
        let number = self.last;
        let line = self.of(&queue)?;
        line.visible.insert(user.clone(), number);
        line.messages.insert(number, Held { body, sent_at, attempt: 0, user, hidden_until: None });
        Ok(())
    }
}

/// A receipt names the message and the attempt.
fn receipt(number: u64, attempt: u32) -> Receipt {
    Receipt(Bytes::from(format!("{number}:{attempt}")))
}

fn named(receipt: &Receipt) -> Option<(u64, u32)> {
    let (number, attempt) = std::str::from_utf8(&receipt.0).ok()?.split_once(':')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

impl MemoryQueues {
    /// These queues, all empty.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = QueueName>) -> Self {
        let by_name = names.into_iter().map(|name| (name, Line::default())).collect();
        Self {
            lines: Mutex::new(Lines { by_name, last: 0 }),
            away: Mutex::default(),
            news: Notify::new(),
            receives: AtomicUsize::default(),
        }
    }

    /// How many receives were asked for.
    pub fn receives(&self) -> usize {
        self.receives.load(Ordering::SeqCst)
    }

    /// From now on these queues, and only these, take, ack and bury nothing: their engine is away.
    pub fn take_away(&self, queues: impl IntoIterator<Item = QueueName>) {
        *lock(&self.away) = queues.into_iter().collect();
    }

    fn is_there(&self, queue: &QueueName) -> Result<(), QueueError> {
        let away = lock(&self.away).contains(queue);
        if away { Err(QueueError::Unavailable(format!("{queue} is away"))) } else { Ok(()) }
    }

    /// Makes everything that is not acked visible, as a restart does.
    pub fn restart(&self) {
        for line in lock(&self.lines).by_name.values_mut() {
            let now = Instant::now();
            line.messages.values_mut().for_each(|held| held.hidden_until = Some(now));
            line.visible = Rounds::default();
            line.show(now);
        }
        self.news.notify_waiters();
    }

    /// The bodies of all messages of a queue that are not acked, in the order in which they were sent.
    pub fn bodies(&self, queue: &QueueName) -> Vec<Bytes> {
        let mut lines = lock(&self.lines);
        lines.of(queue).map_or_else(
            |_| Vec::new(),
            |line| line.messages.values().map(|held| held.body.clone()).collect(),
        )
    }

    /// Up to `max` visible messages, and when the next one becomes visible.
    fn take(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<(Vec<Message>, Option<Instant>), QueueError> {
        let now = Instant::now();
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        line.show(now);
        let Line { messages, visible, .. } = line;
        let mut taken = Vec::new();
        while taken.len() < max {
            let is_visible =
                |number: &u64| messages.get(number).is_some_and(|held| held.hidden_until.is_none());
            let Some(number) = visible.next(is_visible) else { break };
            let Some(held) = messages.get_mut(&number) else { continue };
            held.attempt += 1;
            held.hidden_until = Some(now + visibility);
            taken.push(Message {
                receipt: receipt(number, held.attempt),
                body: held.body.clone(),
                attempt: held.attempt,
                sent_at: held.sent_at,
            });
        }
        Ok((taken, line.messages.values().filter_map(|held| held.hidden_until).min()))
    }
}

#[async_trait]
impl Queues for MemoryQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        let mut lines = lock(&self.lines);
        let sent = batch.into_iter().map(|outgoing| {
            self.is_there(&outgoing.queue)?;
            lines.push(outgoing, now_ms())
        });
        let sent = sent.collect();
        self.news.notify_waiters();
        sent
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        self.receives.fetch_add(1, Ordering::SeqCst);
        let until = Instant::now() + wait;
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let (taken, next) = self.take(queue, max, visibility)?;
            if !taken.is_empty() || until <= Instant::now() {
                return Ok(taken);
            }
            let wake = next.map_or(until, |next| next.min(until));
            tokio::select! { () = news => {}, () = tokio::time::sleep_until(wake) => {} }
        }
    }

    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.is_there(queue)?;
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        for (number, _) in receipts.iter().filter_map(named) {
            line.messages.remove(&number);
        }
        Ok(())
    }

    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        let until = Instant::now() + visibility;
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        for (number, attempt) in receipts.iter().filter_map(named) {
            let held = line.messages.get_mut(&number).filter(|held| held.attempt == attempt);
            held.into_iter().for_each(|held| held.hidden_until = Some(until));
        }
        self.news.notify_waiters();
        Ok(())
    }

    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        for (number, attempt) in receipts.iter().filter_map(named) {
            if let Some(held) = line.messages.get_mut(&number).filter(|held| held.attempt == attempt) {
                held.hidden_until = Some(Instant::now());
                held.attempt -= 1;
            }
        }
        line.show(Instant::now());
        self.news.notify_waiters();
        Ok(())
    }

    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError> {
        self.is_there(queue)?;
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        let Some((number, _)) = named(&receipt) else { return Ok(()) };
        if let Some(held) = line.messages.remove(&number) {
            let letter = DeadLetter {
                key: number.to_string(),
                body: String::from_utf8_lossy(&held.body).into_owned(),
                reason: reason.to_owned(),
                attempts: Some(held.attempt),
                buried_at: now_ms(),
            };
            line.dead.insert(number, (held.user, letter));
        }
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError> {
        let (now, now_ms) = (Instant::now(), now_ms());
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        line.show(now);
        let visible = line.messages.values().filter(|held| held.hidden_until.is_none()).count();
        let oldest = line.messages.values().map(|held| held.sent_at).min();
        Ok(Depth {
            visible: visible as u64,
            in_flight: (line.messages.len() - visible) as u64,
            oldest_age_ms: oldest.map_or(0, |sent_at| now_ms.saturating_sub(sent_at)),
            dead: line.dead.len() as u64,
        })
    }

    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(lock(&self.lines).of(queue)?.dead.values().take(limit).map(|(_, letter)| letter.clone()).collect())
    }

    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError> {
        let mut lines = lock(&self.lines);
        let line = lines.of(queue)?;
        let numbers: Vec<u64> = line.dead.keys().copied().take(limit).collect();
        let letters: Vec<_> = numbers.iter().filter_map(|number| line.dead.remove(number)).collect();
        let count = letters.len();
        for (user, letter) in letters {
            lines.push(Outgoing { queue: queue.clone(), body: letter.body.into(), user }, now_ms())?;
        }
        self.news.notify_waiters();
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::queues::contract::{self, Harness};

    struct One(Arc<MemoryQueues>);

    #[async_trait]
    impl Harness for One {
        async fn fresh(&self) -> Arc<dyn Queues> {
            self.0.clone()
        }

        async fn restarted(&self, queues: Arc<dyn Queues>) -> Arc<dyn Queues> {
            self.0.restart();
            queues
        }
    }

    fn one() -> One {
        One(Arc::new(MemoryQueues::new(["alpha_q", "beta_q"].map(QueueName::new))))
    }

    /// Side by side: most of them wait for a second or more.
    macro_rules! laws {
        ($($law:ident,)*) => {
            #[tokio::test]
            async fn keeps_the_laws_of_queues() {
                tokio::join!($(async { contract::$law(&one()).await },)*);
            }
        };
    }

    laws! {
        send_answers_per_entry,
        sent_survives_a_restart,
        hidden_until_visibility_lapses,
        receive_is_bounded,
        receive_wakes_at_once,
        one_batch_wakes_many_receivers,
        receive_wakes_for_a_lapse,
        ack_is_for_good,
        ack_takes_stale_receipts,
        acked_stays_away_after_a_restart,
        extend_replaces_visibility,
        stale_extend_changes_nothing,
        attempts_are_counted,
        given_back_counts_no_receive,
        bury_moves_to_the_dead_letters,
        redrive_brings_back,
        redriven_ignores_old_receipts,
        unacked_is_visible_after_a_restart,
        many_receivers_share,
        unknown_queues_are_refused,
        forwarded_is_there_at_once_and_after_a_restart,
        users_are_served_in_turn,
        what_comes_again_keeps_its_place,
    }
}
