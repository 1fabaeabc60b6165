//! Sockets with a heartbeat at a fixed rate, on a thread of their own, while something else goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::sync::watch;

use crate::dialect::{Dialect, Heard, User};
use crate::opening::{AT_ONCE, open};
use crate::report::Latencies;
use crate::target::Target;
use crate::wire::{Swarm, Talk};

const CALM: u8 = 1;
const STORM: u8 = 2;
const END: u8 = 3;

/// How closely due times are kept: epoll does not wait for less.
const TICK: Duration = Duration::from_millis(1);

/// How long the last answers may take after the end.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How heartbeats went in one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    /// From the time each was due to its answer.
    pub(crate) latency: Latencies,
    /// How long the phase was.
    pub(crate) time: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    calm: Latencies,
    storm: Latencies,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Beating {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
    calm_since: std::cell::Cell<Instant>,
    storm_since: std::cell::Cell<Instant>,
}

struct Hearts {
    dialect: Dialect,
    shared: Arc<Shared>,
    waiting: Vec<VecDeque<(Instant, u8)>>,
}

impl Talk for Hearts {
    fn heard(&mut self, at: usize, kind: u16, payload: &[u8], _: &mut Vec<u8>) -> Result<()> {
        let Heard::Pong(answers) = self.dialect.sort(kind, payload)? else { return Ok(()) };
        for _ in 0..answers {
            let (due, phase) = self.waiting[at].pop_front().context("an answer to no heartbeat")?;
            match phase {
                CALM => self.shared.calm.record(due.elapsed()),
                STORM => self.shared.storm.record(due.elapsed()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Beating {
    /// Opens the sockets and begins.
    ///
    /// # Errors
    /// They cannot be opened.
    pub(crate) fn start(
        target: &Target,
        users: &[User],
        rate: u32,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self> {
        let mut swarm = Swarm::new()?;
        open(&mut swarm, target, users, AT_ONCE, stop)?;
        let shared = Arc::new(Shared::default());
        let waiting = vec![VecDeque::new(); users.len()];
        let hearts = Hearts { dialect: target.dialect, shared: shared.clone(), waiting };
        let thread = std::thread::spawn(move || beat(swarm, hearts, rate));
        let now = std::cell::Cell::new(Instant::now());
        Ok(Self { shared, thread, calm_since: now.clone(), storm_since: now })
    }

    /// Begins the phase that the storm is compared with.
    pub(crate) fn calm(&self) {
        self.calm_since.set(Instant::now());
        self.shared.phase.store(CALM, Relaxed);
    }

    /// Begins the phase of the storm.
    pub(crate) fn storm(&self) {
        self.storm_since.set(Instant::now());
        self.shared.phase.store(STORM, Relaxed);
    }

    /// Ends it. Returns the phases before the storm and during it; the latter took `storm`.
    ///
    /// # Errors
    /// A socket broke, or an answer is missing.
    pub(crate) fn end(self, storm: Duration) -> Result<(Phase, Phase)> {
        self.shared.phase.store(END, Relaxed);
        let ended = self.thread.join().map_err(|_| anyhow!("the heartbeats' thread died"))?;
        ended.context("the sockets that were there before")?;
        let calm = self.storm_since.get() - self.calm_since.get();
        let shared = Arc::into_inner(self.shared).context("the heartbeats' thread lives on")?;
        Ok((Phase { latency: shared.calm, time: calm }, Phase { latency: shared.storm, time: storm }))
    }
}

fn beat(mut swarm: Swarm, mut hearts: Hearts, rate: u32) -> Result<()> {
    let mut ping = Vec::new();
    hearts.dialect.ping(0, &mut ping);
    let every = Duration::from_secs(1) / rate;
    let (mut due, mut next) = (Instant::now(), 0);
    loop {
        let phase = hearts.shared.phase.load(Relaxed);
        if phase == END {
            break;
        }
        while due <= Instant::now() {
            hearts.waiting[next].push_back((due, phase));
            swarm.send(next, &ping)?;
            next = (next + 1) % hearts.waiting.len();
            due += every;
        }
        swarm.turn(TICK, &mut hearts)?;
    }
    let ended = Instant::now();
    while hearts.waiting.iter().any(|waiting| !waiting.is_empty()) {
        ensure!(ended.elapsed() < LAST_ANSWERS, "a heartbeat is not answered");
        swarm.turn(TICK, &mut hearts)?;
    }
    Ok(())
}
