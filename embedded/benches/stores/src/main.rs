//! Why the queues are a log and the tables are redb: the same work on each store, with one sync for each commit.
//!
//! `cargo run --release --manifest-path embedded/benches/stores/Cargo.toml [-- DIRECTORY]`

mod queue;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long each measurement runs.
pub const SPAN: Duration = Duration::from_secs(4);

fn main() {
    let root = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    // Before, between and after: the time of the disk alone shows how far two lines can be compared.
    sync_alone(&root);
    queue::run(&root);
    sync_alone(&root);
    table::run(&root);
    sync_alone(&root);
}

/// Runs `step` for a while; it returns how many operations it did.
pub fn measure(what: &str, store: &str, mut step: impl FnMut() -> usize) {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < SPAN {
        match step() {
            0 => break,
            done => count += done,
        }
    }
    println!("{what:<44} {store:<10} {:>9.0} /s", count as f64 / began.elapsed().as_secs_f64());
}

/// A new directory.
pub fn directory(root: &Path) -> tempfile::TempDir {
    tempfile::tempdir_in(root).expect("a directory")
}

fn sync_alone(root: &Path) {
    let dir = directory(root);
    let mut file = std::fs::File::create(dir.path().join("file")).expect("a file");
    measure("write 4 KiB and fdatasync", "file", || {
        std::io::Write::write_all(&mut file, &[0; 4096]).expect("a write");
        file.sync_data().expect("a sync");
        1
    });
}
