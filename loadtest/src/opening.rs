//! Opening many sockets: upgrade, greeting, one ping. A bounded number of sockets is being opened at once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use soundoff_common::protocol::now_ms;
use tokio::sync::watch;

use crate::dialect::{Dialect, Heard, User, text_field};
use crate::report::Progress;
use crate::target::Target;
use crate::wire::{Swarm, Talk};

/// Handshakes under way at once: fewer than any server's queue of connections that it has not accepted (Node and Bun
/// keep 511).
pub(crate) const AT_ONCE: usize = 400;

/// If no socket makes progress for this long, something is wrong.
const STALLED: Duration = Duration::from_secs(15);

/// How often it checks the clock and whether the user has stopped it.
pub(crate) const TURN: Duration = Duration::from_millis(50);

/// The user has stopped the run.
#[derive(Debug, thiserror::Error)]
#[error("stopped before the end: there is nothing to report")]
pub(crate) struct Stopped;

/// The step up to which a socket is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Until {
    /// The upgrade is answered: its token is valid.
    Upgraded,
    /// It has been greeted, and its first ping answered.
    Answered,
}

/// The step that a socket has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Upgrading,
    Greeting,
    Pinging,
    Done,
}

/// Sockets that are being opened. Number `first` of the swarm belongs to the first user.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    dialect: Dialect,
    users: &'a [User],
    until: Until,
    first: usize,
    steps: Vec<Step>,
    /// What Sound Off called each session: the edge's boot id and the connection.
    pub(crate) sessions: Vec<String>,
    /// How many sockets are welcomed, and when the last one was.
    pub(crate) welcomed: usize,
    /// How many sockets have reached the step.
    pub(crate) done: usize,
    /// From the beginning until each socket reached the step, in microseconds.
    pub(crate) served: crate::report::Latencies,
    begun: Instant,
}

impl<'a> Opening<'a> {
    fn new(dialect: Dialect, users: &'a [User], until: Until, first: usize) -> Self {
        Self {
            dialect,
            users,
            until,
            first,
            steps: vec![Step::Upgrading; users.len()],
            sessions: vec![String::new(); users.len()],
            welcomed: 0,
            done: 0,
            served: crate::report::Latencies::default(),
            begun: Instant::now(),
        }
    }

    fn done(&mut self, n: usize) {
        self.steps[n] = Step::Done;
        self.done += 1;
        self.served.record(self.begun.elapsed());
    }

    fn welcome(&mut self, n: usize, out: &mut Vec<u8>) {
        self.welcomed += 1;
        self.steps[n] = Step::Pinging;
        self.dialect.ping(0, out);
    }
}

impl Talk for Opening<'_> {
    fn opened(&mut self, at: usize, out: &mut Vec<u8>) -> Result<()> {
        let n = at - self.first;
        if self.until == Until::Upgraded {
            self.done(n);
            return Ok(());
        }
        self.steps[n] = Step::Greeting;
        if !self.dialect.greet(&self.users[n], out) {
            self.welcome(n, out);
        }
        Ok(())
    }

    fn heard(&mut self, at: usize, kind: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let heard = self.dialect.sort(kind, payload)?;
        // Earlier sockets stay as they are.
        let Some(n) = at.checked_sub(self.first) else { return Ok(()) };
        match (self.steps[n], heard) {
            (Step::Greeting, Heard::Welcome) => {
                if let Some(session) = text_field(payload, "session") {
                    session.clone_into(&mut self.sessions[n]);
                }
                self.welcome(n, out);
            }
            // The only welcome of NATS is the answer to the ping in its greeting.
            (Step::Greeting, Heard::Pong(1)) if self.dialect == Dialect::Nats => self.welcome(n, out),
            (Step::Pinging, Heard::Pong(1)) => {
                self.done(n);
            }
            (_, Heard::Other) => {}
            (step, heard) => bail!("{heard:?} while {step:?}"),
        }
        Ok(())
    }
}

/// Opens a socket for each user, after those that the swarm has, and waits for one answer to a ping on each.
///
/// # Errors
/// As [`open_until`].
pub(crate) fn open<'a>(
    swarm: &mut Swarm,
    target: &Target,
    users: &'a [User],
    at_once: usize,
    stop: &watch::Receiver<bool>,
) -> Result<Opening<'a>> {
    open_until(Until::Answered, swarm, target, users, at_once, stop)
}

/// Opens a socket for each user, after those that the swarm has.
///
/// # Errors
/// A socket is refused, breaks or answers wrongly, or nothing happens for 15 s.
pub(crate) fn open_until<'a>(
    until: Until,
    swarm: &mut Swarm,
    target: &Target,
    users: &'a [User],
    at_once: usize,
    stop: &watch::Receiver<bool>,
) -> Result<Opening<'a>> {
    let progress = Progress::within(target.quiet, "opening", users.len() as u64);
    let mut opening = Opening::new(target.dialect, users, until, swarm.len());
    let (mut begun, mut moved) = (0, Instant::now());
    let mut shown = now_ms();
    while opening.done < users.len() {
        while begun < users.len() && begun < opening.done + at_once {
            let upgrade = target.dialect.upgrade(target.address, &users[begun]);
            swarm.websocket(target.address, upgrade)?;
            begun += 1;
        }
        let before = opening.welcomed + opening.done;
        swarm.turn(TURN, &mut opening)?;
        if opening.welcomed + opening.done > before {
            moved = Instant::now();
        }
        if moved.elapsed() > STALLED {
            bail!(
                "{}: {} of {} sockets are open and nothing has moved for 15 s",
                target.name,
                opening.done,
                users.len()
            );
        }
        if *stop.borrow() {
            return Err(Stopped.into());
        }
        if now_ms() - shown > 200 {
            shown = now_ms();
            progress.set(opening.done as u64);
        }
    }
    progress.finish();
    Ok(opening)
}
