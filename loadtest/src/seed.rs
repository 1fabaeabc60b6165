//! `loadtest seed`: a graph file becomes users who follow each other, each through a socket of their own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use soundoff_common::protocol::{ErrorBody, Handle, now_ms};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Retries};
use crate::graph::Graph;
use crate::report::{Latencies, Progress, counted, per_second};
use crate::server::Server;
use crate::socket::End;

/// A run in which nothing at all gets done for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many problems are named; the rest are counted.
const NAMED: usize = 5;

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
    /// Handles are this and the person's number, such as user_0042.
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

/// One phase's kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Follow,
    ReadBack,
}

/// One user's turn: whom to follow, or whose profile to read.
#[derive(Debug)]
struct Job {
    user: u32,
    others: Vec<u32>,
}

/// What happened in a phase.
#[derive(Debug)]
struct Tally {
    progress: Progress,
    accepted: Latencies,
    replied: Latencies,
    duplicates: AtomicU64,
    problems: AtomicU64,
    named: Mutex<Vec<String>>,
}

impl Tally {
    fn new(what: &'static str, total: usize) -> Self {
        Self {
            progress: Progress::new(what, total as u64),
            accepted: Latencies::default(),
            replied: Latencies::default(),
            duplicates: AtomicU64::new(0),
            problems: AtomicU64::new(0),
            named: Mutex::default(),
        }
    }

    fn problem(&self, text: String) {
        self.problems.fetch_add(1, Relaxed);
        let mut named = self.named.lock().expect("nobody panics with it");
        if named.len() < NAMED {
            named.push(text);
        }
    }
}

/// What all sessions of a run share.
#[derive(Debug)]
struct Run {
    server: Arc<Server>,
    graph: Graph,
    tokens: Vec<String>,
    sockets: usize,
    in_flight: usize,
    stop: watch::Receiver<bool>,
    retries: Arc<Retries>,
    /// Keeps the reads of one run apart from those of another.
    stamp: u64,
}

#[derive(Serialize)]
struct User<'a> {
    user: &'a Handle,
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

/// How a run ended and what is known of it by then.
#[derive(Default)]
struct Summary {
    times: Vec<(&'static str, Duration)>,
    follows: Option<Arc<Tally>>,
    read_back: Option<Arc<Tally>>,
    retries: Arc<Retries>,
}

/// Runs it, prints a summary and says how the process is to end.
///
/// # Errors
/// The file is bad, or the server is not there or not as it must be.
pub(crate) async fn run(args: SeedArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let began = Instant::now();
    let graph = Graph::read(&args.graph, &args.prefix)?;
    let server = Arc::new(Server::resolve(&args.url).await?);
    let mut summary = Summary { times: vec![("read the file", began.elapsed())], ..Summary::default() };
    eprintln!(
        "{}: {} people, {} friendships{}",
        args.graph.display(),
        graph.handles.len(),
        graph.friendships,
        if graph.repeated == 0 { String::new() } else { format!(" ({} repeated)", graph.repeated) },
    );
    let creating = Progress::new("users", graph.handles.len() as u64);
    let mut stopped = stop.clone();
    let tokens = tokio::select! {
        tokens = server.tokens(&graph.handles, |done| creating.set(done)) => tokens?,
        _ = stopped.wait_for(|stop| *stop) => {
            eprintln!("stopped before any follow was sent");
            return Ok(ExitCode::from(130));
        }
    };
    summary.times.push(("create users", creating.finish()));
    let run = Arc::new(Run {
        server,
        graph,
        tokens,
        sockets: args.sockets as usize,
        in_flight: args.in_flight as usize,
        stop,
        retries: summary.retries.clone(),
        stamp: now_ms(),
    });
    let outcome = phases(&run, &mut summary).await;
    print!("{}", summary.text(&run));
    outcome?;
    if *run.stop.borrow() {
        eprintln!("stopped before the end: run the same command again to go on");
        return Ok(ExitCode::from(130));
    }
    let good = summary.problems() == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn phases(run: &Arc<Run>, summary: &mut Summary) -> Result<()> {
    let people = run.graph.handles.len();
    let mut follow: Vec<Job> = (0u32..)
        .zip(&run.graph.friends)
        .map(|(user, friends)| Job { user, others: friends.clone() })
        .collect();
    // The longest turns first: at the server's rate limit they take the longest, whatever else is going on.
    follow.sort_by_key(|job| std::cmp::Reverse(job.others.len()));
    let tally = Arc::new(Tally::new("follows", run.graph.friendships * 2));
    summary.follows = Some(tally.clone());
    let done = phase(run, Kind::Follow, follow, &tally).await;
    summary.times.push(("follow", tally.progress.finish()));
    done?;
    if *run.stop.borrow() {
        return Ok(());
    }
    let everybody: Vec<u32> = (0u32..).take(people).collect();
    let turn = people.div_ceil(run.sockets);
    let read = everybody.chunks(turn).map(|turn| Job { user: turn[0], others: turn.to_vec() }).collect();
    let tally = Arc::new(Tally::new("read back", people));
    summary.read_back = Some(tally.clone());
    let done = phase(run, Kind::ReadBack, read, &tally).await;
    summary.times.push(("read back", tally.progress.finish()));
    done
}

/// Users take turns over at most `run.sockets` sockets until all jobs are done, somebody is refused for good, or nothing moves any more.
async fn phase(run: &Arc<Run>, kind: Kind, jobs: Vec<Job>, tally: &Arc<Tally>) -> Result<()> {
    let width = run.sockets.min(jobs.len());
    let queue = Arc::new(Mutex::new(jobs.into_iter()));
    let mut turns = JoinSet::new();
    for _ in 0..width {
        let (run, tally, queue) = (run.clone(), tally.clone(), queue.clone());
        turns.spawn(async move {
            let next = || queue.lock().expect("nobody panics with it").next();
            while let Some(job) = next() {
                let handle = run.graph.handles[job.user as usize].clone();
                session(&run, kind, job, &tally).await.map_err(|end| (handle, end))?;
                if *run.stop.borrow() {
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
            turn = turns.join_next() => match turn {
                None => return Ok(()),
                Some(turn) => turn?.map_err(|(handle, end)| anyhow!("{handle}: {end}"))?,
            },
            _ = look.tick() => {
                tally.progress.show();
                let done = tally.progress.done();
                if done != moved.0 {
                    moved = (done, Instant::now());
                } else if moved.1.elapsed() > PATIENCE {
                    let seconds = PATIENCE.as_secs();
                    match &*run.retries.last_end.lock().expect("nobody panics with it") {
                        Some(end) => bail!("no reply to anybody for {seconds} s; the last lost socket: {end}"),
                        None => bail!("no reply to anybody for {seconds} s: are the workers running?"),
                    }
                }
            }
        }
    }
}

/// One user's turn.
async fn session(run: &Run, kind: Kind, job: Job, tally: &Tally) -> Result<(), End> {
    let sender = &run.graph.handles[job.user as usize];
    let token = run.tokens[job.user as usize].clone();
    let mut client = Client::new(run.server.clone(), token, run.retries.clone());
    let mut others = job.others.into_iter();
    let mut stop = run.stop.clone();
    loop {
        while client.in_flight() < run.in_flight
            && let Some(other) = others.next()
        {
            let user = &run.graph.handles[other as usize];
            match kind {
                // The same at every run: a follow that was sent before takes no effect again.
                Kind::Follow => client.send(format!("seed:{user}"), "follow.add", &User { user }),
                Kind::ReadBack => {
                    client.send(format!("seed:{:x}:{user}", run.stamp), "profile.get", &User { user });
                }
            }
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
            Answer::Accepted { after } => tally.accepted.record(after),
            Answer::Done { id, outcome, duplicate, after } => {
                tally.replied.record(after);
                tally.duplicates.fetch_add(u64::from(duplicate), Relaxed);
                let other = id.rsplit(':').next().unwrap_or(&id);
                if let Err(problem) = judge(run, kind, other, outcome) {
                    tally.problem(format!("{sender} about {other}: {problem:#}"));
                }
                tally.progress.step();
            }
        }
    }
    client.bye().await;
    Ok(())
}

fn judge(run: &Run, kind: Kind, other: &str, outcome: Result<Box<RawValue>, ErrorBody>) -> Result<()> {
    let body = outcome?;
    if kind == Kind::Follow {
        return Ok(());
    }
    let reply: ProfileReply = serde_json::from_str(body.get()).context("its profile cannot be read")?;
    let profile = reply.user;
    if profile.handle.as_str() != other {
        bail!("got the profile of {}", profile.handle);
    }
    let expected = run.graph.degree(&profile.handle);
    if (profile.followers, profile.following) != (expected, expected) {
        bail!(
            "{} followers and {} following, the file says {expected} and {expected}",
            profile.followers,
            profile.following
        );
    }
    Ok(())
}

impl Summary {
    fn problems(&self) -> u64 {
        self.follows.iter().chain(&self.read_back).map(|tally| tally.problems.load(Relaxed)).sum()
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
            let (done, problems) = (tally.progress.done(), tally.problems.load(Relaxed));
            row(name, format!("{problems} of {done}"));
            let named = tally.named.lock().expect("nobody panics with it");
            for problem in &*named {
                row("", problem.clone());
            }
            if problems > named.len() as u64 {
                row("", format!("and {} more", problems - named.len() as u64));
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
