//! Server processes that a run starts. They always end: when the run is over, when it fails, and on Ctrl-C.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Process groups that must not outlive this process.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(20);

/// A server process and the processes that it starts itself. All of them end when this value is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

/// Ends all servers that still run, for an exit that drops nothing.
pub(crate) fn kill_all() {
    for group in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        kill(group);
    }
}

/// Ends the group, as some servers have workers that would outlive their master. Returns false when there is no such
/// group.
fn kill(group: u32) -> bool {
    let killed =
        Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
    killed.is_ok_and(|status| status.success())
}

impl Server {
    /// Starts a server in a process group of its own. Its output goes to `log`, so that the reason is there when it
    /// does not start.
    ///
    /// # Errors
    /// There is no such program.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot run {}", command.get_program().display()))?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says something.
    ///
    /// # Errors
    /// It has ended, or takes too long; the error shows the last lines of its output.
    pub(crate) fn until<T>(&mut self, ready: impl Fn(&Path) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = ready(&self.log) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at once ({status}): {}", self.said());
            }
            if begun.elapsed() > START {
                bail!("the server was not ready within {} s: {}", START.as_secs(), self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until something accepts connections.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub(crate) fn until_listening(&mut self, address: std::net::SocketAddr) -> Result<()> {
        self.until(|_| std::net::TcpStream::connect(address).ok().map(drop))
    }

    /// The last lines of its output.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(1000);
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(from);
        if text.is_empty() { "it said nothing".into() } else { text[from..].trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !kill(self.child.id()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let own = self.child.id();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|group| *group != own);
    }
}

/// The rest of the first line of a log that begins with the word `name`. None until the next line has begun, as it may
/// be incomplete.
pub(crate) fn announced(log: &Path, name: &str) -> Option<String> {
    let mut lines = BufReader::new(std::fs::File::open(log).ok()?).lines().map_while(Result::ok);
    let found = lines.find_map(|line| Some(line.trim().strip_prefix(name)?.trim().to_owned()))?;
    lines.next().map(|_| found)
}

/// A port of loopback that is free now.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_its_children_and_says_why_it_did_not_start() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            command
        };
        let mut server = Server::start(&mut script("sleep 60 & echo child $!; echo; wait"), &log).unwrap();
        let child: u32 = server.until(|log| announced(log, "child")).unwrap().parse().unwrap();
        let alive = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        assert!(alive(child));
        drop(server);
        let begun = Instant::now();
        while alive(child) {
            assert!(begun.elapsed() < Duration::from_secs(10), "a child outlives its server");
            std::thread::yield_now();
        }
        let mut broken = Server::start(&mut script("echo no room >&2; exit 3"), &log).unwrap();
        let error = broken.until(|log| announced(log, "ready")).unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains("exit status: 3"), "{error}");
    }
}
