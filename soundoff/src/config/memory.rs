//! How much memory this process may use, and how many sockets have room in it.

use std::path::Path;

/// What is kept free for one socket, in bytes. An idle one takes 5.4 KB, most of it in the kernel; the rest is for those
/// that are busy.
const SOCKET_BYTES: u64 = 8 * 1024;
/// The most sockets that an edge takes by itself, however much memory there is: its processor is the next bound.
const MOST_SOCKETS: u64 = 100_000;
/// Where the limits of a container are: version 2 of control groups, then version 1.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// How many sockets each of `edges` edges of this process takes: as many as have room in three quarters of its
/// memory.
pub(super) fn sockets(edges: u16) -> usize {
    let memory = memory(Path::new("/proc/meminfo"), &GROUPS.map(Path::new));
    let most = memory.map_or(MOST_SOCKETS, |bytes| bytes / 4 * 3 / SOCKET_BYTES / u64::from(edges.max(1)));
    usize::try_from(most.clamp(1, MOST_SOCKETS)).unwrap_or(usize::MAX)
}

/// The machine's memory, or the least that one of the `groups` allows, in bytes; `None` where nothing says so.
fn memory(machine: &Path, groups: &[&Path]) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    // The limit of a group without one is no number, or larger than any memory.
    let limits = groups.iter().filter_map(|path| read(path)?.trim().parse().ok());
    let total = read(machine).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    limits.chain(total).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts_and_none_is_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let machine = file("meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");
        let (small, none) = (file("small", "1048576\n"), file("none", "max\n"));
        let (huge, absent) = (file("huge", "9223372036854771712\n"), dir.path().join("absent"));
        assert_eq!(memory(&machine, &[&small, &huge]), Some(1 << 20));
        assert_eq!(memory(&machine, &[&none, &absent, &huge]), Some(16 << 20));
        assert_eq!(memory(&absent, &[&absent]), None);
        assert!((1..=100_000).contains(&sockets(1)) && sockets(2) <= sockets(1));
    }
}
