//! What server processes on this machine have used, as Linux reports it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Processor time and memory of a process, or of several together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time so far.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

/// The figures in a process's line in /proc.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time, in hundredths of a second.
    hundredths: u64,
}

impl Usage {
    /// What a process has used until now.
    ///
    /// # Errors
    /// There is no such process, or this is not Linux.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Self::read(pid).with_context(|| format!("cannot read the figures of process {pid} from /proc"))
    }

    /// What processes and all their descendants have used until now.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn of_all(pids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in with_descendants(pids)? {
            match Self::of(pid) {
                Ok(usage) => {
                    sum.cpu += usage.cpu;
                    sum.resident += usage.resident;
                }
                Err(error) if pids.contains(&pid) => return Err(error),
                // It ended since it was listed.
                Err(_) => {}
            }
        }
        Ok(sum)
    }

    fn read(pid: u32) -> Result<Self> {
        let stat = parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = kibibytes(&status, "VmRSS").context("no VmRSS")? * 1024;
        Ok(Self { cpu: Duration::from_millis(stat.hundredths * 10), resident })
    }
}

fn parse_stat(stat: &str) -> Result<Stat> {
    // The process's name is in parentheses and may contain anything. After it, the parent is the second field, and the
    // times are the 12th and 13th.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().take(13).collect();
    let &[_, parent, .., user, system] = &fields[..] else { anyhow::bail!("a short stat") };
    Ok(Stat { parent: parent.parse()?, hundredths: user.parse::<u64>()? + system.parse::<u64>()? })
}

/// The line `name:   12 kB` of a file in /proc.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn with_descendants(pids: &[u32]) -> Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = numbers
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse_stat(&stat).ok()?.parent))
        })
        .collect();
    let mut all = pids.to_vec();
    let mut at = 0;
    while at < all.len() {
        for (pid, parent) in &parents {
            if *parent == all[at] && !all.contains(pid) {
                all.push(*pid);
            }
        }
        at += 1;
    }
    Ok(all)
}

/// Memory that the kernel holds for sockets, of the whole machine: its caches of small objects (`Slab` in
/// /proc/meminfo) and the buffers of TCP
/// (`TCP: mem` in /proc/net/sockstat, pages of 4 KiB). It includes both ends of a connection on loopback, and all other
/// work of the machine.
///
/// # Errors
/// This is not Linux.
pub(crate) fn kernel_memory() -> Result<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").context("cannot read /proc/net/sockstat")?;
    let slab = kibibytes(&meminfo, "Slab").context("no Slab in /proc/meminfo")? * 1024;
    Ok(slab + tcp_pages(&sockstat).context("no TCP memory in /proc/net/sockstat")? * 4096)
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split_whitespace().next()?.parse().ok()
}

/// How many files this process may open.
///
/// # Errors
/// This is not Linux.
pub(crate) fn file_limit() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("cannot read /proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).context("no limit of open files")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something_and_an_unknown_one_is_an_error() {
        let before = Usage::of(std::process::id()).unwrap();
        let busy = std::time::Instant::now();
        while busy.elapsed().as_millis() < 50 {}
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.cpu > before.cpu && after.resident > 100_000, "{before:?} {after:?}");
        assert!(Usage::of(u32::MAX).unwrap_err().to_string().contains("4294967295"));
        assert!(kernel_memory().unwrap() > 1_000_000 && file_limit().unwrap() > 100);
    }

    #[test]
    fn figures_are_found_where_linux_puts_them() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 250 31 9 9 20 0 1 0 100 1 1";
        assert_eq!(parse_stat(stat).unwrap(), Stat { parent: 7, hundredths: 281 });
        assert!(parse_stat("42 (cut) S 7 42").is_err());
        let sockstat = "sockets: used 200\nTCP: inuse 5 orphan 0 tw 3 alloc 9 mem 17\nUDP: inuse 1 mem 2\n";
        assert_eq!(tcp_pages(sockstat), Some(17));
        let meminfo = "MemTotal:  100 kB\nSlabby:  1 kB\nSlab:           2048 kB\n";
        assert_eq!((kibibytes(meminfo, "Slab"), kibibytes(meminfo, "Gone")), (Some(2048), None));
    }

    #[test]
    fn children_and_their_children_are_counted_with_a_process() {
        let mut shell = std::process::Command::new("sh");
        // The second command keeps the shell from becoming the first.
        let mut child = shell.args(["-c", "sh -c 'sleep 60; true'; true"]).spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while with_descendants(&[child.id()]).unwrap().len() < 3 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let all = with_descendants(&[child.id()]).unwrap();
        let (alone, together) = (Usage::of(child.id()).unwrap(), Usage::of_all(&[child.id()]).unwrap());
        for pid in &all {
            let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        child.wait().unwrap();
        assert_eq!(all.len(), 3);
        assert!(together.resident > alone.resident * 2, "{together:?} {alone:?}");
    }
}
