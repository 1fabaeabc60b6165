//! The disk below a data directory: whether it has room, and whether it works. The engines of one directory share it.
//!
//! - *No room* is an ordinary state. What is new is refused, what was begun is finished with a reserve, reads go on, and
//!   a thread looks for room until there is some.
//! - A failed sync, or a disk that cannot read or write, is not: what is on it is unknown until it is read again, so
//!   the process must stop. [`Disk::broken`] tells it to.

mod draft;
mod reserve;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use soundoff_common::ports::Unavailable;
use tokio::sync::Notify;

pub(crate) use draft::{Draft, remove_drafts};
pub use reserve::RESERVE_FILE;
use reserve::Reserve;

/// How often a full disk is looked at for room.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a write that cannot be given up is tried again.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// What callers are told, and what the log says.
const NO_ROOM: &str = "the disk is full";

/// The disk below one data directory. Clones are the same disk.
///
/// The default has no reserve and no directory: for engines that are tested alone.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    reserve: Reserve,
    full: AtomicBool,
    /// How many writes wait for room that cannot be given up: the reserve is not filled before they have it.
    waiting: AtomicUsize,
    /// The process is about to end: nothing waits any longer.
    hurried: AtomicBool,
    broken: OnceLock<String>,
    broke: Notify,
}

impl Disk {
    /// The disk below `dir`, which must exist. Sets a reserve of room aside there; where there is no room for it, the
    /// disk begins as full.
    ///
    /// # Errors
    /// The reserve's file cannot be opened.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let disk = Self(Arc::new(Shared { reserve: Reserve::open(dir)?, ..Shared::default() }));
        if !disk.0.reserve.fill() {
            disk.fill_up();
        }
        Ok(disk)
    }

    /// Whether it works and has room.
    ///
    /// # Errors
    /// It is full or broken; the text says which.
    pub fn check(&self) -> Result<(), Unavailable> {
        match self.0.broken.get() {
            Some(why) => Err(Unavailable(why.clone())),
            None if self.has_room() => Ok(()),
            None => Err(Unavailable(NO_ROOM.to_owned())),
        }
    }

    /// Waits until the disk is broken; returns the reason. The process must stop then.
    pub async fn broken(&self) -> String {
        loop {
            let mut broke = std::pin::pin!(self.0.broke.notified());
            // From now on a notice that comes between the look and the wait is not missed.
            broke.as_mut().enable();
            if let Some(why) = self.0.broken.get() {
                return why.clone();
            }
            broke.await;
        }
    }

    /// Gives up what waits for room: the process is about to end, and a restart goes on from what is on disk.
    pub fn hurry(&self) {
        self.0.hurried.store(true, Ordering::Relaxed);
    }

    /// Why the disk is broken, if it is.
    #[cfg(test)]
    fn why_broken(&self) -> Option<&str> {
        self.0.broken.get().map(String::as_str)
    }

    /// Whether new work may begin.
    pub(crate) fn has_room(&self) -> bool {
        !self.0.full.load(Ordering::Relaxed)
    }

    /// Fails while the disk is full, so that what would only fail later is not begun.
    pub(crate) fn room(&self) -> io::Result<()> {
        if self.has_room() { Ok(()) } else { Err(io::Error::new(io::ErrorKind::StorageFull, NO_ROOM)) }
    }

    /// Notes how a call on a file went that may fail for reasons of its own.
    pub(crate) fn noted<T>(&self, path: &Path, result: io::Result<T>) -> io::Result<T> {
        match &result {
            Err(error) if is_no_room(error) => self.fill_up(),
            Err(error) if is_breakage(error) => self.break_down(path, error),
            _ => {}
        }
        result
    }

    /// Notes how a call went that an engine cannot do without: it fails on a full or a broken disk only.
    pub(crate) fn needed<T>(&self, path: &Path, result: io::Result<T>) -> io::Result<T> {
        match &result {
            Err(error) if is_no_room(error) => self.fill_up(),
            Err(error) => self.break_down(path, error),
            Ok(_) => {}
        }
        result
    }

    /// Notes how a sync went. Whatever made it fail: the kernel may have dropped what was to be written, and another
    /// sync would not say so.
    pub(crate) fn synced<T>(&self, path: &Path, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            self.break_down(path, &error);
            // Of no kind: "no room" would be taken for a state that passes.
            io::Error::other(format!("a sync failed: {error}"))
        })
    }

    /// Does a write that cannot be given up half-way: on a full disk it is tried again with the reserve's room and then,
    /// while `patient`, with any that there is.
    pub(crate) fn insist(
        &self,
        path: &Path,
        patient: &AtomicBool,
        mut write: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let hurried = &self.0.hurried;
        let is_to_wait = |error: &io::Error| {
            is_no_room(error) && patient.load(Ordering::Relaxed) && !hurried.load(Ordering::Relaxed)
        };
        let mut result = write();
        if result.as_ref().is_err_and(is_no_room) {
            self.fill_up();
            self.0.waiting.fetch_add(1, Ordering::SeqCst);
            self.0.reserve.release(u64::MAX);
            result = write();
            while result.as_ref().is_err_and(is_to_wait) {
                std::thread::sleep(TRY_EVERY);
                result = write();
            }
            self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        self.needed(path, result)
    }

    /// Gives the disk a part of the reserve back; returns whether there was any.
    pub(crate) fn lend(&self, bytes: u64) -> bool {
        self.fill_up();
        self.0.reserve.release(bytes)
    }

    /// There is no room: looks for some until there is.
    fn fill_up(&self) {
        if self.0.full.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!("{NO_ROOM}: what is new is refused until there is room");
        let shared = Arc::downgrade(&self.0);
        let look = move || {
            loop {
                std::thread::sleep(LOOK_EVERY);
                let Some(shared) = shared.upgrade() else { return };
                if shared.waiting.load(Ordering::SeqCst) == 0 && shared.reserve.fill() {
                    tracing::warn!("the disk has room again");
                    shared.full.store(false, Ordering::SeqCst);
                    return;
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("disk-full".to_owned()).spawn(look) {
            // The next write that finds no room tries again.
            tracing::error!(%error, "nobody can look for room");
            self.0.full.store(false, Ordering::SeqCst);
        }
    }

    fn break_down(&self, path: &Path, error: &io::Error) {
        let mut first = false;
        let why = self.0.broken.get_or_init(|| {
            first = true;
            format!("the disk fails at {}: {error}", path.display())
        });
        if first {
            tracing::error!("{why}; nothing was promised that was not on disk");
            self.0.broke.notify_waiters();
        }
    }
}

/// Whether an error says that there is no room on the disk, or none left for this user.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error says that the disk or its file system does not work. Others, such as too many open files, concern
/// one call.
fn is_breakage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const BREAKAGES: [Errno; 6] =
        [Errno::IO, Errno::NXIO, Errno::NODEV, Errno::ROFS, Errno::UCLEAN, Errno::STALE];
    Errno::from_io_error(error).is_some_and(|errno| BREAKAGES.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_room() -> io::Error {
        io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
    }

    fn wait_for_room(disk: &Disk) {
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !disk.has_room() {
            assert!(std::time::Instant::now() < end, "the room is not seen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn no_room_passes_and_breakage_stays() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        disk.check().unwrap();
        for error in [no_room(), io::ErrorKind::QuotaExceeded.into()] {
            disk.noted(dir.path(), Err::<(), _>(error)).unwrap_err();
            assert!(disk.check().unwrap_err().0.contains("full") && is_no_room(&disk.room().unwrap_err()));
            wait_for_room(&disk);
            disk.check().unwrap();
        }
        disk.noted(dir.path(), Err::<(), _>(io::ErrorKind::NotFound.into())).unwrap_err();
        disk.check().unwrap();
        disk.noted(dir.path(), Err::<(), _>(io::Error::from_raw_os_error(5))).unwrap_err();
        assert!(disk.why_broken().unwrap().contains(&dir.path().display().to_string()));
        assert_eq!(disk.check().unwrap_err().0, disk.why_broken().unwrap());
    }

    #[tokio::test]
    async fn a_failed_sync_is_breakage_whatever_the_reason() {
        let disk = Disk::default();
        disk.synced(Path::new("log"), Err::<(), _>(no_room())).unwrap_err();
        assert!(disk.broken().await.contains("log"));
    }

    #[test]
    fn what_must_not_fail_gets_the_reserve_and_then_waits() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let reserve = dir.path().join(RESERVE_FILE);
        let set_aside = std::fs::metadata(&reserve).unwrap().len();
        assert!(set_aside > 0);
        let mut tries = 0;
        let write = || {
            tries += 1;
            let released = std::fs::metadata(&reserve).unwrap().len() == 0;
            assert_eq!(released, tries > 1, "the reserve is for the second try");
            if tries < 4 { Err(no_room()) } else { Ok(()) }
        };
        disk.insist(dir.path(), &AtomicBool::new(true), write).unwrap();
        wait_for_room(&disk);
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), set_aside, "it is set aside again");
        assert!(disk.insist(dir.path(), &AtomicBool::new(false), || Err(no_room())).is_err());
    }
}
