//! The thread that turns closed parts into the files that readers see.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use soundoff_common::ports::Unavailable;
use tokio::sync::oneshot;
use ulid::Ulid;

use super::line;
use crate::disk::{Disk, Draft};

/// The most files that one part is sorted into: each is open, with a compressor of a few hundred KB, while the part is
/// rolled.
pub(super) const MAX_GROUPS: usize = 64;

/// Takes a third of the time of the default level, for a tenth more bytes.
const LEVEL: u32 = 3;

#[derive(Debug)]
pub(super) enum RollJob {
    Roll(PathBuf),
    /// Is answered once everything before it is rolled.
    Answer(oneshot::Sender<Result<(), Unavailable>>),
}

#[derive(Debug)]
pub(super) struct Roller {
    disk: Disk,
    events: PathBuf,
    parts: PathBuf,
    stream: String,
    /// The parts to roll, with those that failed: a full disk may have room again.
    pending: Vec<PathBuf>,
}

/// The part files of an earlier process, oldest first.
pub(super) fn left_behind(parts: &Path) -> io::Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(parts)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "part") {
            left.push(path);
        }
    }
    left.sort();
    Ok(left)
}

impl Roller {
    pub(super) fn new(
        disk: Disk,
        events: PathBuf,
        parts: PathBuf,
        stream: String,
        pending: Vec<PathBuf>,
    ) -> Self {
        Self { disk, events, parts, stream, pending }
    }

    /// Runs until the writer is gone.
    pub(super) fn run(mut self, jobs: &Receiver<RollJob>) {
        // The next flush reports a failure, and the next part tries it again.
        drop(self.roll_pending());
        for job in jobs {
            match job {
                RollJob::Roll(path) => {
                    self.pending.push(path);
                    drop(self.roll_pending());
                }
                RollJob::Answer(answer) => drop(answer.send(self.roll_pending())),
            }
        }
    }

    fn roll_pending(&mut self) -> Result<(), Unavailable> {
        if let (Err(full), false) = (self.disk.room(), self.pending.is_empty()) {
            return Err(Unavailable(format!("the archive could not be rolled: {full}")));
        }
        let mut failed = None;
        for part in std::mem::take(&mut self.pending) {
            if let Err(error) = self.roll(&part) {
                tracing::error!(%error, part = %part.display(), "a part of the archive could not be rolled; it stays and is tried again");
                failed = Some(Unavailable(format!("the archive could not be rolled: {error}")));
                self.pending.push(part);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn roll(&self, part: &Path) -> io::Result<()> {
        let id = part.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<Ulid>().ok());
        let id = id.ok_or_else(|| io::Error::other("a part's name is not one of ours"))?;
        let time = DateTime::<Utc>::from(id.datetime()).format("%Y-%m-%d-%H-%M-%S");
        let name = format!("{}-1-{time}-{id}.gz", self.stream);

        for (path, file) in self.sort(part, &name)? {
            file.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.publish(&path)?;
        }
        self.disk.noted(part, fs::remove_file(part))?;
        self.disk.sync_dir(&self.parts)
    }

    /// Compresses a part's lines into one draft for each published file.
    fn sort(&self, part: &Path, name: &str) -> io::Result<Vec<(PathBuf, GzEncoder<BufWriter<Draft>>)>> {
        // By the start of a line, so that a look-up makes no path.
        let mut files: HashMap<Vec<u8>, (PathBuf, GzEncoder<BufWriter<Draft>>)> = HashMap::new();
        let mut reader = BufReader::with_capacity(256 * 1024, self.disk.noted(part, File::open(part))?);
        let (mut text, mut torn) = (Vec::new(), 0);
        while self.disk.noted(part, reader.read_until(b'\n', &mut text))? > 0 {
            match line::parse(&text) {
                // A write that a crash cut short: no caller was told that it is archived.
                None => torn += 1,
                Some(line) => {
                    let group = &text[..text.len() - line.json.len()];
                    if !files.contains_key(group) {
                        let draft = Draft::create(
                            &self.disk,
                            self.parts.join(format!("{name}.{}.tmp", files.len())),
                        )?;
                        let file = GzEncoder::new(BufWriter::new(draft), Compression::new(LEVEL));
                        let path = self.events.join(line.dir()).join(name);
                        files.insert(group.to_vec(), (path, file));
                    }
                    let (_, file) = files.get_mut(group).expect("made above");
                    file.write_all(line.json)?;
                }
            }
            text.clear();
        }
        if torn > 0 {
            tracing::warn!(torn, part = %part.display(), "lines that were never completely written were left out");
        }
        Ok(files.into_values().collect())
    }
}
