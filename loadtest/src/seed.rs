//! `loadtest seed`: a graph file becomes users who follow each other, each through a socket of their own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use soundoff_common::note;
use soundoff_common::protocol::{Handle, now_ms};
use tokio::sync::watch;

use crate::client::Retries;
use crate::graph::Graph;
use crate::report::{Progress, counted, per_second};
use crate::server::Server;
use crate::turns::{Judge, Message, Tally, Turn, Turns, any_reply};

/// Fill a server with a real social graph.
///
/// Every person of the file becomes a user, and every friendship `a b` two `follow.add`: a follows b, b follows a.
/// Each user sends over a websocket of their own; a bounded number of sockets is open at once and users take turns.
/// At the end every user's follower and following counts are read back and compared with the file.
///
/// Running the same command again is safe: each follow has the same id each time, so it takes effect once.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SEED_EXAMPLES)]
pub(crate) struct SeedArgs {
    /// The server's websocket; without a path it means /v1/ws. Users are created by POST /dev/tokens on the same port.
    #[arg(long, default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// One friendship a line: two whole numbers. Empty lines and lines that begin with # are skipped.
    #[arg(long, value_name = "FILE")]
    graph: PathBuf,
    /// Handles consist of this and the person's number, such as user_0042.
    #[arg(long, default_value = "user_", value_name = "TEXT")]
    prefix: String,
    /// Sockets open at once.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    sockets: u32,
    /// Messages per socket that may wait for their reply.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
}

const SEED_EXAMPLES: &str = "\
Examples:
  Start a server, fill it from the file:
    soundoff up
    loadtest seed --graph ego-facebook.txt

  Another port, fewer sockets, more pressure on each:
    loadtest seed --url ws://127.0.0.1:9000 --graph friends.txt --sockets 50 --in-flight 64

  The smallest graph, three people in a row:
    printf '0 1\\n1 2\\n' > row.txt && loadtest seed --graph row.txt

Exit code: 0 when every count matches the file, 1 when not or when the server fails, 130 on Ctrl-C.";

/// What all sessions of a run share.
#[derive(Debug)]
struct Run {
    graph: Graph,
    tokens: Vec<String>,
    turns: Arc<Turns>,
    /// Separates the reads of one run from those of another.
    stamp: u64,
}

#[derive(Deserialize)]
struct ProfileReply {
    user: Profile,
}

#[derive(Deserialize)]
struct Profile {
    handle: Handle,
    followers: usize,
    following: usize,
}

/// What is known of a run when it ends.
#[derive(Default)]
struct Summary {
    times: Vec<(&'static str, Duration)>,
    follows: Option<Arc<Tally>>,
    read_back: Option<Arc<Tally>>,
    retries: Arc<Retries>,
}

/// Runs it, prints a summary and returns the exit code.
///
/// # Errors
/// The file is bad, or the server does not run or is not a Sound Off that can be filled.
pub(crate) async fn run(args: SeedArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let began = Instant::now();
    let graph = Graph::read(&args.graph, &args.prefix)?;
    let server = Arc::new(Server::resolve(&args.url).await?);
    let mut summary = Summary { times: vec![("read the file", began.elapsed())], ..Summary::default() };
    note!(
        "{}: {} people, {} friendships{}",
        args.graph.display(),
        graph.handles.len(),
        graph.friendships,
        if graph.repeated == 0 { String::new() } else { format!(" ({} repeated)", graph.repeated) },
    );
    let creating = Progress::new("users", graph.handles.len() as u64);
    let mut stopped = stop.clone();
    let tokens = tokio::select! {
        tokens = server.tokens(&graph.handles, |done| creating.set(done as u64)) => tokens?,
        _ = stopped.wait_for(|stop| *stop) => {
            note!("stopped before any follow was sent");
            return Ok(ExitCode::from(130));
        }
    };
    summary.times.push(("create users", creating.finish()));
    let turns = Arc::new(Turns {
        server,
        sockets: args.sockets as usize,
        in_flight: args.in_flight as usize,
        stop,
        retries: summary.retries.clone(),
    });
    let run = Arc::new(Run { graph, tokens, turns, stamp: now_ms() });
    let outcome = phases(&run, &mut summary).await;
    soundoff_common::terminal::print(&summary.text(&run));
    outcome?;
    if *run.turns.stop.borrow() {
        note!("stopped before the end: run the same command again to go on");
        return Ok(ExitCode::from(130));
    }
    let good = summary.problems() == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn phases(run: &Arc<Run>, summary: &mut Summary) -> Result<()> {
    let people = run.graph.handles.len();
    let tally = Arc::new(Tally::new("follows", run.graph.friendships * 2));
    summary.follows = Some(tally.clone());
    let done = run.turns.take(follows(run), &tally, &any_reply()).await;
    summary.times.push(("follow", tally.progress.finish()));
    done?;
    if *run.turns.stop.borrow() {
        return Ok(());
    }
    let tally = Arc::new(Tally::new("read back", people));
    summary.read_back = Some(tally.clone());
    let judge: Judge = {
        let run = run.clone();
        Arc::new(move |id, body| judge(&run.graph, id, body))
    };
    let done = run.turns.take(reads(run), &tally, &judge).await;
    summary.times.push(("read back", tally.progress.finish()));
    done
}

/// A turn for each user, who follows their friends.
fn follows(run: &Arc<Run>) -> impl ExactSizeIterator<Item = Turn> + Send + use<> {
    let mut users: Vec<usize> = (0..run.graph.handles.len()).collect();
    // The longest turns come first: at the server's rate limit they decide how long the run takes.
    users.sort_by_key(|user| std::cmp::Reverse(run.graph.friends[*user].len()));
    let run = run.clone();
    users.into_iter().map(move |user| {
        // The id is the same in every run: a follow that was sent before takes no effect again.
        let messages = run.graph.friends[user].iter().map(|friend| {
            let friend = &run.graph.handles[*friend as usize];
            Message {
                id: format!("seed:{friend}"),
                message_type: "follow.add",
                body: json!({ "user": friend }),
            }
        });
        run.turn(user, messages.collect())
    })
}

/// Turns of a few users, who read everybody's profile.
fn reads(run: &Arc<Run>) -> impl ExactSizeIterator<Item = Turn> + Send + use<> {
    let people = run.graph.handles.len();
    let share = people.div_ceil(run.turns.sockets);
    let run = run.clone();
    let first: Vec<usize> = (0..people).step_by(share).collect();
    first.into_iter().map(move |first| {
        let messages = run.graph.handles[first..people.min(first + share)].iter().map(|user| Message {
            id: format!("seed:{:x}:{user}", run.stamp),
            message_type: "profile.get",
            body: json!({ "user": user }),
        });
        run.turn(first, messages.collect())
    })
}

impl Run {
    fn turn(&self, user: usize, messages: Vec<Message>) -> Turn {
        Turn { sender: self.graph.handles[user].clone(), token: self.tokens[user].clone(), messages }
    }
}

/// Compares a profile with the file.
fn judge(graph: &Graph, id: &str, body: &RawValue) -> Result<()> {
    let reply: ProfileReply = serde_json::from_str(body.get()).context("its profile cannot be read")?;
    let profile = reply.user;
    ensure!(id.ends_with(&format!(":{}", profile.handle)), "got the profile of {}", profile.handle);
    let expected = graph.degree(&profile.handle);
    ensure!(
        (profile.followers, profile.following) == (expected, expected),
        "{} followers and {} following, the file says {expected} and {expected}",
        profile.followers,
        profile.following
    );
    Ok(())
}

impl Summary {
    fn problems(&self) -> u64 {
        self.follows.iter().chain(&self.read_back).map(|tally| tally.problems()).sum()
    }

    fn text(&self, run: &Run) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<14}{value}");
        };
        row("friendships", format!("{} among {} people", run.graph.friendships, run.graph.handles.len()));
        if let Some(follows) = &self.follows {
            let done = follows.progress.done();
            let time =
                self.times.iter().find(|(phase, _)| *phase == "follow").map_or(Duration::ZERO, |t| t.1);
            let duplicates = follows.duplicates.load(Relaxed);
            row(
                "messages",
                format!(
                    "{done} of {} follow.add, {duplicates} of them duplicates",
                    run.graph.friendships * 2
                ),
            );
            row("rate", format!("{:.0} messages/s", per_second(done, time)));
            row("accepted", follows.accepted.line(&[0.5, 0.99, 1.0]));
            row("reply", follows.replied.line(&[0.5, 0.99, 1.0]));
        }
        let times: Vec<String> =
            self.times.iter().map(|(phase, time)| format!("{phase} {:.1} s", time.as_secs_f64())).collect();
        row("time", times.join(", "));
        row("retries", retries(&self.retries));
        let tallies = [("not followed", &self.follows), ("mismatches", &self.read_back)];
        for (name, tally) in tallies.iter().filter_map(|(name, tally)| Some((name, tally.as_ref()?))) {
            row(name, format!("{} of {}", tally.problems(), tally.progress.done()));
            for problem in tally.named() {
                row("", problem);
            }
        }
        text
    }
}

fn retries(retries: &Retries) -> String {
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    format!(
        "{} rate_limited, {} overloaded, {} unanswered, {} cut off in {}",
        count(&retries.rate_limited),
        count(&retries.overloaded),
        count(&retries.unanswered),
        count(&retries.cut_off),
        counted(count(&retries.reconnects), "reconnect", "reconnects"),
    )
}
