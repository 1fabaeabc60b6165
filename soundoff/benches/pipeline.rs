//! Measures how fast the timelines of all users are computed through the whole pipeline: `cargo bench -p soundoff
//! --bench pipeline`.
//!
//! Synthetic users of the world of `benchkit` (power-law follows and posts) are put into fresh embedded tables, or with
//! `GRAPH` the people of a file of friendships. Then a tick of all users goes through schedule_q, precompute_q, TLC,
//! personalize_q, Personalization and the cache, as under `soundoff up`. In the first tick everything is read from the
//! tables, in the others the memory is warm. `USERS` sets the number of users, 200,000 if it is not set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use benchkit::usage::{cpu_seconds, resident_mb};
use benchkit::world::{World, WorldPost};
use soundoff_common::guard::Weather;
use soundoff_common::model::{accounts, follows, posts};
use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::consumer::{ConsumerConfig, consume};
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::feature::{self, Row, Work};
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::pipeline::world::World as Ports;
use soundoff_common::ports::queues::Queues as _;
use soundoff_common::ports::tables::{Item, Key, Table, Tables as _, Write};
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::secret::Secret;
use soundoff_common::web::uploads::UploadKey;
use soundoff_embedded::cache::LocalCache;
use soundoff_embedded::queues::EmbeddedQueues;
use soundoff_embedded::sessions::LocalSessions;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use soundoff_timeline::{Operators, Status, TimelineConfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("run by `cargo bench -p soundoff --bench pipeline`; it takes minutes");
        return Ok(());
    }
    let users = || std::env::var("USERS").ok().map_or(Ok(200_000), |users| users.parse());
    let follows = match std::env::var("GRAPH") {
        Ok(path) => Follows::read(&path)?,
        Err(_) => Follows::Synthetic(users()?),
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&follows))
}

async fn run(follows: &Follows) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let tables = EmbeddedTables::open(dir.path(), &TableOptions::default())?;
    let begun = Instant::now();
    fill(&tables, follows).await?;
    let users = follows.users();
    eprintln!("{users} users with their follows and posts are in the tables after {:.0?}", begun.elapsed());

    let config = TimelineConfig { clock_skew: Duration::ZERO, ..TimelineConfig::default() };
    let tiers = config.tiers.clone();
    let feature = soundoff_timeline::feature(config);
    let catalog = Arc::new(feature::catalog(std::slice::from_ref(&feature)));
    let queues =
        EmbeddedQueues::open(&dir.path().join("queues"), &catalog.queue_names(), Default::default())?;
    let ports = ports(tables, queues.clone(), catalog.clone())?;
    let stop = CancellationToken::new();
    for Row { spec, work } in &feature.rows {
        let Work::Job(make) = work else { anyhow::bail!("{} is no job", spec.message_type) };
        let (job, config) = (make(&ports)?, spec.pull.within(ConsumerConfig::default()));
        let weather = Weather::new(ports.metrics.clone());
        tokio::spawn(consume(queues.clone(), spec.queue.clone(), config, job, weather, stop.clone()));
    }
    let operators = Operators::new(tiers, &ports);
    let mut before = operators.status().await?;
    for name in ["first tick, all from the tables", "second tick, memory warm", "third tick, memory warm"] {
        let (begun, cpu) = (Instant::now(), cpu_seconds()?);
        operators.tick_now(&[]).await?;
        let status = loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut backlog = 0;
            for queue in catalog.queue_names() {
                let depth = queues.depth(&queue).await?;
                backlog += depth.visible + depth.in_flight;
            }
            if backlog == 0 {
                break operators.status().await?;
            }
        };
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        report(name, &before, &status, wall, cpu);
        before = status;
    }
    stop.cancel();
    Ok(())
}

/// The ports that the stages get.
fn ports(
    tables: Arc<EmbeddedTables>,
    queues: Arc<EmbeddedQueues>,
    catalog: Arc<Catalog>,
) -> anyhow::Result<Ports> {
    let (sessions, metrics) = (Arc::new(LocalSessions::new()), Metrics::new());
    let replies =
        Replies::start(sessions.clone(), InternalKey::new(&[7; 32])?, Weather::new(metrics.clone()));
    let secret = Secret::new(&[7; 32])?;
    Ok(Ports {
        tables,
        sessions,
        cache: Arc::new(LocalCache::new(4 << 30)),
        queues: queues.clone(),
        uploads: Arc::new(UploadKey::of(&secret)?),
        outward: Outward { queues, replies, catalog },
        secret,
        purges: false,
        weather: Weather::new(metrics.clone()),
        metrics,
        blobs: None,
        archive: None,
        verifier: None,
    })
}

fn report(name: &str, before: &Status, after: &Status, wall: f64, cpu: f64) {
    let computed = (after.computed - before.computed) as f64;
    println!("\n{name}: {computed} timelines in {wall:.2} s, {cpu:.2} CPU seconds");
    println!(
        "  {:.0} timelines/s, {:.0} per CPU second, {} MB resident",
        computed / wall,
        computed / cpu,
        resident_mb()
    );
    let stages = after.stages.iter().zip(&before.stages).map(|((stage, now), (_, then))| (stage, now - then));
    let total: f64 = stages.clone().map(|(_, seconds)| seconds).sum();
    for (stage, seconds) in stages.filter(|(_, seconds)| *seconds > 0.0) {
        println!(
            "  {stage:<22}{seconds:>9.2} s{:>7.1} %{:>9.2} µs each",
            100.0 * seconds / total,
            1e6 * seconds / computed
        );
    }
}

fn handle(user: usize) -> Handle {
    format!("u{user:07}").parse().expect("a valid handle")
}

/// Writes in large transactions, many at once, which share commits.
struct Filler {
    tables: Arc<EmbeddedTables>,
    batch: Vec<Write>,
    writing: JoinSet<Result<(), soundoff_common::ports::tables::TableError>>,
}

impl Filler {
    async fn put(&mut self, table: Table, key: Key, item: Item) -> anyhow::Result<()> {
        self.batch.push(Write::put(table, key, item));
        if self.batch.len() == 100 { self.flush(500).await } else { Ok(()) }
    }

    async fn flush(&mut self, in_flight: usize) -> anyhow::Result<()> {
        let (tables, batch) = (self.tables.clone(), std::mem::take(&mut self.batch));
        self.writing.spawn(async move { tables.write(batch).await });
        while self.writing.len() > in_flight {
            self.writing.join_next().await.transpose()?.transpose()?;
        }
        Ok(())
    }
}

/// Who follows whom: from a file of friendships, or generated.
enum Follows {
    /// By person; a friendship is a follow in each direction.
    Friends(Vec<Vec<u32>>),
    Synthetic(usize),
}

impl Follows {
    fn read(path: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let mut friends: Vec<Vec<u32>> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut ends = line.split_whitespace().map(str::parse::<u32>);
            let (Some(Ok(a)), Some(Ok(b))) = (ends.next(), ends.next()) else {
                anyhow::bail!("{path}: not two numbers: {line}");
            };
            friends.resize(friends.len().max(a.max(b) as usize + 1), Vec::new());
            friends[a as usize].push(b);
            friends[b as usize].push(a);
        }
        Ok(Self::Friends(friends))
    }

    fn users(&self) -> usize {
        match self {
            Self::Friends(friends) => friends.len(),
            Self::Synthetic(users) => *users,
        }
    }
}

async fn fill(tables: &Arc<EmbeddedTables>, all: &Follows) -> anyhow::Result<()> {
    let users = all.users();
    let mut world = World::new(users);
    let mut filler = Filler { tables: tables.clone(), batch: Vec::new(), writing: JoinSet::new() };
    let (now, mut number) = (now_ms(), 0_u128);
    for user in 0..users {
        let account =
            Item::new().with("handle", handle(user).as_str()).with("created_at", now).with("active_at", now);
        filler.put(Table::Users, accounts::key(&handle(user)), account.with("follows_version", 1)).await?;
        let followed = match all {
            Follows::Friends(friends) => friends[user].clone(),
            Follows::Synthetic(_) => world.follows(user),
        };
        for author in followed {
            let row = format!("{}{}", follows::PREFIX, Ulid::generate());
            let item = Item::of(&follows::Row { who: handle(author as usize) });
            filler.put(Table::Relationships, Key::new(follows::following(&handle(user)), row), item).await?;
        }
        for WorldPost { ago_ms, engagement } in world.posts() {
            number += 1;
            let id = Ulid::from_parts(now - ago_ms, number);
            let post = Item::new()
                .with("author", handle(user).as_str())
                .with("text", "a post of a usual length, which is about as long as this line of text is")
                .with("created_at", id.timestamp_ms())
                .with("likes", engagement)
                .with("comments", 0);
            filler.put(Table::Entities, posts::key(id), post).await?;
            filler.put(Table::Entities, posts::row_key(&handle(user), id), Item::new()).await?;
        }
        if user % 20_000 == 19_999 {
            eprintln!("  {} of {users} users", user + 1);
        }
    }
    filler.flush(0).await
}
