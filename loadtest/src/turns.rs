//! Users take turns over a bounded number of sockets; each sends what it has to send and waits for every reply.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use serde_json::value::RawValue;
use soundoff_common::protocol::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Retries};
use crate::report::{Latencies, Progress};
use crate::server::Server;
use crate::socket::End;

/// If nothing at all is done for this long, the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// At most this many problems are named; all are counted.
const NAMED: usize = 5;

/// One message of a turn.
#[derive(Debug)]
pub(crate) struct Message {
    /// The sender's own id: the same id takes effect once.
    pub(crate) id: String,
    /// Its type.
    pub(crate) message_type: &'static str,
    /// Its body.
    pub(crate) body: Value,
}

/// One user's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Who sends.
    pub(crate) sender: Handle,
    /// Their token.
    pub(crate) token: String,
    /// What they send, in this order.
    pub(crate) messages: Vec<Message>,
}

/// Checks the reply's body to the message with an id.
pub(crate) type Judge = Arc<dyn Fn(&str, &RawValue) -> Result<()> + Send + Sync>;

/// A judge that takes any reply.
pub(crate) fn any_reply() -> Judge {
    Arc::new(|_, _| Ok(()))
}

/// What happened in a phase.
#[derive(Debug)]
pub(crate) struct Tally {
    /// A step is a message that is finished.
    pub(crate) progress: Progress,
    /// From first sent to accepted.
    pub(crate) accepted: Latencies,
    /// From first sent to the reply.
    pub(crate) replied: Latencies,
    /// Messages that had taken effect before.
    pub(crate) duplicates: AtomicU64,
    problems: AtomicU64,
    named: Mutex<Vec<String>>,
}

impl Tally {
    /// Starts a phase of `total` messages.
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        Self {
            progress: Progress::new(what, total as u64),
            accepted: Latencies::default(),
            replied: Latencies::default(),
            duplicates: AtomicU64::new(0),
            problems: AtomicU64::new(0),
            named: Mutex::default(),
        }
    }

    /// How many messages were refused, or answered wrongly.
    pub(crate) fn problems(&self) -> u64 {
        self.problems.load(Relaxed)
    }

    /// The first few problems in words, and a line that counts the rest.
    pub(crate) fn named(&self) -> Vec<String> {
        let mut named = self.named.lock().expect("no thread panics while it holds the lock").clone();
        let rest = self.problems() - named.len() as u64;
        if rest > 0 {
            named.push(format!("and {rest} more"));
        }
        named
    }

    fn problem(&self, text: String) {
        let mut named = self.named.lock().expect("no thread panics while it holds the lock");
        if named.len() < NAMED {
            named.push(text);
        }
        self.problems.fetch_add(1, Relaxed);
    }
}

/// The sockets that users share.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The server that they connect to.
    pub(crate) server: Arc<Server>,
    /// How many are open at once.
    pub(crate) sockets: usize,
    /// Messages per socket that may wait for their reply.
    pub(crate) in_flight: usize,
    /// All sockets close when it becomes true.
    pub(crate) stop: watch::Receiver<bool>,
    /// What had to be repeated.
    pub(crate) retries: Arc<Retries>,
}

impl Turns {
    /// Runs until all have had their turn, or until `stop` is true.
    ///
    /// # Errors
    /// A user is refused for good, or nothing moves any more.
    pub(crate) async fn take(
        self: &Arc<Self>,
        turns: impl ExactSizeIterator<Item = Turn> + Send + 'static,
        tally: &Arc<Tally>,
        judge: &Judge,
    ) -> Result<()> {
        let width = self.sockets.min(turns.len());
        let queue = Arc::new(Mutex::new(turns));
        let mut sockets = JoinSet::new();
        for _ in 0..width {
            let (shared, tally, judge, queue) = (self.clone(), tally.clone(), judge.clone(), queue.clone());
            sockets.spawn(async move {
                let next = || queue.lock().expect("no thread panics while it holds the lock").next();
                while let Some(turn) = next() {
                    let sender = turn.sender.clone();
                    shared.session(turn, &tally, &judge).await.map_err(|end| (sender, end))?;
                    if *shared.stop.borrow() {
                        break;
                    }
                }
                Ok::<(), (Handle, End)>(())
            });
        }
        let mut look = tokio::time::interval(Duration::from_millis(200));
        let mut moved = (0, Instant::now());
        loop {
            tokio::select! {
                ended = sockets.join_next() => match ended {
                    None => return Ok(()),
                    Some(ended) => ended?.map_err(|(handle, end)| anyhow!("{handle}: {end}"))?,
                },
                _ = look.tick() => {
                    tally.progress.show();
                    let done = tally.progress.done();
                    if done != moved.0 {
                        moved = (done, Instant::now());
                    } else if moved.1.elapsed() > PATIENCE {
                        let seconds = PATIENCE.as_secs();
                        match &*self.retries.last_end.lock().expect("no thread panics while it holds the lock") {
                            Some(end) => bail!("no reply to anybody for {seconds} s; the last lost socket: {end}"),
                            None => bail!("no reply to anybody for {seconds} s: are the workers running?"),
                        }
                    }
                }
            }
        }
    }

    /// Takes one user's turn.
    async fn session(&self, turn: Turn, tally: &Tally, judge: &Judge) -> Result<(), End> {
        let Turn { sender, token, messages } = turn;
        let mut client = Client::new(self.server.clone(), token, self.retries.clone());
        let mut messages = messages.into_iter();
        let mut stop = self.stop.clone();
        loop {
            while client.in_flight() < self.in_flight
                && let Some(Message { id, message_type, body }) = messages.next()
            {
                client.send(id, message_type, &body);
            }
            if client.in_flight() == 0 {
                break;
            }
            let answer = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                answer = client.next() => answer?,
            };
            match answer {
                Answer::Accepted { after, .. } => tally.accepted.record(after),
                Answer::Done { id, outcome, duplicate, after, .. } => {
                    tally.replied.record(after);
                    tally.duplicates.fetch_add(u64::from(duplicate), Relaxed);
                    let judged = outcome.map_err(anyhow::Error::from).and_then(|body| judge(&id, &body));
                    if let Err(problem) = judged {
                        tally.problem(format!("{sender}, {id}: {problem:#}"));
                    }
                    tally.progress.step();
                }
                Answer::Again { .. } | Answer::Push { .. } => {}
            }
        }
        client.bye().await;
        Ok(())
    }
}
