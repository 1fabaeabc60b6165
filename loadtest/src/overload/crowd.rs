//! Users who send as much as they can or want, and do not mind what the server asks them to do.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use soundoff_common::protocol::now_ms;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::open_loop::Refusals;
use crate::server::Server;
use crate::socket::{Frame, Socket, send_frame};

/// What everybody sends.
pub(super) const TYPE: &str = "comment.create";

/// How soon a closed socket is opened again, whatever the close said.
const REOPEN: Duration = Duration::from_millis(100);

/// How long who waits for replies pauses after a refusal that names no time.
const PAUSE: Duration = Duration::from_millis(100);

/// A user who sends.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Their token.
    pub(super) token: String,
    /// What they say: a comment on a post of their own, so that nobody else hears of it.
    pub(super) body: Value,
}

/// When a socket sends its next message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Drive {
    /// With fewer than this many without a reply, and after a refusal when the server says.
    Replied(usize),
    /// So often, whatever happened to the others.
    Every(Duration),
    /// With fewer than this many neither accepted nor refused: as fast as the server reads.
    Heard(usize),
}

/// What happened to one user's messages.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    /// Sockets that were closed or not opened.
    closed: AtomicU64,
}

/// What happened to messages until some moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Messages sent.
    pub(super) sent: u64,
    /// Messages refused.
    pub(super) refused: u64,
    /// Replies `ok`, by user.
    pub(super) served: Vec<u64>,
}

impl Counts {
    /// What happened since an earlier moment.
    pub(super) fn since(&self, before: &Self) -> Self {
        let served = self.served.iter().zip(&before.served).map(|(now, then)| now - then).collect();
        Self { sent: self.sent - before.sent, refused: self.refused - before.refused, served }
    }

    /// Replies `ok` of all users.
    pub(super) fn all_served(&self) -> u64 {
        self.served.iter().sum()
    }
}

/// Users who send until this is dropped.
#[derive(Debug)]
pub(super) struct Crowd {
    tallies: Vec<Arc<Tally>>,
    refusals: Arc<Refusals>,
    rests: Arc<AtomicBool>,
    _sending: JoinSet<()>,
}

impl Crowd {
    /// Starts to send, from so many sockets of each user.
    pub(super) fn start(server: &Arc<Server>, members: &[Member], sockets: usize, drive: Drive) -> Self {
        let (refusals, mut sending, stamp) = (Arc::new(Refusals::default()), JoinSet::new(), now_ms());
        let (mut tallies, rests) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        for (at, member) in members.iter().enumerate() {
            let tally = Arc::new(Tally::default());
            for _ in 0..sockets {
                let (server, member) = (server.clone(), member.clone());
                let (tally, refusals, rests) = (tally.clone(), refusals.clone(), rests.clone());
                let eager = Eager { server, member, drive, stamp, tally, refusals, rests };
                // Users must not all be due in the same moment.
                let late = match drive {
                    Drive::Every(gap) => gap.mul_f64(at as f64 / members.len() as f64),
                    _ => Duration::ZERO,
                };
                sending.spawn(eager.go(late));
            }
            tallies.push(tally);
        }
        Self { tallies, refusals, rests, _sending: sending }
    }

    /// From here on nobody sends, and everybody listens.
    pub(super) fn rest(&self) {
        self.rests.store(true, Relaxed);
    }

    /// What has happened until now.
    pub(super) fn counts(&self) -> Counts {
        let sum = |of: fn(&Tally) -> &AtomicU64| self.tallies.iter().map(|t| of(t).load(Relaxed)).sum();
        Counts {
            sent: sum(|tally| &tally.sent),
            refused: sum(|tally| &tally.refused),
            served: self.tallies.iter().map(|tally| tally.served.load(Relaxed)).collect(),
        }
    }

    /// Does some work, and notes each second what has happened until then. Times count from the beginning of the work.
    pub(super) async fn watched<T>(&self, work: impl Future<Output = T>) -> (T, Vec<(Duration, Counts)>) {
        let (mut work, mut seconds) = (pin!(work), tokio::time::interval(Duration::from_secs(1)));
        // After a late note, one that is in time would follow so soon that a rate between them says little.
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (begun, mut samples) = (Instant::now(), Vec::new());
        loop {
            tokio::select! {
                outcome = &mut work => return (outcome, samples),
                _ = seconds.tick() => samples.push((begun.elapsed(), self.counts())),
            }
        }
    }

    /// Refusals by their code, and how many sockets were closed or not opened.
    pub(super) fn refusals(&self) -> String {
        let closed: u64 = self.tallies.iter().map(|tally| tally.closed.load(Relaxed)).sum();
        format!("refused {:?}, closed {closed} sockets", self.refusals.counts())
    }
}

/// One socket of such a user.
struct Eager {
    server: Arc<Server>,
    member: Member,
    drive: Drive,
    stamp: u64,
    tally: Arc<Tally>,
    refusals: Arc<Refusals>,
    rests: Arc<AtomicBool>,
}

impl Eager {
    async fn go(self, late: Duration) {
        tokio::time::sleep(late).await;
        loop {
            if let Ok(socket) = Socket::open(&self.server, &self.member.token).await {
                self.session(socket).await;
            }
            self.tally.closed.fetch_add(1, Relaxed);
            tokio::time::sleep(REOPEN).await;
        }
    }

    /// Sends until the socket ends.
    async fn session(&self, mut socket: Socket) {
        let mut ticks = self.ticks();
        let mut open: HashSet<String> = HashSet::new();
        let mut paused = Instant::now();
        loop {
            if let Drive::Replied(most) | Drive::Heard(most) = self.drive
                && paused <= Instant::now()
            {
                while open.len() < most {
                    open.insert(self.send(&mut socket));
                }
            }
            tokio::select! {
                frame = socket.next() => match frame {
                    Ok(frame) => paused = paused.max(self.take(frame, &mut open)),
                    Err(_) => return,
                },
                _ = ticks.tick(), if self.is_due() => drop(self.send(&mut socket)),
                () = tokio::time::sleep_until(paused), if paused > Instant::now() => {}
            }
        }
    }

    fn is_due(&self) -> bool {
        matches!(self.drive, Drive::Every(_)) && !self.rests.load(Relaxed)
    }

    fn ticks(&self) -> Interval {
        let gap = match self.drive {
            Drive::Every(gap) => gap,
            Drive::Replied(_) | Drive::Heard(_) => PAUSE,
        };
        let mut ticks = tokio::time::interval(gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    }

    /// Sends a message and returns its id.
    fn send(&self, socket: &mut Socket) -> String {
        let id = format!("{:x}-{}", self.stamp, self.tally.sent.fetch_add(1, Relaxed));
        socket.send(send_frame(&id, TYPE, &self.member.body));
        id
    }

    /// Counts what a frame says. Returns until when nothing is sent.
    fn take(&self, frame: Frame, open: &mut HashSet<String>) -> Instant {
        let now = Instant::now();
        match frame {
            Frame::Accepted { id } => {
                if matches!(self.drive, Drive::Heard(_)) {
                    open.remove(&id);
                }
                now
            }
            Frame::Reply { id, outcome: Ok(_), .. } => {
                self.tally.served.fetch_add(1, Relaxed);
                open.remove(&id);
                now
            }
            Frame::Reply { id, outcome: Err(error), .. } | Frame::Refused { id: Some(id), error } => {
                self.tally.refused.fetch_add(1, Relaxed);
                self.refusals.record(error.code);
                open.remove(&id);
                match self.drive {
                    Drive::Replied(_) => now + error.retry_after_ms.map_or(PAUSE, Duration::from_millis),
                    Drive::Every(_) | Drive::Heard(_) => now,
                }
            }
            _ => now,
        }
    }
}
