//! The peers: Python processes that run engines from PyPI on the same files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::files::Files;
use crate::{Figure, compare, numbers, show};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/precompute");

/// Makes a Python with the peers, if there is none; returns its path.
pub(crate) fn prepared() -> anyhow::Result<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/precompute-peers");
    let python = venv.join("bin/python");
    if !python.exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("python3 with venv is needed")?;
    }
    let requirements = format!("{HERE}/requirements.txt");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements];
    done(Command::new(&python).args(install)).context("cannot install them from PyPI")?;
    Ok(python)
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs each peer and compares its result with ours.
pub(crate) fn run(python: &Path, dir: &Path, users: usize) -> anyhow::Result<Vec<Figure>> {
    let files = Files(dir.to_owned());
    let contenders = [
        ("DuckDB, our ids, not ranked", "duckdb-ids", 1),
        ("DuckDB, posts numbered by time", "duckdb", 1),
        ("Polars, posts numbered by time", "polars", 1),
        ("DuckDB ranks our chronological", "rank", 0),
    ];
    let mut figures = Vec::new();
    for (name, contender, is_peer) in contenders {
        let script = format!("{HERE}/peers.py");
        let output = Command::new(python).arg(script).arg(contender).arg(dir).output()?;
        let line = numbers(&output).with_context(|| format!("the peer {contender}"))?.swap_remove(0);
        let figure = Figure { name: name.to_owned(), wall: line[0], cpu: line[1], peak_mb: line[2] as u64 };
        show(&figure, users);
        if is_peer == 1 {
            compare::chronological(&files, contender)?;
            figures.push(figure);
        }
    }
    Ok(figures)
}

/// Prints how many times our CPU seconds and our memory the peers use.
pub(crate) fn ratios(ours: &[Figure], peers: &[Figure]) {
    println!("\nagainst {}:", ours[0].name);
    for peer in peers {
        println!(
            "  {:<32}{:>6.1} times the CPU seconds{:>6.1} times the memory",
            peer.name,
            peer.cpu / ours[0].cpu,
            peer.peak_mb as f64 / ours[0].peak_mb as f64
        );
    }
}
