//! `loadtest accepted`: how long after its due time a message is durable, at a fixed rate, whatever the workers do.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use soundoff_common::protocol::{ErrorCode, Handle, now_ms};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::report::{Latencies, Progress};
use crate::server::Server;
use crate::socket::{End, Frame, Socket, send_frame};

/// After the last message was due, its `accepted` may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Due times that a socket's task has not taken up yet. More than that and the generator is the bottleneck.
const BACKLOG: usize = 4096;

const SHARES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Measure the time to `accepted` at a fixed rate.
///
/// Messages become due at fixed times, spread over the sockets in turn, and are sent whether or not earlier ones were answered
/// (an open loop). Latency counts from the time a message was due, so that a server that stands still cannot look fast.
/// Replies are counted and not waited for: run it with the workers running and again with them stopped, and compare.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = ACCEPTED_EXAMPLES)]
pub(crate) struct AcceptedArgs {
    /// The server's websocket; without a path it means /v1/ws. Users are created by POST /dev/tokens on the same port.
    #[arg(long, default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// Messages per second, of all sockets together.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: u32,
    /// Sockets, each of another user; by default one for every 50 messages per second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=18_000))]
    sockets: Option<u32>,
    /// What is sent: typing touches no table, profile.get reads one, post.create writes.
    #[arg(long = "type", default_value = "typing", value_name = "TYPE", value_parser = ["typing", "profile.get", "post.create"])]
    message_type: String,
    /// Handles are this and a number.
    #[arg(long, default_value = "load_", value_name = "TEXT")]
    prefix: String,
    /// Write the figures to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const ACCEPTED_EXAMPLES: &str = "\
Examples:
  A minute at 2,000 messages per second:
    loadtest accepted --rate 2000 --duration 60

  The same load as durable posts, figures kept for a comparison:
    loadtest accepted --rate 500 --type post.create --json running.json

Exit code: 0 when every message was accepted, 1 when not, 130 on Ctrl-C.";

/// What all sockets count together.
#[derive(Debug, Default)]
struct Totals {
    accepted: Latencies,
    /// From due to taken up: the generator's own share of the latency.
    lag: Latencies,
    sent: AtomicU64,
    replies: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
    /// Messages whose socket had ended.
    cut_off: AtomicU64,
    /// Due times nobody took up.
    skipped: AtomicU64,
}

/// Runs it, prints the figures and says how the process is to end.
///
/// # Errors
/// The server is not there, is not as it must be, or allows a socket less than its share of the rate.
pub(crate) async fn run(args: AcceptedArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let server = Arc::new(Server::resolve(&args.url).await?);
    let count = args.sockets.unwrap_or_else(|| args.rate.div_ceil(50).max(2));
    let handle = |n: u32| {
        let handle = format!("{}{n:05}", args.prefix);
        handle.parse::<Handle>().with_context(|| format!("{handle:?} is no handle: choose another --prefix"))
    };
    let handles = (0..count).map(handle).collect::<Result<Vec<_>>>()?;
    let tokens = server.tokens(&handles, |_| ()).await?;
    let sockets = open_all(&server, tokens).await?;
    let allowed = sockets.first().map_or(0, |socket| socket.welcome.limits.messages_per_second);
    ensure!(
        u64::from(args.rate) <= u64::from(allowed) * u64::from(count),
        "the server allows {allowed} messages per second and socket: {} needs at least {} sockets",
        args.rate,
        args.rate.div_ceil(allowed.max(1)),
    );
    let totals = Arc::new(Totals::default());
    let run = now_ms();
    let mut loops = JoinSet::new();
    let mut dues = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        dues.push(sender);
        let body = body(&args.message_type, &handles[(index + 1) % handles.len()]);
        let sending =
            Sending { socket, totals: totals.clone(), run, message_type: args.message_type.clone(), body };
        loops.spawn(sending.go(receiver));
    }
    let progress = Arc::new(Progress::new("accepted", u64::from(args.rate) * u64::from(args.duration)));
    let clock = {
        let (args, totals, stop) = (args.clone(), totals.clone(), stop.clone());
        std::thread::spawn(move || keep_time(&args, &dues, &totals, &stop))
    };
    while tokio::time::timeout(Duration::from_millis(200), loops.join_next()).await.is_err() {
        progress.set(usize::try_from(totals.accepted.count()).unwrap_or(usize::MAX));
    }
    while loops.join_next().await.is_some() {}
    progress.finish();
    clock.join().map_err(|_| anyhow!("the clock's thread died"))?;
    let interrupted = *stop.borrow();
    report(&args, count, &totals)?;
    let complete = totals.accepted.count() == u64::from(args.rate) * u64::from(args.duration);
    Ok(match (interrupted, complete) {
        (true, _) => ExitCode::from(130),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// Opens one socket per token, a few at a time: the handshakes are not what is measured.
async fn open_all(server: &Arc<Server>, tokens: Vec<String>) -> Result<Vec<Socket>> {
    let opening = futures_util::stream::iter(tokens).map(|token| {
        let server = server.clone();
        async move { Socket::open(&server, &token).await }
    });
    use futures_util::{StreamExt, TryStreamExt};
    opening.buffered(32).try_collect().await.context("cannot open all sockets")
}

fn body(message_type: &str, other: &Handle) -> Value {
    match message_type {
        "typing" => json!({ "to": other }),
        "profile.get" => json!({ "user": other }),
        _ => json!({ "text": "How soon is this durable?" }),
    }
}

/// Tells each socket in turn when its next message is due. A thread of its own: the runtime's timers are too coarse by a millisecond.
fn keep_time(
    args: &AcceptedArgs,
    dues: &[mpsc::Sender<(u64, Instant)>],
    totals: &Totals,
    stop: &watch::Receiver<bool>,
) {
    let start = Instant::now() + Duration::from_millis(100);
    let total = u64::from(args.rate) * u64::from(args.duration);
    for n in 0..total {
        let due = start
            + Duration::from_nanos(
                u64::try_from(u128::from(n) * 1_000_000_000 / u128::from(args.rate)).unwrap_or(u64::MAX),
            );
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        }
        if *stop.borrow() {
            return;
        }
        let index = (n % dues.len() as u64) as usize;
        match dues[index].try_send((n, due)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(totals.skipped.fetch_add(1, Relaxed)),
            Err(TrySendError::Closed(_)) => drop(totals.cut_off.fetch_add(1, Relaxed)),
        }
    }
}

/// One socket of the open loop.
struct Sending {
    socket: Socket,
    totals: Arc<Totals>,
    run: u64,
    message_type: String,
    body: Value,
}

impl Sending {
    /// Sends what is due until the clock stops, then waits a while for the last answers.
    async fn go(mut self, mut dues: mpsc::Receiver<(u64, Instant)>) {
        let mut open: HashMap<String, Instant> = HashMap::new();
        let mut beat = tokio::time::interval(self.socket.welcome.heartbeat);
        let mut deadline: Option<tokio::time::Instant> = None;
        loop {
            if deadline.is_some() && open.is_empty() {
                return self.socket.bye().await;
            }
            let last = deadline.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                due = dues.recv(), if deadline.is_none() => match due {
                    Some((n, due)) => {
                        let id = format!("{:x}-{n}", self.run);
                        self.socket.send(send_frame(&id, &self.message_type, &self.body));
                        self.totals.sent.fetch_add(1, Relaxed);
                        self.totals.lag.record(due.elapsed());
                        open.insert(id, due);
                    }
                    None => deadline = Some(tokio::time::Instant::now() + LAST_ANSWERS),
                },
                frame = self.socket.next() => match frame {
                    Ok(frame) => self.take(frame, &mut open),
                    Err(end) => return self.ended(&end, open.len()),
                },
                _ = beat.tick() => self.socket.ping(),
                () = tokio::time::sleep_until(last), if deadline.is_some() => return self.socket.bye().await,
            }
        }
    }

    fn take(&self, frame: Frame, open: &mut HashMap<String, Instant>) {
        match frame {
            Frame::Accepted { id } => {
                if let Some(due) = open.remove(&id) {
                    self.totals.accepted.record(due.elapsed());
                }
            }
            Frame::Reply { .. } => {
                self.totals.replies.fetch_add(1, Relaxed);
            }
            Frame::Refused { id: Some(id), error } => {
                open.remove(&id);
                self.refused(error.code);
            }
            _ => {}
        }
    }

    fn refused(&self, code: ErrorCode) {
        let name = json!(code).as_str().unwrap_or("unknown").to_owned();
        *self.totals.refused.lock().expect("nobody panics with it").entry(name).or_default() += 1;
    }

    fn ended(&self, end: &End, open: usize) {
        eprintln!("a socket ended: {end}");
        self.totals.cut_off.fetch_add(open as u64, Relaxed);
    }
}

fn report(args: &AcceptedArgs, sockets: u32, totals: &Totals) -> Result<()> {
    let (sent, accepted) = (totals.sent.load(Relaxed), totals.accepted.count());
    let replies = totals.replies.load(Relaxed);
    let refused = totals.refused.lock().expect("nobody panics with it").clone();
    let skipped = totals.skipped.load(Relaxed);
    println!("{} at {}/s for {} s over {sockets} sockets", args.message_type, args.rate, args.duration);
    println!("messages      {sent} sent, {accepted} accepted, {replies} replies");
    println!("accepted      {}", totals.accepted.line(&SHARES));
    println!("generator     {}   (from due to sent)", totals.lag.line(&SHARES));
    if skipped > 0 {
        println!("not sent      {skipped}: the generator was too slow, the figures are not the server's");
    }
    let cut_off = totals.cut_off.load(Relaxed);
    if sent > accepted || cut_off > 0 {
        println!("not accepted  {}, refused {refused:?}, cut off {cut_off}", sent.saturating_sub(accepted));
    }
    let micros = |latencies: &Latencies| {
        json!({
            "p50": latencies.micros(0.5), "p90": latencies.micros(0.9), "p99": latencies.micros(0.99),
            "p999": latencies.micros(0.999), "max": latencies.micros(1.0),
        })
    };
    if let Some(path) = &args.json {
        let figures = json!({
            "type": args.message_type, "rate": args.rate, "duration_s": args.duration, "sockets": sockets,
            "sent": sent, "accepted": accepted, "replies": replies, "refused": refused, "skipped": skipped,
            "accepted_us": micros(&totals.accepted), "generator_us": micros(&totals.lag),
        });
        let text = format!("{figures:#}\n");
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
