//! One queue of this process: the bodies that gather to be sent, and the messages that are held.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use soundoff_common::lock::lock;
use soundoff_common::ports::queues::{QueueError, QueueName};
use tokio::sync::Notify;

use super::calls::{self, Calls, ENTRIES};
use super::packs::Packs;
use super::part::Named;
use super::request::{Pack, Request, Waiting};
use super::wire::{self, CHUNK};

/// How many sends of one queue run in parallel.
const SENDS: usize = 4;
/// The shortest time between the starts of two sends, unless what gathers fills a message. At 1,000 bodies/s a message
/// carries 25, and a body that comes after a pause does not wait.
const PACE: Duration = Duration::from_millis(25);
/// How long a delete that is not full waits for others. No slot of the consumer waits for it. A crash meanwhile brings
/// back messages that have a dedupe record.
const DELETES_GATHER: Duration = Duration::from_millis(200);
/// How many bytes of bodies may gather.
const MOST_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
struct Gathering {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    sends: usize,
    /// When the latest send began.
    begun: Option<Instant>,
    /// Whether a task runs that begins the next send when it is time.
    watched: bool,
}

impl Gathering {
    /// How long until the next send is due; `None` when no body waits.
    fn patience(&self) -> Option<Duration> {
        self.waiting.front()?;
        let due = self.begun.map_or(Duration::ZERO, |begun| PACE.saturating_sub(begun.elapsed()));
        Some(if self.bytes >= CHUNK { Duration::ZERO } else { due })
    }

    /// Whether one more send is due beside `others`.
    fn calls_for_one(&self, others: usize) -> bool {
        others < SENDS && self.patience() == Some(Duration::ZERO)
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: QueueName,
    pub(super) url: String,
    pub(super) dlq: String,
    pub(super) calls: Calls,
    pub(super) packs: Mutex<Packs>,
    pub(super) arrived: Notify,
    /// How many callers wait for messages.
    pub(super) receivers: AtomicUsize,
    /// How many long polls are under way.
    pub(super) polls: AtomicUsize,
    gathering: Mutex<Gathering>,
}

impl Lane {
    pub(super) fn new(name: QueueName, url: String, dlq: String, calls: Calls) -> Arc<Self> {
        let (packs, gathering) = (Mutex::default(), Mutex::default());
        let (receivers, polls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { name, url, dlq, calls, packs, arrived: Notify::new(), receivers, polls, gathering })
    }

    /// Deletes settled messages. If the engine does not delete one now, the keeper does it later.
    pub(super) async fn delete(&self, done: &[Named]) -> calls::Answer {
        let answers = self.calls.delete(&self.url, &handles(done)).await;
        let mut packs = lock(&self.packs);
        for (named, answer) in done.iter().zip(&answers) {
            if answer.is_ok() { packs.deleted(named) } else { packs.undeleted(named) }
        }
        answers.into_iter().collect()
    }

    /// Deletes settled messages. If they are fewer than one call takes, waits a little first: messages that the
    /// consumer settles meanwhile gather behind them, so that the next calls are full.
    pub(super) async fn delete_in_time(&self, done: &[Named]) -> calls::Answer {
        if done.is_empty() {
            return Ok(());
        }
        if done.len() < ENTRIES {
            tokio::time::sleep(DELETES_GATHER).await;
        }
        self.delete(done).await
    }

    /// Hides messages for `visibility` from now.
    pub(super) async fn hide(&self, messages: &[Named], visibility: Duration) -> calls::Answer {
        let answers = self.calls.visibility(&self.url, &handles(messages), visibility).await;
        let mut packs = lock(&self.packs);
        for (named, _) in messages.iter().zip(&answers).filter(|(_, answer)| answer.is_err()) {
            packs.visibility_unknown(named);
        }
        answers.into_iter().collect()
    }

    /// Adds bodies to the next send.
    pub(super) fn gather(self: &Arc<Self>, bodies: Vec<Waiting>) {
        let mut gathering = lock(&self.gathering);
        for waiting in bodies {
            let bytes = waiting.body.len();
            if gathering.bytes + bytes > MOST_BYTES {
                let _ = waiting.answer.send(Err(QueueError::Full));
                continue;
            }
            gathering.bytes += bytes;
            gathering.waiting.push_back(waiting);
        }
        self.begin(&mut gathering);
        if !gathering.watched && !gathering.waiting.is_empty() {
            gathering.watched = true;
            tokio::spawn(self.clone().watch());
        }
    }

    fn begin(self: &Arc<Self>, gathering: &mut Gathering) {
        if gathering.calls_for_one(gathering.sends) {
            gathering.sends += 1;
            tokio::spawn(self.clone().pump());
        }
    }

    /// Begins the next send when it is time.
    async fn watch(self: Arc<Self>) {
        loop {
            let patience = {
                let mut gathering = lock(&self.gathering);
                self.begin(&mut gathering);
                let Some(patience) = gathering.patience() else {
                    gathering.watched = false;
                    return;
                };
                patience
            };
            // All senders may be busy, so do not look more often than this.
            tokio::time::sleep(patience.max(PACE / 5)).await;
        }
    }

    async fn pump(self: Arc<Self>) {
        while let Some(request) = self.next() {
            let (bodies, groups): (Vec<_>, Vec<_>) =
                request.iter().map(|pack| (encode(&pack.members), pack.group.clone())).unzip();
            let answers = self.calls.send(&self.url, &bodies, &groups).await;
            for (pack, answer) in request.into_iter().zip(answers) {
                for waiting in pack.members {
                    let _ = waiting.answer.send(answer.clone());
                }
            }
        }
    }

    /// The packs of the next request; `None` when this sender must end.
    fn next(&self) -> Option<Vec<Pack>> {
        let mut gathering = lock(&self.gathering);
        if !gathering.calls_for_one(gathering.sends - 1) {
            gathering.sends -= 1;
            return None;
        }
        gathering.begun = Some(Instant::now());
        let mut request = Request::default();
        while let Some(first) = gathering.waiting.front()
            && request.has_room(wire::weight(&first.body))
            && let Some(waiting) = gathering.waiting.pop_front()
        {
            gathering.bytes -= waiting.body.len();
            request.add(waiting);
        }
        Some(request.packs())
    }
}

fn handles(messages: &[Named]) -> Vec<String> {
    messages.iter().map(|named| named.handle.clone()).collect()
}

fn encode(pack: &[Waiting]) -> String {
    let bodies: Vec<_> = pack.iter().map(|waiting| waiting.body.as_str()).collect();
    wire::encode(&bodies, 0, 0)
}
