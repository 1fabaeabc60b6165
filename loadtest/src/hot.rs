//! `loadtest hot`: one post that everybody likes, beside likes of other posts.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use soundoff_common::protocol::Handle;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::asking::{ask, post};
use crate::open_loop::{Pace, Totals, Wait, open_sockets, send_all};
use crate::peers::servers;
use crate::report::JsonArgs;
use crate::server::Server;
use crate::socket::Socket;
use crate::target::{TargetArgs, ensure_room};

const SHARES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];

/// How many other posts there are, each of another author.
const OTHER_POSTS: usize = 20;

/// Measure what one viral post does to itself and to others.
///
/// First the others alone: each likes one of 20 posts, at the rate --others. Then the same again, with as many other
/// users as before, while the post of one user is liked at the rate --rate. Everybody likes once, over a socket of
/// their own. Messages become due at fixed times whether or not earlier ones were answered, and latency counts from
/// then until the reply. At the end each like must be answered and counted once.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HOT_EXAMPLES)]
pub(crate) struct HotArgs {
    /// Likes of the hot post per second.
    #[arg(long, default_value_t = 200, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Likes of other posts per second.
    #[arg(long, default_value_t = 100, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    others: u32,
    /// Seconds, of each of the two parts.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    duration: u32,
    /// Seconds that the last replies may take after the last like was due. A hot post on DynamoDB is liked some 70 times
    /// a second; the rest waits.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    patience: u32,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    json: JsonArgs,
}

const HOT_EXAMPLES: &str = "\
Examples:
  Sound Off, as built beside this program, 200 likes a second for five seconds:
    loadtest hot

  A server that runs already, harder, with ten minutes for what waits:
    loadtest hot --rate 1000 --duration 10 --patience 600 --url ws://127.0.0.1:8080 --pid $(pgrep -f 'soundoff up')

Exit code: 0 when every like was answered and counted once, 1 when not, 130 on Ctrl-C.";

/// The users of a run, each with a token.
struct Cast {
    server: Arc<Server>,
    stamp: String,
}

impl Cast {
    /// This many users of a kind, who are new.
    async fn of(&self, kind: char, count: u32) -> Result<Vec<String>> {
        let handle = |n| format!("{kind}{}_{n:05}", self.stamp).parse::<Handle>();
        let handles = (0..count).map(handle).collect::<Result<Vec<_>, _>>()?;
        self.server.tokens(&handles, |_| ()).await
    }

    async fn post(&self, token: &str) -> Result<String> {
        post(&self.server, token, "Like me.").await
    }

    async fn likes(&self, token: &str, post: &str) -> Result<u64> {
        let reply = ask(&self.server, token, "post.get", &json!({ "post": post })).await?;
        reply["post"]["likes"].as_u64().context("the reply to post.get has no likes")
    }
}

/// Sockets that like these posts in turn, one like each.
async fn likers(cast: &Cast, kind: char, pace: Pace, posts: &[String]) -> Result<Vec<(Socket, Value)>> {
    let count = pace.rate * pace.duration;
    let sockets = open_sockets(&cast.server, cast.of(kind, count).await?, pace.rate).await?;
    let bodies = posts.iter().cycle().map(|post| json!({ "post": post }));
    Ok(sockets.into_iter().zip(bodies).collect())
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// The server does not run or end, or refuses what prepares the run.
pub(crate) async fn run(args: HotArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let pace = |rate| Pace { rate, duration: args.duration, chance: None };
    let (hot_pace, others_pace) = (pace(args.rate), pace(args.others));
    ensure_room(usize::try_from(hot_pace.total() + others_pace.total())? + OTHER_POSTS)?;
    let target = servers::target(&args.target).await?;
    let server = Arc::new(Server::resolve(&format!("ws://{}", target.address)).await?);
    let stamp = format!("{:x}", soundoff_common::protocol::now_ms() / 1000 % (1 << 24));
    let cast = Cast { server, stamp };
    let authors = cast.of('a', OTHER_POSTS as u32 + 1).await?;
    let mut posts = Vec::new();
    for author in &authors {
        posts.push(cast.post(author).await?);
    }
    let (hot_post, other_posts) = posts.split_first().context("nobody has posted")?;
    let wait = Wait { replies: true, most: Duration::from_secs(args.patience.into()) };
    let [quiet, beside, hot] = [(); 3].map(|()| Arc::new(Totals::default()));

    let first = likers(&cast, 'q', others_pace, other_posts).await?;
    send_all("like.add", others_pace, first, wait, &quiet, stop.clone()).await?;
    let second = likers(&cast, 'o', others_pace, other_posts).await?;
    let fans = likers(&cast, 'h', hot_pace, std::slice::from_ref(hot_post)).await?;
    tokio::try_join!(
        send_all("like.add", others_pace, second, wait, &beside, stop.clone()),
        send_all("like.add", hot_pace, fans, wait, &hot, stop.clone()),
    )?;
    if *stop.borrow() {
        return Ok(ExitCode::from(130));
    }

    let counted = cast.likes(&authors[0], hot_post).await?;
    let mut others_counted = 0;
    for (author, post) in authors[1..].iter().zip(other_posts) {
        others_counted += cast.likes(author, post).await?;
    }
    tell!("{}: one post at {}/s beside {}/s for {} s", target.name, args.rate, args.others, args.duration);
    tell!("hot           {}", hot.replied.line(&SHARES));
    tell!("others        {}", beside.replied.line(&SHARES));
    tell!("others alone  {}", quiet.replied.line(&SHARES));
    tell!("generator     {}   (from due to sent)", hot.lag.line(&SHARES));
    tell!("likes         {counted} of the hot post, {others_counted} of the others");
    args.json.write(|| {
        json!({
            "server": target.name, "rate": args.rate, "others": args.others, "duration_s": args.duration,
            "hot_us": hot.replied.json(), "others_us": beside.replied.json(), "others_alone_us": quiet.replied.json(),
            "likes": counted, "others_likes": others_counted,
        })
    })?;
    for (name, totals) in [("others alone", &quiet), ("others", &beside), ("hot", &hot)] {
        let refused = totals.refused.counts();
        ensure!(refused.is_empty(), "{name}: refused {refused:?}");
    }
    let (answered, wanted) = (hot.replied.count(), hot_pace.total());
    ensure!(
        (answered, counted) == (wanted, wanted),
        "{wanted} likes, {answered} answered, {counted} counted"
    );
    let answered = quiet.replied.count() + beside.replied.count();
    let wanted = 2 * others_pace.total();
    ensure!(
        (answered, others_counted) == (wanted, wanted),
        "{wanted} likes of other posts, {answered} answered, {others_counted} counted"
    );
    Ok(ExitCode::SUCCESS)
}
