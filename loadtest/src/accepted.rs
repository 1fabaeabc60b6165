//! `loadtest accepted`: how long after its due time a message is durable, at a fixed rate, with or without workers.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use soundoff_common::protocol::Handle;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::bill::{Bill, PagesArgs, Watch};
use crate::open_loop::{Pace, Totals, Wait, open_sockets, send_all};
use crate::report::{JsonArgs, Progress};
use crate::server::Server;

/// Types whose body needs nothing but another user.
pub(crate) const TYPES: [&str; 8] = [
    "typing",
    "profile.get",
    "post.create",
    "post.list",
    "dm.send",
    "dm.list",
    "presence.get",
    "timeline.fetch",
];

const SHARES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Measure the time to `accepted` at a fixed rate.
///
/// Messages become due at fixed times, spread over the sockets in turn, and are sent whether or not earlier ones were
/// answered (an open loop). Latency counts from the time a message was due, so that a server that stands still cannot
/// look fast. Replies are counted, but the run does not wait for them: run it with the workers running and again with
/// them stopped, and compare.
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
    /// The type that is sent: typing and the reading types change nothing, post.create and dm.send write.
    #[arg(long = "type", default_value = "typing", value_name = "TYPE", value_parser = TYPES)]
    message_type: String,
    /// Handles consist of this and a number.
    #[arg(long, default_value = "load_", value_name = "TEXT")]
    prefix: String,
    #[command(flatten)]
    pages: PagesArgs,
    #[command(flatten)]
    json: JsonArgs,
}

const ACCEPTED_EXAMPLES: &str = "\
Examples:
  A minute at 2,000 messages per second:
    loadtest accepted --rate 2000 --duration 60

  The same load as durable posts, figures kept for a comparison:
    loadtest accepted --rate 500 --type post.create --json running.json

Exit code: 0 when every message was accepted, 1 when not, 130 on Ctrl-C.";

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// The server does not run, is not a Sound Off that can be measured, or allows a socket less than its share of the
/// rate.
pub(crate) async fn run(args: AcceptedArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let server = Arc::new(Server::resolve(&args.url).await?);
    let count = args.sockets.unwrap_or_else(|| args.rate.div_ceil(50).max(2));
    let handle = |n: u32| {
        let handle = format!("{}{n:05}", args.prefix);
        handle.parse::<Handle>().with_context(|| format!("{handle:?} is no handle: choose another --prefix"))
    };
    let handles = (0..count).map(handle).collect::<Result<Vec<_>>>()?;
    let tokens = server.tokens(&handles, |_| ()).await?;
    let sockets = open_sockets(&server, tokens, args.rate).await?;
    let bodies = (1..).map(|next| body(&args.message_type, &handles[next % handles.len()]));
    let senders = sockets.into_iter().zip(bodies).collect();
    let pace = Pace { rate: args.rate, duration: args.duration, chance: None };
    let totals = Arc::new(Totals::default());
    let watched = Watch::start(&args.pages).await?;
    let sending = send_all(&args.message_type, pace, senders, Wait::ACCEPTED, &totals, stop.clone());
    Progress::new("accepted", pace.total()).of(sending, || totals.accepted.count()).await?;
    let interrupted = *stop.borrow();
    report(&args, count, &totals, &watched.end().await?)?;
    let complete = totals.accepted.count() == pace.total();
    Ok(match (interrupted, complete) {
        (true, _) => ExitCode::from(130),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

/// A message of one of [`TYPES`] about another user.
pub(crate) fn body(message_type: &str, other: &Handle) -> Value {
    match message_type {
        "typing" => json!({ "to": other }),
        "dm.send" => json!({ "to": other, "text": "How soon is this durable?" }),
        "dm.list" => json!({ "with": other }),
        "profile.get" | "post.list" => json!({ "user": other }),
        "presence.get" => json!({ "users": [other] }),
        "timeline.fetch" => json!({}),
        _ => json!({ "text": "How soon is this durable?" }),
    }
}

fn report(args: &AcceptedArgs, sockets: u32, totals: &Totals, bill: &Bill) -> Result<()> {
    let (sent, accepted) = (totals.sent.load(Relaxed), totals.accepted.count());
    let replies = totals.replied.count();
    let refused = totals.refused.counts();
    let skipped = totals.missed.skipped.load(Relaxed);
    tell!("{} at {}/s for {} s over {sockets} sockets", args.message_type, args.rate, args.duration);
    tell!("messages      {sent} sent, {accepted} accepted, {replies} replies");
    tell!("accepted      {}", totals.accepted.line(&SHARES));
    tell!("generator     {}   (from due to sent)", totals.lag.line(&SHARES));
    if skipped > 0 {
        tell!("not sent      {skipped}: the generator was too slow, the figures are not the server's");
    }
    let cut_off = totals.missed.cut_off.load(Relaxed);
    if sent > accepted || cut_off > 0 {
        tell!("not accepted  {}, refused {refused:?}, cut off {cut_off}", sent.saturating_sub(accepted));
    }
    let bill = args.pages.any().then_some(bill);
    if let Some(bill) = bill {
        soundoff_common::terminal::print(&bill.text());
    }
    args.json.write(|| {
        json!({
            "type": args.message_type, "rate": args.rate, "duration_s": args.duration, "sockets": sockets,
            "sent": sent, "accepted": accepted, "replies": replies, "refused": refused, "skipped": skipped,
            "accepted_us": totals.accepted.json(), "generator_us": totals.lag.json(),
            "aws": bill.map(Bill::json),
        })
    })?;
    Ok(())
}
