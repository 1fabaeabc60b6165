//! What this process has used, as the kernel counts it.

use std::ops::Sub;

/// CPU seconds, user and system, of all threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: f64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu }
    }
}

/// Used so far, to a hundredth of a second.
pub(crate) fn usage() -> anyhow::Result<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(Usage { cpu: ticks.sum::<Result<f64, _>>()? / 100.0 })
}

fn status_mb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1_000
}

/// The most memory that was ever resident, in megabytes; loading included.
pub(crate) fn peak_mb() -> u64 {
    status_mb("VmHWM:")
}

/// The memory that is resident, in megabytes.
pub(crate) fn resident_mb() -> u64 {
    status_mb("VmRSS:")
}
