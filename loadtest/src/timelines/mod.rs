//! `loadtest timelines`: how soon a timeline is there for readers who follow few and many, computed beforehand and gathered at once.

mod plot;
mod readers;
mod report;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use soundoff_common::protocol::now_ms;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::open_loop::{BACKLOG, Pace, Totals, Wait, open_sockets, send_all, start_clock};
use crate::process::Usage;
use crate::report::{JsonArgs, Progress};
use crate::server::Server;
use crate::socket::Socket;
use readers::{Phase, Reader, until_computed};
use report::{Figures, Spent};
use setup::Cast;

/// The most authors who post while fetches are measured, each from a socket of their own.
const POSTERS: usize = 1_000;

/// Measure how soon a timeline is there, for readers who follow few accounts and many.
///
/// Three phases. Setup makes authors who post and groups of readers who follow the first 10, 1,000, … of them. Warm: every
/// reader's timeline has been computed beforehand, and first pages of 20 items are fetched while some authors post. Cold: before
/// each fetch its reader follows or unfollows one more account, so that the computed timeline is of no use and the server gathers
/// the page at once. Fetches after an unfollow are told apart: for them the server has to read again whom the reader follows.
///
/// Fetches become due at fixed times, the groups in turn, so that all of them meet the same disturbances. Latency counts from
/// the time a fetch was due (cold: from the reply to the follow before it, one at a time a reader) to its reply. Pages whose
/// computed_at is later than that are counted as fresh: in the cold phase all that count, in the warm phase only those that a
/// computation by the schedule has overtaken.
///
/// Nothing need be done on the server: a reader's first fetch has it compute the timeline, and the warm phase begins when every
/// reader gets the same computed_at twice, for only a computed timeline keeps it. Should that take long, `soundoff timeline
/// status` shows what the server is at. The default schedule computes everybody's timelines anew each minute; to measure with and
/// without that beside the fetches, run the server with `--timeline-interval-ms 0` as well.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = TIMELINES_EXAMPLES)]
pub(crate) struct TimelinesArgs {
    /// The server's websocket; without a path it means /v1/ws. Users are created by POST /dev/tokens on the same port.
    #[arg(long, default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// How many accounts the readers of each group follow.
    #[arg(long, default_value = "10,1000,5000", value_name = "N,N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16_000))]
    follows: Vec<u32>,
    /// Readers in each group.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    readers: u32,
    /// Posts of each author before anything is measured.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    posts: u32,
    /// Fetches per second in the warm phase, of all readers together.
    #[arg(long, default_value_t = 200, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Fetches per second in the cold phase; 0 leaves the phase out.
    #[arg(long, default_value_t = 30, value_name = "R", value_parser = clap::value_parser!(u32).range(..=100_000))]
    cold_rate: u32,
    /// New posts per second in the warm phase, of up to 1,000 authors spread over all: who follows more has more that is new.
    #[arg(long, default_value_t = 20, value_name = "R", value_parser = clap::value_parser!(u32).range(..=5_000))]
    post_rate: u32,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: u32,
    /// Posts and follows are there from an earlier run: at 100 follows per second and reader they take the longest.
    #[arg(long)]
    skip_setup: bool,
    /// Sockets open at once during the setup.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sockets: u32,
    /// Handles begin with this.
    #[arg(long, default_value = "tl_", value_name = "TEXT")]
    prefix: String,
    /// The server's process, when it runs on this machine: its processor time and memory are told as well.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    #[command(flatten)]
    json: JsonArgs,
    /// Draw p50 and p99 of each group into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

const TIMELINES_EXAMPLES: &str = "\
Examples:
  Start a server, measure groups of 10, 1,000 and 5,000 follows:
    soundoff up
    loadtest timelines

  The same users again, faster and for longer, with a picture and what the server spends:
    loadtest timelines --skip-setup --rate 500 --duration 120 --plot timelines.svg --pid $(pgrep -x soundoff)

  A first look that is over in seconds:
    loadtest timelines --follows 10,200 --duration 5

Running it again is safe: posts and follows of the setup have the same ids each time, so they take effect once.

Exit code: 0 when every fetch was answered, however fast; 1 when not, 130 on Ctrl-C.";

/// What the phases of a run share.
struct Run {
    args: TimelinesArgs,
    server: Arc<Server>,
    cast: Cast,
    stop: watch::Receiver<bool>,
}

/// Runs it, prints the figures and says how the process is to end.
///
/// # Errors
/// The server is not there, is not as it must be, or computes no timelines.
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
            eprintln!("stopped before anything was measured: run the same command again to go on");
            return Ok(ExitCode::from(130));
        }
    };
    let run = Run { args, server, cast, stop };
    let mut phases = run.warm().await?.into_iter().collect::<Vec<_>>();
    if run.args.cold_rate > 0 && !run.is_stopped() {
        phases.push(run.cold().await?);
    }
    run.tell(&phases)?;
    if run.is_stopped() {
        eprintln!("stopped before the end: what was not due by then counts as not answered");
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
            // Each of their hellos has the server look at one more timeline: that is over when the readers have theirs again.
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

    /// The fetches of a phase.
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

    /// Sockets of some authors and what they post: from the first author to the last, so that every group follows some of them.
    async fn posters(&self) -> Result<Vec<(Socket, Value)>> {
        let authors = &self.cast.authors;
        let count = if self.args.post_rate == 0 { 0 } else { authors.len().min(POSTERS) };
        let tokens = (0..count).map(|n| authors[n * authors.len() / count].token.clone()).collect();
        let sockets = open_sockets(&self.server, tokens, self.args.post_rate).await?;
        Ok(sockets.into_iter().map(|socket| (socket, json!({ "text": "What is new?" }))).collect())
    }

    fn tell(&self, phases: &[Figures]) -> Result<()> {
        for figures in phases {
            print!("{}", figures.text(self.args.readers));
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
