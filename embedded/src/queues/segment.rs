//! The files of the log, `0000000001.log` and so on, and the one that grows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::Frame;

/// Begins every segment: the kind of file and the version of its format. The segment's number and four zeros follow.
const HEADER: [u8; 8] = *b"SOQUEUE\x01";
/// How many bytes the growing segment is filled with zeros ahead of its frames. A sync that finds the file's length and
/// blocks unchanged writes nothing but the frames, and takes two thirds of the time.
const AHEAD: usize = 1 << 20;
/// Bytes before a segment's first frame.
pub(super) const SEGMENT_HEADER: usize = 16;

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

/// The numbers of the segments in `dir`, in ascending order. Files with other names are ignored.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(stem.filter(|stem| stem.len() == 10).and_then(|stem| stem.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn header(number: u32) -> [u8; SEGMENT_HEADER] {
    let mut bytes = [0; SEGMENT_HEADER];
    bytes[..8].copy_from_slice(&HEADER);
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    bytes
}

pub(super) fn open(dir: &Path, number: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path(dir, number))
}

/// Makes creations and removals of files in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The growing segment.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: Arc<File>,
    pub(super) number: u32,
    /// Where the next frame goes.
    pub(super) offset: u32,
    /// Everything before this offset is known to be on disk.
    pub(super) synced: u32,
    /// From `offset` up to here there are zeros.
    filled: u32,
    /// Tests make the disk fail with these.
    #[cfg(test)]
    pub(super) fail_write: bool,
    #[cfg(test)]
    pub(super) fail_sync: Arc<std::sync::atomic::AtomicBool>,
}

impl Tail {
    /// Begins segment `number` with `frame`, all of it on disk when this returns.
    pub(super) fn create(dir: &Path, number: u32, frame: &mut Frame) -> io::Result<Self> {
        let file = open(dir, number)?;
        file.set_len(0)?;
        file.write_all_at(&header(number), 0)?;
        let mut tail = Self::resume(file, number, u32::try_from(SEGMENT_HEADER).expect("small"));
        tail.append(frame)?;
        tail.file.sync_all()?;
        tail.synced = tail.offset;
        sync_dir(dir)?;
        Ok(tail)
    }

    /// Continues at `offset` of a segment that is synced up to there.
    pub(super) fn resume(file: File, number: u32, offset: u32) -> Self {
        Self {
            file: Arc::new(file),
            number,
            offset,
            synced: offset,
            filled: offset,
            #[cfg(test)]
            fail_write: false,
            #[cfg(test)]
            fail_sync: Arc::default(),
        }
    }

    /// Hands one frame to the operating system; returns where it begins.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<u32> {
        #[cfg(test)]
        if self.fail_write {
            return Err(io::Error::other("a planted write failure"));
        }
        let at = self.offset;
        self.file.write_all_at(frame.seal(self.synced), at.into())?;
        // Segments are rotated far below 4 GiB, and a frame is a few MiB.
        self.offset = at.saturating_add(u32::try_from(frame.len()).expect("frames are cut at a few MiB"));
        if self.offset > self.filled {
            self.file.write_all_at(&vec![0; AHEAD], self.offset.into())?;
            self.filled = self.offset.saturating_add(u32::try_from(AHEAD).expect("a MiB"));
        }
        Ok(at)
    }

    /// Syncs a segment that no longer grows to disk, without the zeros at its end.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.file.set_len(self.offset.into())?;
        self.file.sync_all()
    }
}
