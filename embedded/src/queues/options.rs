/// What the queue log may use. The defaults suit one small machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of undelivered and dead messages after which `send` to main_q answers full. Acks, and what is on its way already, are
    /// always taken.
    pub live_bytes: u64,
    /// Bytes of bodies held in memory, the newest ones; older ones are read back from the log.
    pub memory_bytes: usize,
    /// Bytes after which a new segment is begun; at most 1 GiB.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { live_bytes: 4 << 30, memory_bytes: 64 << 20, segment_bytes: 64 << 20 }
    }
}
