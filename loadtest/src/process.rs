//! What a server process on this machine has used, as Linux tells it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time and memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time so far.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

impl Usage {
    /// As of now.
    ///
    /// # Errors
    /// There is no such process, or this is not Linux.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Self::read(pid).with_context(|| format!("cannot read the figures of process {pid} from /proc"))
    }

    fn read(pid: u32) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The process's name comes in parentheses and may hold anything; 11 fields after it comes the time, in hundredths.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let times = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let hundredths: u64 = times.sum::<Result<u64, _>>()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: u64 = line.and_then(|line| line.split_whitespace().nth(1)).context("no VmRSS")?.parse()?;
        Ok(Self { cpu: Duration::from_millis(hundredths * 10), resident: kib * 1024 })
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn this_process_has_used_something_and_none_is_told_of_nobody() {
        let before = Usage::of(std::process::id()).unwrap();
        let busy = std::time::Instant::now();
        while busy.elapsed().as_millis() < 50 {}
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.cpu > before.cpu && after.resident > 100_000, "{before:?} {after:?}");
        assert!(Usage::of(u32::MAX).unwrap_err().to_string().contains("4294967295"));
    }
}
