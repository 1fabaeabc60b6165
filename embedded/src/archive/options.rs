use std::time::Duration;

use crate::disk::Disk;

/// How the archive is written.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// What every file's name starts with.
    pub stream: String,
    /// The size in bytes, before compression, at which a part is rolled.
    pub roll_bytes: u64,
    /// The age at which a part is rolled.
    pub roll_after: Duration,
    /// How long the first put waits for others to share its disk sync.
    pub gather: Duration,
    /// The disk that it lies on.
    pub disk: Disk,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            stream: "soundoff".to_owned(),
            roll_bytes: 64 * 1024 * 1024,
            roll_after: Duration::from_secs(60),
            gather: Duration::from_millis(50),
            disk: Disk::default(),
        }
    }
}
