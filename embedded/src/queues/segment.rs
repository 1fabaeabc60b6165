//! The files of the log, `0000000001.log` and so on, and the one that grows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::Frame;
use crate::disk::{Disk, is_no_room};

/// Begins every segment: the kind of file and the version of its format. The segment's number and four zeros follow.
const HEADER: [u8; 8] = *b"SOQUEUE\x01";
/// How many bytes the growing segment is filled with zeros ahead of its frames. A sync that finds the file's length and
/// blocks unchanged writes nothing but the frames, and takes two thirds of the time. On a full disk these zeros are the
/// room in which the log goes on.
const AHEAD: u32 = 1 << 20;
static ZEROS: [u8; AHEAD as usize] = [0; AHEAD as usize];

/// What a frame is for. On a full disk the less urgent ones leave room for the more urgent: what is received can be
/// acked or buried then, and what was forwarded can be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// New messages, and copies by the compaction.
    Send,
    /// Messages that follow from others.
    Forward,
    /// Marks of receives.
    Receive,
    /// Acks, burials and the names of empty segments.
    Settle,
}

impl Use {
    /// How many bytes of zeros must be left after such a frame.
    fn leaves(self) -> u32 {
        match self {
            Self::Send => AHEAD / 2,
            Self::Forward => AHEAD / 8 * 3,
            Self::Receive => AHEAD / 4,
            Self::Settle => 0,
        }
    }
}
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

/// A segment that is not yet part of the log has this name.
const NEXT: &str = "next.tmp";

/// The growing segment.
#[derive(Debug)]
pub(super) struct Tail {
    disk: Disk,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) number: u32,
    /// Where the next frame goes.
    pub(super) offset: u32,
    /// Everything before this offset is known to be on disk.
    pub(super) synced: u32,
    /// From `offset` up to here there are zeros, or the rest of a frame that did not fit.
    filled: u32,
    /// Tests make the disk fail with these.
    #[cfg(test)]
    pub(super) fail_write: Option<io::ErrorKind>,
    #[cfg(test)]
    pub(super) fail_sync: Arc<std::sync::atomic::AtomicBool>,
}

impl Tail {
    /// Writes segment `number` with `frame` and the zeros after it, all of it on disk when this returns. It is no part of
    /// the log before [`Tail::publish`].
    pub(super) fn create(disk: &Disk, dir: &Path, number: u32, frame: &mut Frame) -> io::Result<Self> {
        let path = dir.join(NEXT);
        let created = Self::write_new(disk, path.clone(), number, frame);
        if created.is_err() {
            // It may have taken the last room.
            drop(std::fs::remove_file(path));
        }
        created
    }

    fn write_new(disk: &Disk, path: PathBuf, number: u32, frame: &mut Frame) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = disk.noted(&path, file)?;
        disk.needed(&path, file.write_all_at(&header(number), 0))?;
        let start = u32::try_from(SEGMENT_HEADER).expect("small");
        let mut tail = Self::resume(disk, file, path, number, start, start);
        tail.make_room(frame.len(), Use::Send)?;
        tail.append(frame)?;
        disk.synced(&tail.path, tail.file.sync_all())?;
        tail.synced = tail.offset;
        Ok(tail)
    }

    /// Makes what was created the log's last segment.
    pub(super) fn publish(&mut self, dir: &Path) -> io::Result<()> {
        let path = path(dir, self.number);
        self.disk.noted(&path, std::fs::rename(&self.path, &path))?;
        self.path = path;
        self.disk.sync_dir(dir)
    }

    /// Continues at `offset` of a segment that is synced up to there, and has zeros from there to `filled`.
    pub(super) fn resume(
        disk: &Disk,
        file: File,
        path: PathBuf,
        number: u32,
        offset: u32,
        filled: u32,
    ) -> Self {
        Self {
            disk: disk.clone(),
            file: Arc::new(file),
            path,
            number,
            offset,
            synced: offset,
            filled,
            #[cfg(test)]
            fail_write: None,
            #[cfg(test)]
            fail_sync: Arc::default(),
        }
    }

    /// Makes sure that `bytes` can be appended, and that what is more urgent still can after them. When it fails for
    /// want of room, nothing has changed.
    pub(super) fn make_room(&mut self, bytes: usize, what: Use) -> io::Result<()> {
        let mut made = self.fill(bytes, what);
        // The reserve is for what was accepted, and for reads.
        while what != Use::Send && made.as_ref().is_err_and(is_no_room) && self.disk.lend(AHEAD.into()) {
            made = self.fill(bytes, what);
        }
        made
    }

    fn fill(&mut self, bytes: usize, what: Use) -> io::Result<()> {
        // Segments are rotated far below 4 GiB, and a frame is a few MiB.
        let end = self.offset.saturating_add(u32::try_from(bytes).expect("frames are cut at a few MiB"));
        let needed = end.saturating_add(what.leaves());
        if needed <= self.filled {
            return Ok(());
        }
        let to = end.saturating_add(AHEAD);
        while self.filled < to {
            let zeros = &ZEROS[..ZEROS.len().min((to - self.filled) as usize)];
            match self.write_some(zeros, self.filled) {
                Ok(written) => self.filled += u32::try_from(written).expect("at most a MiB"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.filled >= needed => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_some(&self, bytes: &[u8], at: u32) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(kind) = self.fail_write.filter(|kind| {
            // A full disk takes what goes into the zeros.
            *kind != io::ErrorKind::StorageFull || at as usize + bytes.len() > self.filled as usize
        }) {
            return self.disk.needed(&self.path, Err(kind.into()));
        }
        match self.file.write_at(bytes, at.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            written => self.disk.needed(&self.path, written),
        }
    }

    /// Hands one frame to the operating system; returns where it begins. There must be room for it.
    ///
    /// When it fails, the next frame overwrites what is there of this one. A crash before that finds a frame that is cut
    /// short, as after any torn write.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<u32> {
        let at = self.offset;
        let mut rest = frame.seal(self.synced);
        let mut end = at;
        while !rest.is_empty() {
            match self.write_some(rest, end) {
                Ok(written) => {
                    rest = &rest[written..];
                    end += u32::try_from(written).expect("frames are cut at a few MiB");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.offset = end;
        Ok(at)
    }

    /// Syncs a segment that no longer grows to disk, without the zeros at its end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.disk.needed(&self.path, self.file.set_len(self.offset.into()))?;
        self.filled = self.offset;
        self.disk.synced(&self.path, self.file.sync_all())
    }
}
