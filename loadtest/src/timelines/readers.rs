//! One reader's socket: until the timeline is computed, and then the fetches of a phase.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use soundoff_common::note;
use soundoff_common::protocol::{Handle, now_ms, rfc3339};
use tokio::sync::mpsc;

use super::phase::{ITEMS, Phase};
use super::report::{Fetched, Figures};
use crate::client::ANSWER_WITHIN;
use crate::open_loop::{Due, LAST_ANSWERS};
use crate::report::Progress;
use crate::socket::{Frame, Socket, send_frame};

/// How often a reader looks whether their timeline is computed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it may take until all timelines are computed.
const COMPUTED_WITHIN: Duration = Duration::from_secs(180);

/// The fields of a page that are used.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    computed_at: String,
}

/// A reader who has said hello.
#[derive(Debug)]
pub(super) struct Reader {
    /// Who reads.
    pub(super) handle: Handle,
    /// The index of their group.
    pub(super) group: usize,
    /// Their socket.
    pub(super) socket: Socket,
    /// The account that they follow and unfollow before a cold fetch.
    pub(super) extra: Handle,
}

/// Fetches until every reader's timeline is a computed one. A timeline that is gathered for a fetch is always as new as
/// the fetch.
///
/// # Errors
/// A fetch is refused or not answered, or the timelines are not computed in time.
pub(super) async fn until_computed(mut readers: Vec<Reader>) -> Result<Vec<Reader>> {
    let progress = Progress::new("computed", readers.len() as u64);
    let run = now_ms();
    let mut last = vec![None; readers.len()];
    for n in 0.. {
        let fetches = readers.iter_mut().map(|reader| reader.computed_at(format!("{run:x}-{n}")));
        let pages = tokio::time::timeout(ANSWER_WITHIN, try_join_all(fetches)).await;
        let pages =
            pages.context("a timeline.fetch was not answered within 10 s: are the workers running?")??;
        let same = pages.iter().zip(&last).filter(|(now, then)| now.is_some() && now == then).count();
        progress.set(same as u64);
        if same == readers.len() {
            break;
        }
        ensure!(
            progress.elapsed() < COMPUTED_WITHIN,
            "after {} s the timelines of only {same} of {} readers are computed: `soundoff timeline status` and \
             `soundoff queues` show what the server does",
            COMPUTED_WITHIN.as_secs(),
            readers.len(),
        );
        last = pages;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    progress.finish();
    Ok(readers)
}

impl Reader {
    /// When the first page was computed; `None` when the server has no room now.
    async fn computed_at(&mut self, id: String) -> Result<Option<String>> {
        self.socket.send(send_frame(&id, "timeline.fetch", &json!({ "limit": ITEMS })));
        loop {
            match self.socket.next().await? {
                Frame::Reply { id: of, outcome, .. } if of == id => {
                    let body = outcome.context("timeline.fetch is refused")?;
                    let page: Page = serde_json::from_str(body.get()).context("not a page of a timeline")?;
                    return Ok(Some(page.computed_at));
                }
                Frame::Refused { id: Some(of), error } if of == id && error.retry => return Ok(None),
                Frame::Refused { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
    }

    /// Sends fetches when they are due until the clock stops, then waits a while for the last answers.
    pub(super) async fn fetch(self, run: u64, figures: Arc<Figures>, dues: mpsc::Receiver<Due>) {
        let beat = tokio::time::interval(self.socket.welcome.heartbeat);
        let fetching =
            Fetching { reader: self, run, figures, open: HashMap::new(), toggle: None, follow: true };
        fetching.go(dues, beat).await;
    }
}

/// A fetch without its reply yet.
struct Asked {
    due: Instant,
    /// The same time, in the format of timelines.
    due_at: String,
}

/// A reader in a phase.
struct Fetching {
    reader: Reader,
    /// Separates the ids of one run from those of another.
    run: u64,
    figures: Arc<Figures>,
    open: HashMap<String, Asked>,
    /// The follow that has no reply yet, and the number of the fetch that waits for it.
    toggle: Option<(String, u64)>,
    /// Whether the next one follows or unfollows.
    follow: bool,
}

impl Fetching {
    async fn go(mut self, mut dues: mpsc::Receiver<Due>, mut beat: tokio::time::Interval) {
        let mut deadline: Option<tokio::time::Instant> = None;
        loop {
            let is_idle = self.open.is_empty() && self.toggle.is_none();
            if deadline.is_some() && is_idle {
                return self.reader.socket.bye().await;
            }
            let takes = deadline.is_none() && (is_idle || self.figures.phase == Phase::Warm);
            let last = deadline.unwrap_or_else(|| tokio::time::Instant::now() + LAST_ANSWERS);
            tokio::select! {
                biased;
                due = dues.recv(), if takes => match due {
                    Some((n, due)) => self.take_up(n, due),
                    None => deadline = Some(tokio::time::Instant::now() + LAST_ANSWERS),
                },
                frame = self.reader.socket.next() => {
                    let taken = frame.map_err(anyhow::Error::from).and_then(|frame| self.take(frame));
                    if let Err(error) = taken {
                        note!("{}: {error:#}", self.reader.handle);
                        let open = self.open.len() + usize::from(self.toggle.is_some());
                        self.figures.missed.cut_off.fetch_add(open as u64, Relaxed);
                        return;
                    }
                }
                _ = beat.tick() => self.reader.socket.ping(),
                () = tokio::time::sleep_until(last), if deadline.is_some() => {
                    return self.reader.socket.bye().await;
                }
            }
        }
    }

    fn take_up(&mut self, n: u64, due: Instant) {
        self.figures.lag.record(due.elapsed());
        match self.figures.phase {
            Phase::Warm => self.ask(n, due),
            Phase::Cold => self.toggle(n),
        }
    }

    fn ask(&mut self, n: u64, due: Instant) {
        let id = format!("{:x}-{n}", self.run);
        let frame = send_frame(&id, "timeline.fetch", &json!({ "limit": ITEMS }));
        self.reader.socket.send(frame);
        self.open.insert(id, Asked { due, due_at: rfc3339(now_ms()) });
    }

    /// Changes the reader's follows, so that the computed timeline is of no use.
    fn toggle(&mut self, n: u64) {
        let id = format!("{:x}-{n}-follow", self.run);
        let message_type = if self.follow { "follow.add" } else { "follow.remove" };
        self.reader.socket.send(send_frame(&id, message_type, &json!({ "user": self.reader.extra })));
        self.follow = !self.follow;
        self.toggle = Some((id, n));
    }

    /// # Errors
    /// The server's answer is not what it must be.
    fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Reply { id, outcome, .. } => {
                if let Some((_, n)) = self.toggle.take_if(|(toggle, _)| *toggle == id) {
                    outcome.context("a follow is refused")?;
                    self.ask(n, Instant::now());
                } else if let Some(asked) = self.open.remove(&id) {
                    let after = asked.due.elapsed();
                    match outcome {
                        Ok(body) => self.shown(&asked, after, &body)?,
                        Err(error) => self.figures.refused.record(error.code),
                    }
                }
            }
            Frame::Refused { id: Some(id), error } => {
                self.open.remove(&id);
                self.toggle.take_if(|(toggle, _)| *toggle == id);
                self.figures.refused.record(error.code);
            }
            _ => {}
        }
        Ok(())
    }

    fn shown(&self, asked: &Asked, after: Duration, body: &RawValue) -> Result<()> {
        let page: Page = serde_json::from_str(body.get()).context("not a page of a timeline")?;
        // Both are RFC 3339 in UTC with milliseconds, so text sorts as time does.
        let is_fresh = page.computed_at >= asked.due_at;
        // If the next one follows, the last one unfollowed.
        let unfollowed = self.figures.phase == Phase::Cold && self.follow;
        let fetched = Fetched { after, is_fresh, unfollowed, items: page.items.len() };
        self.figures.groups[self.reader.group].record(self.figures.phase, fetched);
        Ok(())
    }
}
