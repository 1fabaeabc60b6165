//! What this process has used, as the kernel reports it.

/// CPU seconds so far, user and system, of all threads, to a hundredth.
///
/// # Errors
/// `/proc` cannot be read.
pub fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

fn status_mb(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1_000
}

/// The most memory that was ever resident, in megabytes, loading included.
pub fn peak_mb() -> u64 {
    status_mb("VmHWM:")
}

/// The memory that is resident now, in megabytes.
pub fn resident_mb() -> u64 {
    status_mb("VmRSS:")
}
