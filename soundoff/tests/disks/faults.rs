//! A disk that fails on demand: `faults.c`, preloaded into the server.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no room.
    NoRoom,
    /// The disk answers EIO, to writes and syncs.
    Broken,
    /// A call takes this many milliseconds.
    Slow(u32),
}

/// The disk of one server, shared with its process.
pub(crate) struct Faults {
    control: File,
    path: PathBuf,
}

// The fields of `struct control`.
const KIND: u64 = 0;
const LASTING: u64 = 4;
const AT: u64 = 8;
const POINTS: u64 = 16;
const FAILED: u64 = 24;
const SLOW_MS: u64 = 32;
const WHAT: u64 = 36;
const SIZE: u64 = 96;

/// The compiled `faults.c`; compiled once for all tests of this process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (source, path) = (dir.path().join("faults.c"), dir.path().join("faults.so"));
        std::fs::write(&source, include_str!("faults.c")).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&path).arg(&source);
        assert!(compile.arg("-ldl").status().expect("a C compiler").success());
        (dir, path)
    });
    path
}

impl Faults {
    /// A disk that does not fail yet; its control file is in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("faults");
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        control.set_len(SIZE).unwrap();
        Self { control, path }
    }

    /// What a server on the data directory `data` needs in its environment.
    pub(crate) fn environment(&self, data: &Path) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", library().into()),
            ("DISK_FAULTS", self.path.clone().into()),
            ("DISK_FAULTS_DIR", data.into()),
        ]
    }

    /// From now on, the `at`-th call on a file whose path contains `what` goes wrong; a `lasting` one, and all after it on
    /// any file until [`Faults::heal`].
    pub(crate) fn plant(&self, kind: Kind, at: u64, lasting: bool, what: &str) {
        let (number, slow) = match kind {
            Kind::NoRoom => (1, 0),
            Kind::Broken => (2, 0),
            Kind::Slow(ms) => (3, ms),
        };
        self.heal();
        self.name(what);
        self.write(POINTS, &0_u64.to_ne_bytes());
        self.write(FAILED, &0_u64.to_ne_bytes());
        self.write(AT, &at.to_ne_bytes());
        self.write(LASTING, &u32::from(lasting).to_ne_bytes());
        self.write(SLOW_MS, &slow.to_ne_bytes());
        self.write(KIND, &u32::to_ne_bytes(number));
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn heal(&self) {
        self.write(KIND, &0_u32.to_ne_bytes());
    }

    /// Counts from zero how many calls there are on files whose path contains `what`.
    pub(crate) fn count(&self, what: &str) {
        self.heal();
        self.name(what);
        self.write(POINTS, &0_u64.to_ne_bytes());
    }

    /// The calls so far.
    pub(crate) fn points(&self) -> u64 {
        self.read(POINTS)
    }

    /// How many of them went wrong.
    pub(crate) fn failed(&self) -> u64 {
        self.read(FAILED)
    }

    fn name(&self, what: &str) {
        let mut name = [0; (SIZE - WHAT) as usize];
        name[..what.len()].copy_from_slice(what.as_bytes());
        self.write(WHAT, &name);
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, at).unwrap();
    }

    fn read(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
