//! An open loop: messages become due at fixed times and are sent whether or not earlier ones were answered. Latency
//! counts from the time a message was due, so that a server that stands still cannot look fast.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp1};
use serde_json::{Value, json};
use soundoff_common::note;
use soundoff_common::protocol::{ErrorCode, now_ms};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::report::Latencies;
use crate::server::Server;
use crate::socket::{End, Frame, Socket, send_frame};

/// How long the last answers may take after the last message was due.
pub(crate) const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// At most this many due times may wait for a socket's task. If there are more, the generator is the bottleneck.
pub(crate) const BACKLOG: usize = 4096;

/// Between the clock's start and the first due time.
pub(crate) const LEAD: Duration = Duration::from_millis(100);

/// How soon the clock notices that it must stop, however far apart the due times are.
const HEARS_WITHIN: Duration = Duration::from_millis(200);

/// How often and for how long messages become due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Per second.
    pub(crate) rate: u32,
    /// Seconds.
    pub(crate) duration: u32,
    /// The seed, where times are random (Poisson) instead of equally far apart.
    pub(crate) chance: Option<u64>,
}

impl Pace {
    /// How many messages in total.
    pub(crate) fn total(self) -> u64 {
        u64::from(self.rate) * u64::from(self.duration)
    }

    /// When each is due, counted from the first.
    fn times(self) -> impl Iterator<Item = Duration> {
        let mut dice = self.chance.map(StdRng::seed_from_u64);
        let rate = f64::from(self.rate.max(1));
        let mut at = 0.0;
        (0..self.total()).map(move |n| {
            let due = if dice.is_some() { at } else { n as f64 / rate };
            if let Some(dice) = &mut dice {
                let gap: f64 = Exp1.sample(dice);
                at += gap / rate;
            }
            Duration::from_secs_f64(due)
        })
    }
}

/// The number of what is due, and when it is due.
pub(crate) type Due = (u64, Instant);

/// Due times at which nothing was sent.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    /// The socket's task was too slow to take them.
    pub(crate) skipped: AtomicU64,
    /// Their socket had ended.
    pub(crate) cut_off: AtomicU64,
}

/// Messages that the server refused, by error code.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<String, u64>>);

impl Refusals {
    /// Counts one refusal.
    pub(crate) fn record(&self, code: ErrorCode) {
        let name = json!(code).as_str().unwrap_or("unknown").to_owned();
        *self.0.lock().expect("no thread panics while it holds the lock").entry(name).or_default() += 1;
    }

    /// All of them.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().expect("no thread panics while it holds the lock").clone()
    }
}

/// Calls `due` with each entry of the schedule when its time has come. Times count from the start and rise. This runs
/// on a thread of its own, as the runtime's timers are too coarse by a millisecond; `due` is dropped when it is over.
pub(crate) fn keep_time<T: Send + 'static>(
    start: Instant,
    schedule: impl Iterator<Item = (Duration, T)> + Send + 'static,
    stop: watch::Receiver<bool>,
    mut due: impl FnMut(T, Instant) + Send + 'static,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        // The kernel may wake a thread 50 µs late to wake several at once, which would count as the server's latency.
        // If this cannot be changed, it does: the lag is reported either way.
        let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
        for (after, what) in schedule {
            let at = start + after;
            if !sleep_until(at, &stop) {
                return;
            }
            due(what, at);
        }
    })
}

/// Sends each entry of the schedule, when it is due, to the receiver with the entry's number.
pub(crate) fn send_in_time<T: Send + 'static>(
    start: Instant,
    schedule: impl Iterator<Item = (Duration, (usize, T))> + Send + 'static,
    dues: Vec<mpsc::Sender<(T, Instant)>>,
    missed: Arc<Missed>,
    stop: watch::Receiver<bool>,
) -> std::thread::JoinHandle<()> {
    keep_time(start, schedule, stop, move |(index, what), at| match dues[index].try_send((what, at)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => drop(missed.skipped.fetch_add(1, Relaxed)),
        Err(TrySendError::Closed(_)) => drop(missed.cut_off.fetch_add(1, Relaxed)),
    })
}

/// Calls `due` with each number when it is due at that pace.
pub(crate) fn start_ticking(
    pace: Pace,
    stop: watch::Receiver<bool>,
    due: impl FnMut(u64, Instant) + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let schedule = (0..).zip(pace.times()).map(|(n, after)| (after, n));
    keep_time(Instant::now() + LEAD, schedule, stop, due)
}

/// Sends each socket in turn the time when its next message is due. The end of their channels means that it is over.
pub(crate) fn start_clock(
    pace: Pace,
    dues: Vec<mpsc::Sender<Due>>,
    missed: Arc<Missed>,
    stop: watch::Receiver<bool>,
) -> std::thread::JoinHandle<()> {
    let count = dues.len() as u64;
    let schedule = (0..).zip(pace.times()).map(move |(n, after)| (after, ((n % count) as usize, n)));
    send_in_time(Instant::now() + LEAD, schedule, dues, missed, stop)
}

/// Sleeps until a time. Returns `false` if the run is stopped before.
fn sleep_until(due: Instant, stop: &watch::Receiver<bool>) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() || *stop.borrow() {
            return !*stop.borrow();
        }
        std::thread::sleep(left.min(HEARS_WITHIN));
    }
}

/// Opens one socket per token, a few at a time: the handshakes are not what is measured.
///
/// # Errors
/// A socket cannot be opened, or the server allows this number of sockets less than the rate.
pub(crate) async fn open_sockets(
    server: &Arc<Server>,
    tokens: Vec<String>,
    rate: u32,
) -> Result<Vec<Socket>> {
    let count = tokens.len() as u64;
    let opening = futures_util::stream::iter(tokens).map(|token| {
        let server = server.clone();
        async move { Socket::open(&server, &token).await }
    });
    let sockets: Vec<Socket> = opening.buffered(32).try_collect().await.context("cannot open all sockets")?;
    let allowed = sockets.first().map_or(0, |socket| socket.welcome.limits.messages_per_second);
    ensure!(
        u64::from(rate) <= u64::from(allowed) * count,
        "the server allows {allowed} messages per second and socket: {rate} needs at least {} sockets",
        rate.div_ceil(allowed.max(1)),
    );
    Ok(sockets)
}

/// What a socket waits for before it closes, and how long after the last message was due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// Whether it waits for the replies, too.
    pub(crate) replies: bool,
    /// For at most this long.
    pub(crate) most: Duration,
}

impl Wait {
    /// Waits until all messages are accepted.
    pub(crate) const ACCEPTED: Self = Self { replies: false, most: LAST_ANSWERS };
}

/// What all sockets count together.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// From the due time to accepted.
    pub(crate) accepted: Latencies,
    /// From the due time until the message is sent: the generator's own share of the latency.
    pub(crate) lag: Latencies,
    /// Messages sent.
    pub(crate) sent: AtomicU64,
    /// From the due time to the reply, of the replies that came before the socket closed.
    pub(crate) replied: Latencies,
    /// Messages refused.
    pub(crate) refused: Refusals,
    /// Messages that were not sent.
    pub(crate) missed: Arc<Missed>,
}

/// Sends messages of one type over the sockets in turn, each with its own body, until the time is over and the last
/// message is accepted.
///
/// # Errors
/// The clock has died.
pub(crate) async fn send_all(
    message_type: &str,
    pace: Pace,
    senders: Vec<(Socket, Value)>,
    wait: Wait,
    totals: &Arc<Totals>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let run = now_ms();
    let (mut loops, mut dues) = (JoinSet::new(), Vec::new());
    for (socket, body) in senders {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        dues.push(sender);
        let message_type = message_type.to_owned();
        let sending = Sending { socket, totals: totals.clone(), wait, run, message_type, body };
        loops.spawn(sending.go(receiver));
    }
    let clock = start_clock(pace, dues, totals.missed.clone(), stop);
    while loops.join_next().await.is_some() {}
    clock.join().map_err(|_| anyhow!("the clock's thread died"))
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
struct Open {
    due: Instant,
    accepted: bool,
}

/// One socket of the open loop.
struct Sending {
    socket: Socket,
    totals: Arc<Totals>,
    wait: Wait,
    run: u64,
    message_type: String,
    body: Value,
}

impl Sending {
    /// Sends what is due until the clock stops, then waits a while for the last answers.
    async fn go(mut self, mut dues: mpsc::Receiver<Due>) {
        let mut open: HashMap<String, Open> = HashMap::new();
        let mut beat = tokio::time::interval(self.socket.welcome.heartbeat);
        let mut deadline: Option<tokio::time::Instant> = None;
        loop {
            if deadline.is_some() && !open.values().any(|open| self.waits(open)) {
                return self.socket.bye().await;
            }
            let last = deadline.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                due = dues.recv(), if deadline.is_none() => match due {
                    Some((n, due)) => {
                        let id = format!("{:x}-{n}", self.run);
                        self.socket.send(send_frame(&id, &self.message_type, &self.body));
                        self.totals.sent.fetch_add(1, Relaxed);
                        self.totals.lag.record(due.elapsed());
                        open.insert(id, Open { due, accepted: false });
                    }
                    None => deadline = Some(tokio::time::Instant::now() + self.wait.most),
                },
                frame = self.socket.next() => match frame {
                    Ok(frame) => self.take(frame, &mut open),
                    Err(end) => return self.ended(&end, open.values().filter(|open| self.waits(open)).count()),
                },
                _ = beat.tick() => self.socket.ping(),
                () = tokio::time::sleep_until(last), if deadline.is_some() => return self.socket.bye().await,
            }
        }
    }

    fn waits(&self, open: &Open) -> bool {
        self.wait.replies || !open.accepted
    }

    fn take(&self, frame: Frame, open: &mut HashMap<String, Open>) {
        match frame {
            Frame::Accepted { id } => {
                if let Some(open) = open.get_mut(&id).filter(|open| !open.accepted) {
                    open.accepted = true;
                    self.totals.accepted.record(open.due.elapsed());
                }
            }
            Frame::Reply { id, .. } => {
                // It may come before its `accepted`, and implies it.
                if let Some(Open { due, accepted }) = open.remove(&id) {
                    self.totals.replied.record(due.elapsed());
                    if !accepted {
                        self.totals.accepted.record(due.elapsed());
                    }
                }
            }
            Frame::Refused { id: Some(id), error } => {
                open.remove(&id);
                self.totals.refused.record(error.code);
            }
            _ => {}
        }
    }

    fn ended(&self, end: &End, open: usize) {
        note!("a socket ended: {end}");
        self.totals.missed.cut_off.fetch_add(open as u64, Relaxed);
    }
}
