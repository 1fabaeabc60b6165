//! `loadtest timelines`: how soon a timeline is there for readers who follow few and many, computed beforehand and
//! gathered at once.

mod args;
mod phase;
mod plot;
mod readers;
mod report;
mod setup;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use soundoff_common::note;
use soundoff_common::protocol::now_ms;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::open_loop::{BACKLOG, Pace, Totals, Wait, open_sockets, send_all, start_clock};
use crate::process::Usage;
use crate::report::Progress;
use crate::server::Server;
use crate::socket::Socket;
pub(crate) use args::TimelinesArgs;
use phase::Phase;
use readers::{Reader, until_computed};
use report::{Figures, Spent};
use setup::Cast;

/// The most authors who post while fetches are measured, each from a socket of their own.
const POSTERS: usize = 1_000;

/// What the phases of a run share.
struct Run {
    args: TimelinesArgs,
    server: Arc<Server>,
    cast: Cast,
    stop: watch::Receiver<bool>,
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// The server does not run, is not a Sound Off that can be measured, or computes no timelines.
pub(crate) async fn run(mut args: TimelinesArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    args.follows.sort_unstable();
    args.follows.dedup();
    if let Some(pid) = args.pid {
        Usage::of(pid)?;
    }
    let server = Arc::new(Server::resolve(&args.url).await?);
    let mut stopped = stop.clone();
    let preparing = async {
        let cast = Cast::create(&args, &server).await?;
        cast.prepare(&args, &server, &stop).await?;
        Ok::<_, anyhow::Error>(cast)
    };
    let cast = tokio::select! {
        cast = preparing => cast?,
        _ = stopped.wait_for(|stop| *stop) => {
            note!("stopped before anything was measured: run the same command again to go on");
            return Ok(ExitCode::from(130));
        }
    };
    let run = Run { args, server, cast, stop };
    let mut phases = run.warm().await?.into_iter().collect::<Vec<_>>();
    if run.args.cold_rate > 0 && !run.is_stopped() {
        phases.push(run.cold().await?);
    }
    run.report(&phases)?;
    if run.is_stopped() {
        note!("stopped before the end: fetches that were not due by then count as not answered");
    }
    let answered = phases.iter().all(|figures| figures.answered() == figures.pace.total());
    Ok(match (run.is_stopped(), answered) {
        (true, _) => ExitCode::from(130),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

impl Run {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// `None` when it was stopped before the timelines were computed.
    async fn warm(&self) -> Result<Option<Figures>> {
        let readers = self.readers(Phase::Warm, self.args.rate).await?;
        let settling = async {
            let readers = until_computed(readers).await?;
            let posters = self.posters().await?;
            // Each of their hellos makes the server look at one more timeline. That is over when the readers have
            // theirs again.
            Ok::<_, anyhow::Error>((until_computed(readers).await?, posters))
        };
        let mut stopped = self.stop.clone();
        let (readers, posters) = tokio::select! {
            settled = settling => settled?,
            _ = stopped.wait_for(|stop| *stop) => return Ok(None),
        };
        let pace = |rate| Pace { rate, duration: self.args.duration, chance: None };
        let posts = Arc::new(Totals::default());
        let (posting, stop) = (pace(self.args.post_rate), self.stop.clone());
        let (figures, ()) = tokio::try_join!(
            self.measure(Phase::Warm, pace(self.args.rate), readers),
            send_all("post.create", posting, posters, Wait::ACCEPTED, &posts, stop),
        )?;
        Ok(Some(Figures { posts: Some(posts), ..figures }))
    }

    async fn cold(&self) -> Result<Figures> {
        let readers = self.readers(Phase::Cold, self.args.cold_rate).await?;
        let pace = Pace { rate: self.args.cold_rate, duration: self.args.duration, chance: None };
        self.measure(Phase::Cold, pace, readers).await
    }

    /// A socket for each reader, the groups in turn.
    async fn readers(&self, phase: Phase, rate: u32) -> Result<Vec<Reader>> {
        let seats = self.cast.seats();
        let tokens = seats.iter().map(|(_, user)| user.token.clone()).collect();
        let sockets = open_sockets(&self.server, tokens, rate * phase.messages()).await?;
        let reader = |((group, user), socket): ((usize, &setup::User), _)| Reader {
            handle: user.handle.clone(),
            group,
            socket,
            extra: self.cast.extra.clone(),
        };
        Ok(seats.into_iter().zip(sockets).map(reader).collect())
    }

    /// Measures the fetches of a phase.
    async fn measure(&self, phase: Phase, pace: Pace, readers: Vec<Reader>) -> Result<Figures> {
        let usage = || self.args.pid.map(Usage::of).transpose();
        let before = usage()?;
        let figures = Arc::new(Figures::new(phase, pace, &self.args.follows));
        let run = now_ms();
        let (mut loops, mut dues) = (JoinSet::new(), Vec::new());
        for reader in readers {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            dues.push(sender);
            loops.spawn(reader.fetch(run, figures.clone(), receiver));
        }
        let clock = start_clock(pace, dues, figures.missed.clone(), self.stop.clone());
        let all = async { while loops.join_next().await.is_some() {} };
        Progress::new(phase.name(), pace.total()).of(all, || figures.answered()).await;
        ensure!(clock.join().is_ok(), "the clock's thread died");
        let spent = before.zip(usage()?).map(|(before, after)| Spent {
            cpu: after.cpu.saturating_sub(before.cpu),
            resident: after.resident,
        });
        let mut figures = Arc::into_inner(figures).expect("all who counted have ended");
        figures.spent = spent;
        Ok(figures)
    }

    /// Sockets of some authors and what they post: from the first author to the last, so that every group follows some
    /// of them.
    async fn posters(&self) -> Result<Vec<(Socket, Value)>> {
        let authors = &self.cast.authors;
        let count = if self.args.post_rate == 0 { 0 } else { authors.len().min(POSTERS) };
        let tokens = (0..count).map(|n| authors[n * authors.len() / count].token.clone()).collect();
        let sockets = open_sockets(&self.server, tokens, self.args.post_rate).await?;
        Ok(sockets.into_iter().map(|socket| (socket, json!({ "text": "What is new?" }))).collect())
    }

    fn report(&self, phases: &[Figures]) -> Result<()> {
        for figures in phases {
            soundoff_common::terminal::print(&figures.text(self.args.readers));
        }
        self.args.json.write(|| {
            let phases: serde_json::Map<_, _> =
                phases.iter().map(|figures| (figures.phase.name().to_owned(), figures.json())).collect();
            json!({
                "readers_per_group": self.args.readers, "authors": self.cast.authors.len(),
                "posts_per_author": self.args.posts, "phases": phases,
            })
        })?;
        match &self.args.plot {
            Some(path) if !phases.is_empty() => plot::draw(path, phases),
            _ => Ok(()),
        }
    }
}
