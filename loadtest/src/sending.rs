//! Messages for the pipeline, and a check of each: accepted once, and one right reply.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use soundoff_common::protocol::now_ms;
use tokio::sync::watch;

use crate::dialect::{User, op, text_field};
use crate::open_loop::{Due, Pace, start_ticking};
use crate::opening::{AT_ONCE, Stopped, TURN, open};
use crate::report::{Latencies, Progress};
use crate::socket::send_frame;
use crate::target::Target;
use crate::window::{Spent, WARM_UP, Window, drain};
use crate::wire::frames::{TEXT, put};
use crate::wire::{Swarm, Talk};

/// How many entries of its inbox a client reads before it acks them.
const ACK_EVERY: u64 = 16;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Reads once, without an effect.
    #[value(name = "profile.get")]
    ProfileGet,
    /// Writes a post and its author's list, and causes the fan-out.
    #[value(name = "post.create")]
    PostCreate,
    /// Writes a message in two lists and two inbox entries, with two pushes.
    #[value(name = "dm.send")]
    DmSend,
}

impl Work {
    /// The message type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ProfileGet => "profile.get",
            Self::PostCreate => "post.create",
            Self::DmSend => "dm.send",
        }
    }

    fn body(self, other: &str) -> Value {
        match self {
            Self::ProfileGet => json!({ "user": other }),
            Self::PostCreate => json!({ "text": "How many of these in a second?" }),
            Self::DmSend => json!({ "to": other, "text": "How soon is this with you?" }),
        }
    }

    /// The user that a reply must name, and the field.
    fn named<'a>(self, own: &'a str, other: &'a str) -> (&'static str, &'a str) {
        match self {
            Self::ProfileGet => ("handle", other),
            Self::PostCreate => ("author", own),
            Self::DmSend => ("to", other),
        }
    }
}

/// A message that is not finished.
#[derive(Debug, Clone, Copy)]
struct Open {
    n: u64,
    due: Instant,
    accepted: bool,
    replied: bool,
}

/// The answers of a run.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// From the due time to accepted.
    pub(crate) accepted: Latencies,
    /// From the due time to the reply.
    pub(crate) replied: Latencies,
    /// From the due time until the message is sent.
    pub(crate) lag: Latencies,
    /// Pushes of any kind.
    pub(crate) pushes: u64,
    sent: u64,
    replies: u64,
    received: u64,
}

struct Sending<'a> {
    run: String,
    work: Work,
    users: &'a [User],
    /// Each user's messages go to the next user.
    bodies: Vec<Value>,
    open: Vec<Vec<Open>>,
    answers: Answers,
    /// The first message that counts.
    first: u64,
    ending: bool,
    closed_loop: bool,
}

impl<'a> Sending<'a> {
    fn new(users: &'a [User], work: Work, closed_loop: bool) -> Self {
        let bodies = (0..users.len()).map(|n| work.body(&users[(n + 1) % users.len()].name)).collect();
        let open = vec![Vec::new(); users.len()];
        // Ids are random, as fixed ids would meet the dedupe records of an earlier run on the same server.
        let run = format!("{:x}", now_ms());
        Self {
            run,
            work,
            users,
            bodies,
            open,
            answers: Answers::default(),
            first: 0,
            ending: false,
            closed_loop,
        }
    }

    fn send(&mut self, at: usize, due: Instant, out: &mut Vec<u8>) {
        let n = self.answers.sent;
        let frame = send_frame(&format!("{}-{n}", self.run), self.work.name(), &self.bodies[at]);
        put(out, TEXT, frame.as_bytes());
        self.open[at].push(Open { n, due, accepted: false, replied: false });
        self.answers.sent += 1;
    }

    /// The message that a frame is about. It is removed when it has both its answers.
    fn settle(&mut self, at: usize, payload: &[u8], replied: bool) -> Result<Open> {
        let id = text_field(payload, "id").context("an answer without an id")?;
        let n = id.strip_prefix(&self.run).and_then(|n| n.strip_prefix('-')).and_then(|n| n.parse().ok());
        let place = self.open[at].iter().position(|open| Some(open.n) == n);
        let place =
            place.with_context(|| format!("an answer to {id}, which is not under way on this socket"))?;
        let open = &mut self.open[at][place];
        let flag = if replied { &mut open.replied } else { &mut open.accepted };
        ensure!(!*flag, "{id} is {} twice", if replied { "replied to" } else { "accepted" });
        *flag = true;
        let open = *open;
        if open.accepted && open.replied {
            self.open[at].swap_remove(place);
        }
        Ok(open)
    }

    fn reply(&mut self, at: usize, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let open = self.settle(at, payload, true)?;
        let other = &self.users[(at + 1) % self.users.len()].name;
        let (field, name) = self.work.named(&self.users[at].name, other);
        let right = text_field(payload, field) == Some(name);
        ensure!(right, "a reply is not the one to its message: {}", String::from_utf8_lossy(payload));
        if open.n >= self.first {
            self.answers.replied.record(open.due.elapsed());
        }
        self.answers.replies += 1;
        if self.closed_loop && !self.ending {
            self.send(at, Instant::now(), out);
        }
        Ok(())
    }

    fn push(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.answers.pushes += 1;
        self.answers.received += u64::from(text_field(payload, "type") == Some("dm.received"));
        let text = std::str::from_utf8(payload)?;
        let seq = text.split("\"seq\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
        let seq: u64 = seq.and_then(|seq| seq.parse().ok()).context("a push without its seq")?;
        if seq.is_multiple_of(ACK_EVERY) {
            put(out, TEXT, json!({ "op": "ack", "cursor": seq }).to_string().as_bytes());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let pushed = self.work != Work::DmSend || self.answers.received == self.answers.sent;
        pushed && self.open.iter().all(Vec::is_empty)
    }
}

impl Talk for Sending<'_> {
    fn heard(&mut self, at: usize, _: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match op(payload).as_deref() {
            Some("accepted") => {
                let open = self.settle(at, payload, false)?;
                if open.n >= self.first {
                    self.answers.accepted.record(open.due.elapsed());
                }
                Ok(())
            }
            Some("reply") => self.reply(at, payload, out),
            Some("push") => self.push(payload, out),
            Some("event" | "pong" | "goaway" | "auth_due") => Ok(()),
            _ => bail!("refused: {}", String::from_utf8_lossy(&payload[..payload.len().min(300)])),
        }
    }
}

/// Keeps `in_flight` messages in flight on each socket for the duration.
///
/// # Errors
/// As [`crate::pipeline::measure`].
pub(crate) fn saturate(
    target: &Target,
    users: &[User],
    work: Work,
    (in_flight, seconds): (u32, u32),
    stop: &watch::Receiver<bool>,
) -> Result<(Spent, Answers)> {
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, users, AT_ONCE, stop)?;
    target.settle(Duration::from_secs(10))?;
    let mut sending = Sending::new(users, work, true);
    for at in 0..users.len() {
        let mut first = Vec::new();
        (0..in_flight).for_each(|_| sending.send(at, Instant::now(), &mut first));
        swarm.send(at, &first)?;
    }
    let spent = Window::of(target, &mut swarm, &mut sending, seconds, stop, |s| s.answers.replies)?;
    sending.ending = true;
    drain(&mut swarm, &mut sending, Sending::is_done)?;
    Ok((spent, sending.answers))
}

/// Sends at a fixed rate for the duration.
///
/// # Errors
/// As [`crate::pipeline::measure`].
pub(crate) fn pace(
    target: &Target,
    users: &[User],
    work: Work,
    (rate, duration): (u32, u32),
    stop: &watch::Receiver<bool>,
) -> Result<(Spent, Answers)> {
    let mut swarm = Swarm::new()?;
    open(&mut swarm, target, users, AT_ONCE, stop)?;
    target.settle(Duration::from_secs(10))?;
    let mut sending = Sending::new(users, work, false);
    let warm_up = WARM_UP.as_secs() as u32;
    let (pace, waker) = (Pace { rate, duration: duration + warm_up, chance: None }, swarm.waker()?);
    sending.first = u64::from(rate) * u64::from(warm_up);
    let (due, dues) = mpsc::channel::<Due>();
    let mut window = Window::begin(target)?;
    let clock = start_ticking(pace, stop.clone(), move |n, at| {
        let _ = due.send((n, at));
        let _ = waker.wake();
    });
    let progress = Progress::within(target.quiet, "measuring", pace.total());
    let mut frame = Vec::new();
    loop {
        swarm.turn(TURN, &mut sending)?;
        loop {
            match dues.try_recv() {
                Ok((n, at)) => {
                    if n == sending.first {
                        window = Window::begin(target)?;
                    }
                    let socket = (n % users.len() as u64) as usize;
                    sending.send(socket, at, &mut frame);
                    swarm.send(socket, &frame)?;
                    if n >= sending.first {
                        sending.answers.lag.record(at.elapsed());
                    }
                    frame.clear();
                }
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => {
                    clock.join().map_err(|_| anyhow!("the clock's thread died"))?;
                    ensure!(!*stop.borrow(), Stopped);
                    progress.finish();
                    drain(&mut swarm, &mut sending, Sending::is_done)?;
                    let spent = window.end(target, sending.answers.replied.count())?;
                    return Ok((spent, sending.answers));
                }
            }
        }
        progress.set(sending.answers.replies);
    }
}
