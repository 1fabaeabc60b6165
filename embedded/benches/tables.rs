//! How fast the embedded tables are on this machine: `cargo bench -p soundoff-embedded --bench tables`.
//!
//! The transactions are those of a handler: seven items in four tables, one of them under a condition that only its
//! first writer meets. Set `SECONDS` to measure longer than two seconds for each line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use soundoff_common::ports::tables::{Change, Condition, EXPIRES, Item, Key, Query, Table, Tables, Write};
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

/// The rows that reads are measured on.
const PARTITIONS: u64 = 2_000;
const ROWS: u64 = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::var("SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let dir = tempfile::tempdir()?;
    let tables = EmbeddedTables::open(dir.path(), &TableOptions::default())?;
    println!("{:<44} {:>10} {:>12} {:>10} {:>10}", "what", "per s", "rows per s", "p50 µs", "p99 µs");
    for tasks in [1, 16, 64, 256] {
        let unique = Arc::new(AtomicU64::new(0));
        let name = format!("transactions of 7 writes, {tasks} at once");
        measure(&name, 7, tasks, time, &tables, move |tables| {
            let n = unique.fetch_add(1, Ordering::Relaxed);
            async move { tables.write(transaction(tasks, n)).await.map(|()| 7) }
        })
        .await;
    }
    fill(&tables).await?;
    for tasks in [1, 16] {
        measure(&format!("point reads, {tasks} at once"), 1, tasks, time, &tables, |tables| async move {
            let pk = rand::random_range(0..PARTITIONS);
            let key = Key::new(format!("user#{pk}"), sk(rand::random_range(0..ROWS)));
            tables.get(Table::Entities, key).await.map(|item| usize::from(item.is_some()))
        })
        .await;
        measure(
            &format!("queries of 50 rows, {tasks} at once"),
            50,
            tasks,
            time,
            &tables,
            |tables| async move {
                let pk = rand::random_range(0..PARTITIONS);
                let query = Query::prefix(Table::Entities, format!("user#{pk}"), "post#", 50);
                tables.query(query.newest_first()).await.map(|page| page.items.len())
            },
        )
        .await;
    }
    let started = Instant::now();
    let mut scanned = 0;
    for segment in 0..8 {
        let mut after = None;
        loop {
            let page = tables.scan(Table::Entities, segment, 8, after, 1_000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            scanned += page.len();
        }
    }
    println!(
        "{:<44} {:>10} {:>12.0}",
        "a scan in 8 parts, one after another",
        "",
        scanned as f64 / started.elapsed().as_secs_f64()
    );
    report_file(tables, dir.path())
}

fn report_file(tables: Arc<EmbeddedTables>, dir: &std::path::Path) -> anyhow::Result<()> {
    let size =
        |dir: &std::path::Path| std::fs::metadata(dir.join("tables.redb")).map(|m| m.len() / 1_000_000);
    let crashed = tempfile::tempdir()?;
    std::fs::copy(dir.join("tables.redb"), crashed.path().join("tables.redb"))?;
    println!("the file in use: {} MB", size(dir)?);
    drop(tables);
    println!("after a clean stop: {} MB", size(dir)?);
    let started = Instant::now();
    drop(EmbeddedTables::open(dir, &TableOptions::default())?);
    println!("opened and closed in {:?}", started.elapsed());
    let started = Instant::now();
    let tables = EmbeddedTables::open(crashed.path(), &TableOptions::default())?;
    println!("opened after a crash in {:?}", started.elapsed());
    drop(tables);
    Ok(())
}

/// A post, its author's counters, an inbox row, relations and the dedupe record.
fn transaction(tasks: usize, n: u64) -> Vec<Write> {
    let id = format!("{tasks}-{n:012}");
    let user = format!("user-{}", n % 10_000);
    let post = || row(n).with("id", id.clone());
    vec![
        Write::put(
            Table::Dedupe,
            Key::new(&*user, &*id),
            Item::new().with("mid", &*id).with(EXPIRES, 4_000_000_000u64),
        )
        .when(Condition::Missing),
        Write::put(Table::Entities, Key::new(&*user, format!("post#{id}")), post()),
        Write::update(Table::Entities, Key::new(&*user, "profile"), vec![Change::Add("posts", 1)]),
        Write::put(Table::Relationships, Key::new(&*user, format!("author#{id}")), Item::new().with("at", n)),
        Write::put(Table::Relationships, Key::new(format!("post#{id}"), &*user), Item::new().with("at", n)),
        Write::put(Table::Inbox, Key::new(&*user, format!("push#{id}")), post()),
        Write::update(Table::Inbox, Key::new(&*user, "seq"), vec![Change::Add("seq", 1)]),
    ]
}

fn row(n: u64) -> Item {
    Item::new()
        .with("author", format!("user-{}", n % 10_000))
        .with("text", "What a lovely day it is to measure how fast one's tables are, isn't it?")
        .with("likes", n % 100)
        .with("at", 1_763_800_000_000 + n)
        .with("deleted", false)
}

fn sk(n: u64) -> String {
    format!("post#{n:026}")
}

async fn fill(tables: &EmbeddedTables) -> anyhow::Result<()> {
    for pk in 0..PARTITIONS {
        let put = |n| Write::put(Table::Entities, Key::new(format!("user#{pk}"), sk(n)), row(n));
        tables.write((0..ROWS).map(put).collect()).await?;
    }
    Ok(())
}

async fn measure<F, R>(
    name: &str,
    rows: usize,
    tasks: usize,
    time: Duration,
    tables: &Arc<EmbeddedTables>,
    call: F,
) where
    F: Fn(Arc<EmbeddedTables>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<usize, soundoff_common::ports::tables::TableError>> + Send,
{
    let started = Instant::now();
    let mut running = Vec::new();
    for _ in 0..tasks {
        let (tables, call) = (tables.clone(), call.clone());
        running.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            while started.elapsed() < time {
                let begun = Instant::now();
                let found = call(tables.clone()).await.expect("every call is valid");
                assert_eq!(found, rows, "the call did what is measured");
                taken.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            taken
        }));
    }
    let mut taken = Vec::new();
    for task in running {
        taken.extend(task.await.expect("the task ran"));
    }
    let rate = taken.len() as f64 / started.elapsed().as_secs_f64();
    taken.sort_unstable();
    let (p50, p99) = (taken[taken.len() / 2], taken[taken.len() * 99 / 100]);
    println!("{name:<44} {rate:>10.0} {:>12.0} {p50:>10} {p99:>10}", rate * rows as f64);
}
