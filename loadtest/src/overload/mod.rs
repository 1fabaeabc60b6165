//! `loadtest overload`: ten times as much as is served, one who is greedy, a hundred addresses that are nobody, and
//! what polite users notice of each.

mod crowd;
mod flood;
mod judge;
mod plot;
mod polite;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use soundoff_common::note;
use soundoff_common::protocol::Handle;
use tokio::sync::watch;

use crate::asking::post;
use crate::opening::Stopped;
use crate::report::{JsonArgs, Progress, output, per_second, sheet};
use crate::server::Server;
use crate::soundoff;
use crate::target::{PlaceArgs, Target, TargetArgs, ensure_room};
use crowd::{Counts, Crowd, Drive, Member};
use flood::Flood;
use polite::{Noticed, POLITE, behave};
use verdicts::{Cost, Figures, Overloaded, Peak};

/// The server's flags: a capacity so small that ten times as much is little, no limits a minute (which would be
/// measured otherwise), and addresses as a proxy names them. All else is as usual.
const FLAGS: [&str; 8] =
    ["--slots", "1", "--type-limits", "off", "--proxies", "1", "--timeline-interval-ms", "0"];

/// The least number of equals, and the most.
const EQUALS: [usize; 2] = [50, 400];
/// What an equal sends in a second, where there are enough equals: less than the 50 comments that their rate allows.
const EACH_SECOND: f64 = 45.0;
/// So many times the peak is offered.
const TIMES: f64 = 10.0;
/// Messages in flight of each equal, while the peak is measured.
const IN_FLIGHT: usize = 4;

/// Seconds of a phase that do not count, and of the shorter phases.
const WARM_UP: u32 = 3;
const SHORT: u32 = 20;
/// How long the server may take until it rests.
const REST: Duration = Duration::from_secs(60);

/// The greedy user's sockets, and messages of each that are not heard of yet.
const GREEDY_SOCKETS: usize = 10;
const GREEDY_UNHEARD: usize = 200;
/// Addresses of the flood, and connections of each at once.
const ADDRESSES: u8 = 100;
const AT_ONCE: usize = 2;

/// Measure what overload does to those who behave.
///
/// It starts `soundoff up --slots 1` three times, each on a fresh directory, so that one comment is worked on at a time
/// and ten times the capacity is a load that this machine can make. Limits a minute are off; the rate of a user, the
/// shares of the queues and the turns of users are as usual. Everybody comments on a post of their own.
///
/// In turn: twenty polite users alone, who comment twice a second and wait when they are told to. At least fifty equals
/// alone, who send as soon as they are answered: the peak. The polite users beside equals who send ten times the peak,
/// whatever the answers are, for --seconds; then nobody sends, and what waits is worked off. Beside one user who sends
/// as fast as the server reads, over ten sockets that are opened again as soon as they are closed. Beside a hundred
/// addresses that ask for websockets without a token, or with a false one. And what a refusal costs the server,
/// compared with what a served comment costs.
///
/// A server's peak is not the same all the time: its disk is faster or slower, and its tables grow. So it is measured
/// on both sides of the overload: before, and while the server works off what waits.
///
/// Load and server share this machine's cores: other work beside them makes all times longer. It takes some two and a
/// half minutes more than one and a half times --seconds.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = OVERLOAD_EXAMPLES)]
pub(crate) struct OverloadArgs {
    /// Seconds of the overload; the other phases take half as long, or 20.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(10..=600))]
    seconds: u32,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    json: JsonArgs,
    /// Draw the overload, and how what waits is worked off after it, second by second into this file, as SVG.
    #[arg(long, value_name = "FILE", value_parser = output)]
    plot: Option<PathBuf>,
}

const OVERLOAD_EXAMPLES: &str = "\
Examples:
  All phases; prints a row of docs/benchmarks.md for each figure and its bound:
    loadtest overload

  The same, with a picture of the overload:
    loadtest overload --plot overload.svg

  Shorter, with another server, and the figures for machines:
    loadtest overload --seconds 20 --soundoff target/debug/soundoff --json overload.json

Exit code: 0 when every bound is met, 1 when not, 130 on Ctrl-C.";

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// The server does not start, or ends, or refuses what prepares the run.
pub(crate) async fn run(args: OverloadArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    ensure_room(EQUALS[1] + POLITE + usize::from(ADDRESSES) * AT_ONCE)?;
    let place = TargetArgs::up(args.place);
    let figures = Starting { place, seconds: args.seconds, stop }.all().await?;
    let rows = figures.rows();
    judge::print(&rows);
    args.json.write(
        || json!({ "seconds": args.seconds, "rows": rows.iter().map(judge::Row::json).collect::<Vec<_>>() }),
    )?;
    if let Some(path) = &args.plot {
        sheet::draw(path, 1, &plot::panels(&figures))?;
    }
    let all_met = rows.iter().all(|row| row.is_met);
    Ok(if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How each server of the run is started.
struct Starting {
    place: TargetArgs,
    seconds: u32,
    stop: watch::Receiver<bool>,
}

impl Starting {
    /// A server with no backlog, and its polite users.
    async fn fresh(&self) -> Result<(Run, Vec<Member>)> {
        let target = soundoff::start_with(&self.place, &FLAGS)?;
        let server = Arc::new(Server::resolve(&format!("ws://{}", target.address)).await?);
        let run = Run { target, server, seconds: self.seconds, stop: self.stop.clone() };
        let polite = run.members('p', POLITE).await?;
        run.rest().await?;
        Ok((run, polite))
    }

    async fn all(&self) -> Result<Figures> {
        let (run, polite) = self.fresh().await?;
        let quiet = run.quiet().await?;
        let alone = run.beside("polite users alone", &polite, (self.seconds / 2).max(SHORT)).await?;
        let first = run.members('e', EQUALS[0]).await?;
        let peak = run.peak(&first, quiet).await?;
        let offered = peak.goodput * TIMES;
        let count = ((offered / EACH_SECOND).ceil() as usize).clamp(EQUALS[0], EQUALS[1]);
        let mut equals = first;
        equals.extend(run.members('f', count - EQUALS[0]).await?);
        let overloaded = run.overload(&polite, &equals, offered).await?;
        drop(run);
        // What an overloaded server has taken, it works off for minutes: others go on.
        let (run, polite) = self.fresh().await?;
        let greedy = run.members('g', 1).await?;
        let beside_greedy = run.beside_greedy(&polite, &greedy).await?;
        drop(run);
        let (run, polite) = self.fresh().await?;
        let beside_flood = run.beside_flood(&polite).await?;
        let refused_upgrade = run.refused_upgrade(quiet).await?;
        Ok(Figures { alone, peak, overloaded, quiet, beside_greedy, beside_flood, refused_upgrade })
    }
}

/// A server, and what its phases share.
struct Run {
    target: Target,
    server: Arc<Server>,
    seconds: u32,
    stop: watch::Receiver<bool>,
}

impl Run {
    /// New users, each with a post to comment on.
    async fn members(&self, kind: char, count: usize) -> Result<Vec<Member>> {
        let handles = (0..count).map(|n| format!("{kind}_{n:05}").parse::<Handle>());
        let tokens = self.server.tokens(&handles.collect::<Result<Vec<_>, _>>()?, |_| ()).await?;
        let preparing = futures_util::stream::iter(tokens).map(|token| async move {
            let post = post(&self.server, &token, "What do I say to this?").await?;
            let body = json!({ "post": post, "text": "How soon is this there?" });
            Ok::<_, anyhow::Error>(Member { token, body })
        });
        preparing.buffered(8).try_collect().await
    }

    /// Waits while the progress is shown.
    async fn pass(&self, what: &'static str, seconds: u32) -> Result<()> {
        let progress = Progress::new(what, seconds.into());
        let mut stop = self.stop.clone();
        let waiting = tokio::time::sleep(Duration::from_secs(seconds.into()));
        tokio::select! {
            () = progress.of(waiting, || progress.elapsed().as_secs()) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(Stopped.into()),
        }
    }

    /// Waits until what the last phase left is worked off.
    async fn rest(&self) -> Result<()> {
        let begun = Instant::now();
        let mut rests = false;
        while !rests && begun.elapsed() < REST {
            rests = tokio::task::block_in_place(|| self.target.settle(Duration::from_secs(2)))?;
            ensure!(!*self.stop.borrow(), Stopped);
        }
        if !rests {
            note!("the server still works after {} s: what follows is measured beside that", REST.as_secs());
        }
        Ok(())
    }

    /// Processor time of a second in which nobody asks for anything, as a share of one core.
    async fn quiet(&self) -> Result<f64> {
        self.rest().await?;
        let (before, begun) = (self.target.usage()?.cpu, Instant::now());
        self.pass("nobody", 5).await?;
        let spent = self.target.usage()?.cpu.saturating_sub(before);
        Ok(spent.as_secs_f64() / begun.elapsed().as_secs_f64())
    }

    /// What polite users notice for some seconds.
    async fn beside(&self, what: &'static str, polite: &[Member], seconds: u32) -> Result<Noticed> {
        let (noticed, ()) =
            tokio::try_join!(behave(&self.server, polite, seconds, &self.stop), self.pass(what, seconds))?;
        note!(
            "{what}: accepted {}, replied {}",
            noticed.accepted.line(&[0.5, 0.99]),
            noticed.replied.line(&[0.5, 0.99])
        );
        Ok(noticed)
    }

    /// What a crowd gets in some seconds after the warm-up, and the processor time that takes.
    async fn window(
        &self,
        what: &'static str,
        crowd: &Crowd,
        seconds: u32,
    ) -> Result<(Counts, Duration, Duration)> {
        self.pass("warm-up", WARM_UP).await?;
        let (before, cpu, begun) = (crowd.counts(), self.target.usage()?.cpu, Instant::now());
        self.pass(what, seconds).await?;
        let (counts, took) = (crowd.counts().since(&before), begun.elapsed());
        let spent = self.target.usage()?.cpu.saturating_sub(cpu);
        note!("{what}: {} sent, {} served; {}", counts.sent, counts.all_served(), crowd.refusals());
        Ok((counts, took, spent))
    }

    async fn peak(&self, equals: &[Member], quiet: f64) -> Result<Peak> {
        self.rest().await?;
        let crowd = Crowd::start(&self.server, equals, 1, Drive::Replied(IN_FLIGHT));
        let (counts, took, spent) = self.window("peak", &crowd, SHORT).await?;
        let served = counts.all_served();
        ensure!(served > 0, "nothing was served while nothing was in its way");
        let cost = Cost::new(spent, took.mul_f64(quiet), served);
        Ok(Peak { goodput: per_second(served, took), cost })
    }

    async fn overload(&self, polite: &[Member], equals: &[Member], offered: f64) -> Result<Overloaded> {
        self.rest().await?;
        note!("{} equals send {offered:.0} comments a second together", equals.len());
        let gap = Duration::from_secs_f64(equals.len() as f64 / offered);
        let crowd = Crowd::start(&self.server, equals, 1, Drive::Every(gap));
        let phases = async {
            let begun = Instant::now();
            let (noticed, loaded) = tokio::try_join!(
                behave(&self.server, polite, self.seconds, &self.stop),
                self.window("overload", &crowd, self.seconds - WARM_UP),
            )?;
            crowd.rest();
            let stopped = begun.elapsed();
            let (worked_off, in_time, _) = self.window("what waits is worked off", &crowd, SHORT / 2).await?;
            Ok::<_, anyhow::Error>((noticed, loaded, stopped, per_second(worked_off.all_served(), in_time)))
        };
        let (outcome, samples) = crowd.watched(phases).await;
        let (noticed, (counts, took, spent), stopped, after) = outcome?;
        let offered = per_second(counts.sent, took);
        Ok(Overloaded { offered, counts, took, spent, after, noticed, samples, stopped })
    }

    async fn beside_greedy(&self, polite: &[Member], greedy: &[Member]) -> Result<Noticed> {
        self.rest().await?;
        let crowd = Crowd::start(&self.server, greedy, GREEDY_SOCKETS, Drive::Heard(GREEDY_UNHEARD));
        let noticed = self.beside("beside one who is greedy", polite, SHORT).await?;
        note!("the greedy user: {} sent; {}", crowd.counts().sent, crowd.refusals());
        Ok(noticed)
    }

    async fn beside_flood(&self, polite: &[Member]) -> Result<Noticed> {
        self.rest().await?;
        let flood = Flood::start(self.target.address, ADDRESSES, AT_ONCE);
        let noticed = self.beside("beside a flood", polite, SHORT).await?;
        note!("the flood: {}", flood.answers.words());
        Ok(noticed)
    }

    /// All processor time while one address asks for more websockets than its rate, for each refusal.
    async fn refused_upgrade(&self, quiet: f64) -> Result<Cost> {
        self.rest().await?;
        let flood = Flood::start(self.target.address, 1, 4);
        self.pass("warm-up", WARM_UP).await?;
        let refused = || flood.answers.refused.load(Relaxed);
        let (before, cpu, begun) = (refused(), self.target.usage()?.cpu, Instant::now());
        self.pass("refused upgrades", SHORT / 2).await?;
        let (count, spent) = (refused() - before, self.target.usage()?.cpu.saturating_sub(cpu));
        note!("refused upgrades: {}", flood.answers.words());
        Ok(Cost::new(spent, begun.elapsed().mul_f64(quiet), count))
    }
}
