//! Computes the timelines of all users at once: `cargo bench -p soundoff-timeline --bench precompute`.
//!
//! A synthetic world (power-law follows, 10 posts a user over 7 days) is written to files, and each contender finds
//! every user's newest 100 posts of the authors they follow, in a process of its own; loading is not counted. Ours
//! ranks them as well; the peers, DuckDB and Polars, do not. The results are compared item by item: the chronological
//! ones with both peers', the ranked ones with scores that DuckDB computes in SQL. The peers come from PyPI into a
//! virtual environment under `target`; without Python or PyPI they are left out, and the output says so.
//!
//! `USERS` sets how many users there are (200,000), `PLOT` names an SVG file to draw the figures into.

mod compare;
mod gather;
mod peers;
mod plot;

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use benchkit::files::{self, Files};
use benchkit::ours;

const ROUNDS: usize = 7;

/// The costs of one contender.
#[derive(Debug, Clone)]
struct Figure {
    name: String,
    wall: f64,
    cpu: f64,
    peak_mb: u64,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // What this program starts: a process for each contender, so that each one's memory is its own.
        ["ours", dir, threads] => ours::measure(&Files(dir.into()), threads.parse()?, ROUNDS),
        ["write", dir] => ours::write_down(&Files(dir.into())),
        ["gather", dir] => gather::measure(&Files(dir.into()), ROUNDS),
        ref all if all.contains(&"--bench") => run(),
        _ => {
            println!("run by `cargo bench -p soundoff-timeline --bench precompute`; it takes minutes");
            Ok(())
        }
    }
}

/// Runs this program again for one step; returns the numbers of each line that it prints.
fn step(args: &[&str]) -> anyhow::Result<Vec<Vec<f64>>> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    numbers(&output).with_context(|| format!("the step {args:?}"))
}

/// The numbers of each line of a program's output.
fn numbers(output: &std::process::Output) -> anyhow::Result<Vec<Vec<f64>>> {
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout)?;
    let line = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
    Ok(text.lines().map(line).collect::<Result<_, _>>()?)
}

/// The round in the middle, by CPU seconds, and all of them in order.
fn median(mut rounds: Vec<Vec<f64>>, by: usize) -> Vec<f64> {
    rounds.sort_by(|a, b| a[by].total_cmp(&b[by]));
    rounds.swap_remove(rounds.len() / 2)
}

fn run() -> anyhow::Result<()> {
    let users = std::env::var("USERS").ok().map_or(Ok(200_000), |users| users.parse())?;
    let dir = tempfile::tempdir()?;
    let (follows, posts) = files::make(dir.path(), users)?;
    println!(
        "{users} users, {follows} follows, {posts} posts over 7 days; the newest {} of each\n",
        ours::ITEMS
    );
    let mut figures = Vec::new();
    for threads in [1, 2] {
        let name = format!("Sound Off, ranked, {threads} thread{}", if threads == 1 { "" } else { "s" });
        figures.push(ours(dir.path(), &name, threads, users)?);
    }
    let written = step(&["write", path(dir.path())?])?;
    println!("  {} items written down for comparison", written[0][0]);
    floor(dir.path(), &figures[0])?;
    println!();
    match peers::prepared() {
        Ok(python) => {
            let peers = peers::run(&python, dir.path(), users)?;
            compare::ranked(&Files(dir.path().to_owned()))?;
            peers::ratios(&figures, &peers);
            figures.extend(peers);
        }
        Err(error) => println!("!! SKIPPED the peers, DuckDB and Polars: {error:#}"),
    }
    if let Ok(file) = std::env::var("PLOT") {
        plot::draw(Path::new(&file), users, &figures)?;
        println!("\ndrawn into {file}");
    }
    Ok(())
}

fn path(dir: &Path) -> anyhow::Result<&str> {
    dir.to_str().context("a temporary directory whose name is not text")
}

fn ours(dir: &Path, name: &str, threads: usize, users: usize) -> anyhow::Result<Figure> {
    let rounds = step(&["ours", path(dir)?, &threads.to_string()])?;
    let checksums = rounds.iter().filter(|round| round[5].to_bits() != rounds[0][5].to_bits()).count();
    anyhow::ensure!(checksums == 0, "rounds of the same work had different results");
    let cpus: Vec<String> = rounds.iter().map(|round| format!("{:.2}", round[1])).collect();
    let middle = median(rounds, 1);
    let figure = Figure { name: name.to_owned(), wall: middle[0], cpu: middle[1], peak_mb: middle[2] as u64 };
    show(&figure, users);
    println!("  CPU seconds of each round: {}; {} MB of it before the first", cpus.join(" "), middle[3]);
    Ok(figure)
}

fn show(figure: &Figure, users: usize) {
    println!(
        "{:<32}{:>8.2} s wall{:>8.2} s CPU{:>10.0} timelines per CPU second{:>7} MB at most",
        figure.name,
        figure.wall,
        figure.cpu,
        users as f64 / figure.cpu,
        figure.peak_mb
    );
}

/// Prints how much more the computation takes than reading alone.
fn floor(dir: &Path, ours: &Figure) -> anyhow::Result<()> {
    let middle = median(step(&["gather", path(dir)?])?, 0);
    println!(
        "  reading the same {:.1} M places and nothing else: {:.2} CPU seconds, {:.0} M reads/s; ours takes {:.2} times that",
        middle[1] / 1e6,
        middle[0],
        middle[1] / 1e6 / middle[0],
        ours.cpu / middle[0]
    );
    Ok(())
}
