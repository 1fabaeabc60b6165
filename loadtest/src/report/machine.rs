//! The machine and the version that a run was made with: figures mean nothing without them.

use serde::{Deserialize, Serialize};

/// The machine that this process runs on, as Linux reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's model.
    pub(crate) cpu: String,
    /// How many cores this process may use.
    pub(crate) cores: usize,
    /// Memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The system's name.
    pub(crate) os: String,
}

impl Machine {
    /// This machine. What cannot be read is `unknown` or 0.
    pub(crate) fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let or_unknown = |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or("unknown".into());
        let kib = value(&read("/proc/meminfo"), "MemTotal", ':')
            .and_then(|text| text.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()));
        let os =
            value(&read("/etc/os-release"), "PRETTY_NAME", '=').map(|name| name.trim_matches('"').to_owned());
        Self {
            cpu: or_unknown(value(&read("/proc/cpuinfo"), "model name", ':')),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kib.unwrap_or(0) * 1024,
            kernel: or_unknown(Some(read("/proc/sys/kernel/osrelease").trim().to_owned())),
            os: or_unknown(os),
        }
    }

    /// As rows of a table.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        [
            ("processor", self.cpu.clone()),
            ("cores", self.cores.to_string()),
            ("memory", format!("{gib:.1} GiB")),
            ("kernel", self.kernel.clone()),
            ("system", self.os.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// The value of the first line `name: value` of a text.
fn value(text: &str, name: &str, between: char) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(between));
    pairs
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v.to_owned())
}

/// This load test's version, with the commit it was built from when that is known.
pub(crate) fn version() -> String {
    match option_env!("LOADTEST_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, value};

    #[test]
    fn this_machine_is_known_by_more_than_nothing() {
        let here = Machine::here();
        assert!(here.cores > 0 && here.memory_bytes > 1 << 27 && here.kernel != "unknown", "{here:?}");
        assert_eq!(value("a : 1\nmodel name\t: X 3000: fast\n", "model name", ':').unwrap(), "X 3000: fast");
        assert_eq!(value("nothing here", "model name", ':'), None);
    }
}
