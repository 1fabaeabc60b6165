use crate::disk::Disk;

/// Limits of the queue log, and where it lies. The defaults suit one small machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of undelivered and dead messages after which `send` to main_q fails with [`QueueError::Full`]. Beyond half
    /// of them a user who would hold more than a 64th is refused with [`QueueError::Share`]. Acks, and messages that
    /// were accepted already, are always taken.
    ///
    /// [`QueueError::Full`]: soundoff_common::ports::queues::QueueError::Full
    /// [`QueueError::Share`]: soundoff_common::ports::queues::QueueError::Share
    pub live_bytes: u64,
    /// Bytes of the newest bodies that are held in memory; older ones are read from the log.
    pub memory_bytes: usize,
    /// The size in bytes at which a new segment begins; at most 1 GiB.
    pub segment_bytes: u64,
    /// The disk that it lies on.
    pub disk: Disk,
}

impl Default for Options {
    fn default() -> Self {
        Self { live_bytes: 4 << 30, memory_bytes: 64 << 20, segment_bytes: 64 << 20, disk: Disk::default() }
    }
}
