//! `loadtest deliver`: what it costs to bring a message from a worker's POST to a socket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use soundoff_common::tell;
use tokio::sync::watch;

use crate::dialect::{User, text_field};
use crate::opening::{AT_ONCE, open};
use crate::peers::servers;
use crate::posts::Poster;
use crate::report::{JsonArgs, Latencies};
use crate::target::{Target, TargetArgs, ensure_room};
use crate::window::{Spent, Window, drain};
use crate::wire::{Swarm, Talk};

/// Users that single deliveries of one connection go to in turn.
const USERS_EACH: usize = 10;

const SHARES: [f64; 3] = [0.5, 0.99, 1.0];

/// Measure deliveries: a POST to the edge, a frame at a socket.
///
/// Each kept connection has one POST under way: when it is answered, the next follows. Every frame must arrive at the
/// socket of its user, once and in order, or the run fails. Requests to Sound Off are signed with its internal key, and
/// it checks the signature of each; requests to the peers are not signed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = DELIVER_EXAMPLES)]
pub(crate) struct DeliverArgs {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    target: TargetArgs,
    /// The internal address of a server given with --url, as the server prints it in its line `metrics`.
    #[arg(long, value_name = "ADDRESS", requires = "data", requires = "url")]
    internal: Option<std::net::SocketAddr>,
    /// That server's data directory, which holds the key.
    #[arg(long, value_name = "DIR", requires = "internal")]
    data: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

/// How much is posted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Load {
    /// Deliveries in a POST, each to another user.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) batch: u32,
    /// Kept connections, each with one POST under way.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) posters: u32,
    /// Bytes of a frame, from about 80 on.
    #[arg(long, default_value_t = 200, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(80..=30_000))]
    pub(crate) bytes: u32,
    /// Seconds, after two seconds that do not count.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) duration: u32,
}

impl Load {
    fn users_each(&self) -> usize {
        USERS_EACH.max(self.batch as usize)
    }

    /// How many users it needs.
    pub(crate) fn users(&self) -> usize {
        self.posters as usize * self.users_each()
    }
}

const DELIVER_EXAMPLES: &str = "\
Examples:
  One POST each, and a hundred in a POST:
    loadtest deliver
    loadtest deliver --batch 100

  A server that runs already, from another terminal:
    loadtest deliver --url ws://127.0.0.1:8080 --pid PID --data soundoff-data --internal 127.0.0.1:34567

Exit code: 0 when every frame arrived at its user, 1 when not.";

/// Deliveries and what they took.
pub(crate) struct Delivered {
    /// Deliveries, not POSTs.
    pub(crate) spent: Spent,
    /// From the POST's writing to the frame.
    pub(crate) latency: Latencies,
}

/// One user's deliveries.
#[derive(Debug, Clone, Copy)]
struct Line {
    posted: u64,
    arrived: u64,
    /// When the last two were posted: the one before may still be under way when the next is posted.
    at: [Instant; 2],
}

struct Delivering<'a> {
    poster: Poster<'a>,
    load: Load,
    lines: Vec<Line>,
    /// How far each connection is in its round of users.
    turns: Vec<usize>,
    arrived: u64,
    latency: Latencies,
    ending: bool,
}

impl Delivering<'_> {
    fn post(&mut self, connection: usize, out: &mut Vec<u8>) -> Result<()> {
        let (each, batch) = (self.load.users_each(), self.load.batch as usize);
        let turn = self.turns[connection];
        self.turns[connection] = (turn + batch) % each;
        let now = Instant::now();
        for n in 0..batch {
            let user = connection * each + (turn + n) % each;
            let line = &mut self.lines[user];
            self.poster.add(user, line.posted, self.load.bytes as usize)?;
            line.at[(line.posted % 2) as usize] = now;
            line.posted += 1;
        }
        self.poster.request(out)
    }
}

impl Talk for Delivering<'_> {
    fn opened(&mut self, at: usize, out: &mut Vec<u8>) -> Result<()> {
        self.post(at - self.lines.len(), out)
    }

    fn heard(&mut self, at: usize, kind: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if let Some(connection) = at.checked_sub(self.lines.len()) {
            self.poster.check(kind, payload)?;
            return if self.ending { Ok(()) } else { self.post(connection, out) };
        }
        let Some(id) = text_field(payload, "load") else { return Ok(()) };
        let line = &mut self.lines[at];
        let due = (at, line.arrived);
        let told = id.split_once('.').and_then(|(user, n)| Some((user.parse().ok()?, n.parse().ok()?)));
        if told != Some(due) {
            bail!("socket {at} waits for its delivery {} and gets {id:?}", line.arrived);
        }
        self.latency.record(line.at[(line.arrived % 2) as usize].elapsed());
        line.arrived += 1;
        self.arrived += 1;
        ensure!(line.arrived <= line.posted, "a delivery that was not posted");
        Ok(())
    }
}

/// Posts, and checks what arrives.
///
/// # Errors
/// A POST is refused, a connection breaks, a frame arrives wrongly or not at all, or the server ends.
pub(crate) fn measure(
    target: &Target,
    users: &[User],
    load: Load,
    stop: &watch::Receiver<bool>,
) -> Result<Delivered> {
    let posts = target.posts.as_ref().with_context(|| format!("{} takes no deliveries", target.name))?;
    let mut swarm = Swarm::new()?;
    let sessions = open(&mut swarm, target, users, AT_ONCE, stop)?.sessions;
    target.settle(Duration::from_secs(10))?;
    let line = Line { posted: 0, arrived: 0, at: [Instant::now(); 2] };
    let mut delivering = Delivering {
        poster: Poster::new(posts, users, &sessions)?,
        load,
        lines: vec![line; users.len()],
        turns: vec![0; load.posters as usize],
        arrived: 0,
        latency: Latencies::default(),
        ending: false,
    };
    for _ in 0..load.posters {
        swarm.http(posts.address())?;
    }
    let spent = Window::of(target, &mut swarm, &mut delivering, load.duration, stop, |d| d.arrived)?;
    delivering.ending = true;
    let whole = |d: &Delivering<'_>| d.lines.iter().all(|line| line.arrived == line.posted);
    drain(&mut swarm, &mut delivering, whole)?;
    Ok(Delivered { spent, latency: delivering.latency })
}

/// Runs it, prints the figures and returns the exit code.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn run(args: DeliverArgs, stop: watch::Receiver<bool>) -> Result<ExitCode> {
    let load = args.load;
    ensure_room(load.users() + load.posters as usize)?;
    let mut target = servers::target(&args.target).await?;
    if let (Some(internal), Some(data)) = (args.internal, &args.data) {
        target.posts = Some(crate::posts::signed(internal, data)?);
    }
    let context = "name the server's internal port with --internal and --data";
    ensure!(target.posts.is_some() || args.target.url.is_none(), context);
    let users = target.users("deliver", load.users()).await?;
    let delivered = measure(&target, &users, load, &stop)?;
    let Load { batch, posters, bytes, .. } = load;
    tell!("{}: {posters} connections, {batch} in a POST, {bytes} bytes a frame", target.name);
    tell!("{}", delivered.spent.line("deliveries"));
    tell!("latency       {}", delivered.latency.line(&SHARES));
    args.json.write(|| {
        json!({
            "server": target.name, "batch": batch, "posters": posters, "bytes": bytes,
            "spent": delivered.spent.json(), "latency_us": delivered.latency.json(),
        })
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posts::Posts;

    #[test]
    fn a_delivery_at_the_wrong_socket_twice_or_out_of_order_fails() {
        let user = |n: usize| User { name: format!("user_{n}"), token: String::new() };
        let users: Vec<User> = (0..10).map(user).collect();
        let load = Load { batch: 2, posters: 1, bytes: 100, duration: 1 };
        let posts = Posts::Json(([127, 0, 0, 1], 1).into());
        let line = Line { posted: 0, arrived: 0, at: [Instant::now(); 2] };
        let mut delivering = Delivering {
            poster: Poster::new(&posts, &users, &[]).unwrap(),
            load,
            lines: vec![line; 10],
            turns: vec![0],
            arrived: 0,
            latency: Latencies::default(),
            ending: false,
        };
        let mut out = Vec::new();
        // Six POSTs of two: a round of ten users, and the first two again.
        (0..6).for_each(|_| delivering.post(0, &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches(r#"\"load\":\"1.1\""#).count(), 1, "{text}");
        let mut hear = |at, load: &str| {
            let frame = format!(r#"{{"op":"event","type":"load","load":"{load}","body":""}}"#);
            delivering.heard(at, 1, frame.as_bytes(), &mut Vec::new())
        };
        hear(0, "0.0").unwrap();
        assert!(hear(0, "0.0").is_err(), "twice");
        hear(0, "0.1").unwrap();
        assert!(hear(0, "0.2").is_err(), "not posted");
        assert!(hear(1, "0.0").is_err(), "another's");
        assert!(hear(1, "1.1").is_err(), "out of order");
        assert!(hear(1, "junk").is_err());
        assert!(hear(1, "1.0").is_ok());
        let mut judged = |status, body: &[u8]| delivering.heard(10, status, body, &mut Vec::new());
        assert!(judged(200, br#"{"missing":[]}"#).is_ok());
        assert!(judged(200, br#"{"missing":[[0,"user_1"]]}"#).is_err() && judged(401, b"").is_err());
    }
}
