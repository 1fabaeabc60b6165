//! `loadtest run`: virtual users on real sockets, an open loop of everything that people do, and a check of every
//! answer.

mod cast;
mod check;
pub(crate) mod figures;
mod html;
mod inbox;
pub(crate) mod mix;
mod queues;
mod record;
mod replies;
mod schedule;
pub(crate) mod second;
mod shared;
mod text;
mod user;
mod watching;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use soundoff_common::note;
use soundoff_common::protocol::{now_ms, rfc3339};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::bill::PagesArgs;
use crate::client::Retries;
use crate::open_loop::{BACKLOG, LEAD, Missed, send_in_time};
use crate::report::machine::{Machine, version};
use crate::report::{JsonArgs, Latencies, output};
use crate::server::Server;
use cast::Cast;
use check::{Flaw, Flaws};
use figures::{Circumstances, Configuration, Figures, Outcome, Spread};
use mix::Mix;
use queues::Sampler;
use record::Recorder;
use schedule::{Arrivals, Plan, Schedule, Think};
use second::{Measure, Second};
use shared::{Open, Shared};
use user::{Ledger, User};
use watching::Watching;

/// Load a server as its users would, and check every answer.
///
/// Virtual users, each on a socket of their own, send a mix of messages at times that are drawn from the seed
/// beforehand (an open loop): nothing that the server does changes them. Latency counts from the time a message was
/// due, so that a server that stands still cannot look fast. Users resend, reconnect and go on in their inbox as the
/// protocol asks of a client.
///
/// Everything that comes back is checked. Every accepted message must have one reply that is about what was asked.
/// Every direct message and every comment must reach its receiver once, with its text, and after all earlier ones that
/// its sender already had the reply to (messages under way together may overtake each other: the protocol allows it,
/// and they are counted). Inboxes must have no holes, and timelines must be well formed. A wrong answer is a failure
/// and no latency: it is counted, named with examples, and the exit code is
/// 1. What the server refuses for now, because of the rate or because it has no room, is no failure: it is counted and
///    sent again.
///
/// With the same seed the same users send the same kinds of messages at the same times. Which post they like may
/// differ, as posts get their ids from the server.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The server's websocket; without a path it means /v1/ws. Users are created by POST /dev/tokens on the same port.
    #[arg(long, default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// Virtual users, each with a token and a socket of their own.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=18_000))]
    users: u32,
    /// Messages per second, of all users together.
    #[arg(long, default_value_t = 200, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rate: u32,
    /// Seconds in which messages become due.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: u32,
    /// What they do, by weight: posts, likes, dms, fetch, comments, follows, typing.
    #[arg(
        long,
        default_value = "posts=10,likes=25,dms=25,fetch=25,comments=5,typing=10",
        value_name = "KIND=WEIGHT,…"
    )]
    mix: Mix,
    /// The seed of chance.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How visits follow each other: at random, as people come, or at equal distances.
    #[arg(long, default_value = "poisson", value_enum)]
    arrivals: Arrivals,
    /// Messages that a user sends in a visit. The rate stays the same: there are fewer visits then.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    visit: u32,
    /// Think time between the messages of a visit: exp:500ms (mean), fixed:1s or uniform:200ms-2s. None: all at once.
    #[arg(long, value_name = "DISTRIBUTION")]
    think: Option<Think>,
    /// How many seconds the answers may take after the last message.
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    drain: u32,
    /// Handles consist of this and a number.
    #[arg(long, default_value = "run_", value_name = "TEXT")]
    prefix: String,
    #[command(flatten)]
    pages: PagesArgs,
    /// Write a page with plots to this file: it needs nothing but itself.
    #[arg(long, value_name = "FILE", value_parser = output)]
    report: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

const EXAMPLES: &str = "\
Examples:
  Half a minute of everything, while you watch:
    loadtest run

  A load of its own, with a page to show around and the queues' depth in it (`soundoff up` prints the address):
    loadtest run --users 1000 --rate 2000 --duration 120 --mix posts=1,dms=9 \\
      --metrics http://127.0.0.1:9090/metrics --report run.html --json run.json

  People who send five messages in a row and think in between:
    loadtest run --visit 5 --think exp:800ms

  Before and after a change:
    loadtest run --json before.json
    loadtest run --json after.json
    loadtest compare before.json after.json

Exit code: 0 when every answer was right, however slow; 1 when one was wrong or missing, or when a message could not be sent; 130 on Ctrl-C, which ends the load, waits shortly for open answers and still writes the report.";

/// Runs it, prints and writes the figures, and returns the exit code.
///
/// # Errors
/// The server does not run, is not a Sound Off that can be measured, or allows a user less than their share of the
/// rate.
pub(crate) async fn run(args: RunArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    ensure!(
        args.think.is_none() || args.visit > 1,
        "--think is between the messages of a --visit of several"
    );
    let server = Arc::new(Server::resolve(&args.url).await?);
    let mut stopped = stop.clone();
    let stage = tokio::select! {
        stage = Stage::set(&args, &server, &stop) => stage?,
        _ = stopped.wait_for(|stop| *stop) => {
            note!("stopped before anything was measured");
            return Ok(ExitCode::from(130));
        }
    };
    let started_at = rfc3339(now_ms());
    let show = stage.play(&args, stop).await?;
    let circumstances = Circumstances {
        seed: args.seed,
        url: server.url.clone(),
        prefix: args.prefix.clone(),
        started_at,
        loadtest: version(),
        server: show.server.clone(),
        machine: Machine::here(),
    };
    report(&args, show, circumstances)
}

/// Everything that must be there before the first message is due.
struct Stage {
    cast: Arc<Cast>,
    posts: Arc<cast::Posts>,
    clients: Vec<crate::client::Client>,
    retries: Arc<Retries>,
}

impl Stage {
    async fn set(args: &RunArgs, server: &Arc<Server>, stop: &watch::Receiver<bool>) -> Result<Self> {
        let cast = Arc::new(Cast::create(server, &args.prefix, args.users).await?);
        let posts = cast.prepare(server, &args.mix, stop.clone()).await?;
        let retries = Arc::default();
        let clients = cast.connect(server, &retries, args.rate).await?;
        Ok(Self { cast, posts, clients, retries })
    }

    async fn play(self, args: &RunArgs, stop: watch::Receiver<bool>) -> Result<Show> {
        let epoch = Instant::now() + LEAD;
        let sampler = Sampler::start(&args.pages, epoch).await?;
        let shared = Arc::new(Shared {
            run: now_ms(),
            cast: self.cast,
            posts: self.posts,
            recorder: Recorder::new(epoch),
            flaws: Flaws::default(),
            open: Open::default(),
            told_again: 0.into(),
            overtaken: 0.into(),
            without_target: 0.into(),
        });
        let (end, over) = watch::channel(None);
        let (mut users, mut dues) = (JoinSet::new(), Vec::new());
        for (client, index) in self.clients.into_iter().zip(0..) {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            dues.push(sender);
            users.spawn(User::new(index, client, shared.clone()).live(receiver, over.clone()));
        }
        let missed = Arc::<Missed>::default();
        let schedule = Schedule::new(args.plan());
        let schedule =
            schedule.map(|arrival| (arrival.at, (arrival.user as usize, (arrival.kind, arrival.roll))));
        let clock = send_in_time(epoch, schedule, dues, missed.clone(), stop.clone());
        let mut watching = Watching::new(&shared, &self.retries, &sampler);
        let loaded = watching.load(args.duration, || clock.is_finished()).await;
        clock.join().map_err(|_| anyhow!("the clock's thread died"))?;
        let settled = watching.drain(Duration::from_secs(args.drain.into()), &stop).await;
        let interrupted = *stop.borrow();
        end.send_replace(Some(settled || !interrupted));
        let ledgers: Vec<Ledger> = users.join_all().await;
        if settled || !interrupted {
            compare_ledgers(&ledgers, &shared);
        }
        let unanswered = ledgers.iter().map(|ledger| ledger.unanswered).sum();
        let unfinished = if interrupted && !settled { unanswered } else { 0 };
        let not_sent = [&missed.skipped, &missed.cut_off, &shared.without_target];
        let outcome = Outcome {
            interrupted,
            loaded_s: if interrupted { loaded.as_secs_f64() } else { args.duration.into() },
            totals: shared.recorder.totals(),
            not_sent: not_sent.iter().map(|count| count.load(Relaxed)).sum(),
            unfinished,
            told_again: shared.told_again.load(Relaxed),
            overtaken: shared.overtaken.load(Relaxed),
            wrong: shared.flaws.all(),
        };
        let mut series = shared.recorder.series();
        for second in &mut series {
            second.queues = sampler.at(second.t);
        }
        let server = sampler.version.clone();
        Ok(Show {
            outcome,
            latencies: by_kind(&shared.recorder),
            lag: Spread::of(&shared.recorder.lag),
            series,
            server,
        })
    }
}

impl RunArgs {
    fn plan(&self) -> Plan {
        Plan {
            seed: self.seed,
            users: self.users,
            rate: self.rate,
            duration: Duration::from_secs(self.duration.into()),
            mix: self.mix.clone(),
            arrivals: self.arrivals,
            visit: self.visit,
            think: self.think,
        }
    }

    fn configuration(&self) -> Configuration {
        Configuration {
            users: self.users,
            rate: self.rate,
            duration_s: self.duration,
            mix: self.mix.clone(),
            arrivals: self.arrivals,
            visit: self.visit,
            think: self.think.map(|think| think.to_string()),
        }
    }
}

/// The result of a run.
struct Show {
    outcome: Outcome,
    /// By measure, and by kind or `all`.
    latencies: BTreeMap<Measure, BTreeMap<String, Latencies>>,
    lag: Spread,
    series: Vec<Second>,
    server: Option<String>,
}

fn by_kind(recorder: &Recorder) -> BTreeMap<Measure, BTreeMap<String, Latencies>> {
    let mut all: BTreeMap<Measure, BTreeMap<String, Latencies>> = BTreeMap::new();
    for ((measure, kind), latencies) in recorder.whole() {
        let kinds = all.entry(measure).or_default();
        kinds.entry("all".to_owned()).or_default().add(&latencies);
        kinds.insert(kind.name().to_owned(), latencies);
    }
    all
}

/// Checks that everything that took effect has reached its receiver.
fn compare_ledgers(ledgers: &[Ledger], shared: &Shared) {
    let heard: HashMap<u32, &Ledger> = ledgers.iter().map(|ledger| (ledger.user, ledger)).collect();
    let nothing = check::Numbers::default();
    for ledger in ledgers {
        for ((kind, to), done) in &ledger.done {
            let heard = heard.get(to).and_then(|to| to.heard.get(&(*kind, ledger.user)));
            let heard = heard.map_or(&nothing, |heard| &heard.numbers);
            for number in done.not_in(heard) {
                let example = || {
                    let (from, to) = (shared.handle(ledger.user), shared.handle(*to));
                    format!("{} from {from} to {to}: number {number}", kind.name())
                };
                shared.wrong(Flaw::PushLost, example);
            }
        }
    }
}

/// Prints and writes the figures.
fn report(args: &RunArgs, show: Show, circumstances: Circumstances) -> Result<ExitCode> {
    let Show { outcome, latencies, lag, series, .. } = show;
    let configuration = args.configuration();
    soundoff_common::terminal::print(&text::summary(&configuration, args.seed, &outcome, &latencies, &lag));
    let spread = |kinds: BTreeMap<String, Latencies>| -> BTreeMap<String, Spread> {
        kinds.into_iter().map(|(kind, latencies)| (kind, Spread::of(&latencies))).collect()
    };
    let latency = latencies.into_iter().map(|(measure, kinds)| (measure, spread(kinds))).collect();
    let code = match &outcome {
        Outcome { interrupted: true, .. } => ExitCode::from(130),
        outcome if outcome.wrong.is_empty() && outcome.not_sent == 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    let figures = Figures::new(configuration, circumstances, outcome, latency, lag, series);
    args.json.write(|| json!(figures))?;
    if let Some(path) = &args.report {
        html::page(&figures)?.write(path)?;
        note!("report        {}", path.display());
    }
    Ok(code)
}
