//! The real binary on a directory of its own, and a client that speaks the protocol over a real socket.

#![expect(dead_code, reason = "each test file is a crate of its own and uses its part")]

pub(crate) mod client;
pub(crate) mod model;
pub(crate) mod readers;
pub(crate) mod web;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for two busy cores; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Faster than any socket of a test can send.
pub(crate) const UNPACED: [&str; 4] = ["--messages-per-second", "1000000", "--burst", "1000000"];

/// A directory that is fit for data: nobody else may read it.
pub(crate) fn private_dir() -> tempfile::TempDir {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(permissions).tempdir().unwrap()
}

/// A `soundoff up` of this build. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    args: Vec<String>,
    environment: Environment,
    /// `127.0.0.1:port` of the public port.
    pub(crate) address: String,
    /// `/metrics` of each edge.
    pub(crate) metrics: Vec<String>,
    /// What it has printed at its start, a line each.
    pub(crate) greeting: Vec<String>,
    data: PathBuf,
    log: Log,
    /// Removes the directory at the end, unless the test owns it.
    _own: Option<tempfile::TempDir>,
}

/// Variables that a test gives a server.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// What a server has written to its standard error.
type Log = Arc<Mutex<Vec<u8>>>;

impl Server {
    /// Starts on a fresh directory.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(Environment::new(), args)
    }

    /// Starts on a fresh directory, with variables in its environment.
    pub(crate) fn start_with(environment: Environment, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let args = args.iter().map(ToString::to_string).collect();
        Self::launch(args, data, environment, Some(dir))
    }

    /// Starts on a directory of the test's, with variables in its environment.
    pub(crate) fn start_in(data: &Path, args: &[&str], environment: Environment) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self::launch(args, data.to_owned(), environment, None)
    }

    fn launch(
        args: Vec<String>,
        data: PathBuf,
        environment: Environment,
        own: Option<tempfile::TempDir>,
    ) -> Self {
        let log = Log::default();
        let (child, address, metrics, greeting) = spawn(&args, &environment, &data, &log);
        Self { child, args, environment, address, metrics, greeting, data, log, _own: own }
    }

    /// What it has written to its standard error so far, over all restarts.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// `kill -9`; the process is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same directory, with the same arguments, perhaps on another port.
    pub(crate) fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.child, self.address, self.metrics, self.greeting) =
            spawn(&self.args, &self.environment, &self.data, &self.log);
    }

    /// Starts again on the same directory, with other arguments.
    pub(crate) fn restart_with(&mut self, args: &[&str]) {
        self.args = args.iter().map(ToString::to_string).collect();
        self.restart();
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the process lives.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    pub(crate) fn resident_peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Runs a `soundoff` command on this data directory; returns its standard output.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        let output = soundoff().envs(variables).args(args).arg("--data").arg(&self.data).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "soundoff {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `127.0.0.1:port` of the first internal port.
    pub(crate) fn internal_address(&self) -> &str {
        self.metrics[0].trim_start_matches("http://").split('/').next().unwrap()
    }

    /// An answer of the first internal port.
    pub(crate) async fn internal(&self, path: &str) -> (u16, String) {
        http(self.internal_address(), "GET", path, "").await
    }

    /// The sum of a metric over its labels, or one of them when `name` says so. All edges of a process share their
    /// metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.internal("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            (key == name || key.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Waits until a metric has reached `value`.
    pub(crate) async fn reaches(&self, name: &str, value: f64) {
        let begun = Instant::now();
        while self.metric(name).await < value {
            assert!(begun.elapsed() < PATIENCE, "{name} does not reach {value}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// `soundoff timeline status --json`.
    pub(crate) fn timelines(&self) -> Value {
        serde_json::from_str(&self.command(&["timeline", "status", "--json"])).unwrap()
    }

    /// `soundoff queues --json`.
    pub(crate) fn queues(&self) -> Vec<Value> {
        serde_json::from_str(&self.command(&["queues", "--json"])).unwrap()
    }

    /// Waits until every queue is empty and nothing is in flight; dead letters must be none.
    pub(crate) fn settled(&self) {
        let begun = Instant::now();
        loop {
            let queues = self.queues();
            let dead: Vec<_> = queues.iter().filter(|q| q["dead"] != 0).collect();
            assert!(dead.is_empty(), "dead letters: {dead:?}");
            let busy: Vec<_> = queues.iter().filter(|q| q["visible"] != 0 || q["in_flight"] != 0).collect();
            if busy.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not settled: {busy:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test, without the variables of the environment. TEST_SOUNDOFF names another one, such as
/// `tests/deployment/up.py`, whose `up` is a deployment of many processes on stand-ins for AWS.
pub(crate) fn soundoff() -> Command {
    let binary = std::env::var("TEST_SOUNDOFF");
    let mut command = Command::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_soundoff")));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SOUNDOFF_")) {
        command.env_remove(name);
    }
    command
}

/// Runs `soundoff up`, which must refuse; returns what it said.
pub(crate) fn refused(args: &[&str], data: &Path) -> String {
    let mut up = soundoff();
    up.arg("up").args(args).arg("--data").arg(data).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = up.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("`up {args:?}` was not refused");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(!status.success(), "`up {args:?}` was not refused: {error}");
    error
}

/// A new seed, or the one in SEED; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("SEED={seed}");
    seed
}

/// Whether the long tests were asked for.
pub(crate) fn is_long() -> bool {
    std::env::var("TEST_LONG").is_ok_and(|long| long == "1")
}

fn spawn(
    args: &[String],
    environment: &Environment,
    data: &Path,
    log: &Log,
) -> (Child, String, Vec<String>, Vec<String>) {
    let listen: &[&str] =
        if args.iter().any(|arg| arg == "--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let mut child = soundoff()
        // What a person may do in a minute is nothing for a test. A test of that sets its own.
        .env("SOUNDOFF_TYPE_LIMITS", "off")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["up", "--data"])
        .arg(data)
        .args(listen)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(if std::env::var_os("SHOW_LOG").is_some() { Stdio::inherit() } else { Stdio::piped() })
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut address, mut metrics, mut greeting) = (None, Vec::new(), Vec::new());
    for line in lines.by_ref() {
        let line = line.unwrap();
        greeting.push(line.clone());
        let mut words = line.split_whitespace();
        match words.next() {
            Some("websocket") => {
                let url = words.next().unwrap();
                address = Some(url.trim_start_matches("ws://").trim_end_matches("/v1/ws").to_owned());
            }
            Some("metrics") => metrics = words.map(str::to_owned).collect(),
            Some("Ctrl-C") => break,
            _ => {}
        }
    }
    let Some(address) = address else {
        let mut error = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut error).unwrap();
        }
        panic!("the server did not start: {error}");
    };
    if let Some(mut stderr) = child.stderr.take() {
        // Read all of it, or a server that logs much would block on a full pipe.
        let log = log.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                log.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
    }
    std::thread::spawn(move || lines.for_each(drop));
    (child, address, metrics, greeting)
}

/// One plain HTTP/1.1 request on a fresh connection; returns status and body.
pub(crate) async fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

/// Development tokens, by handle.
pub(crate) async fn tokens(address: &str, handles: &[&str]) -> Value {
    let body = serde_json::json!({ "handles": handles }).to_string();
    let (status, answer) = http(address, "POST", "/dev/tokens", &body).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["tokens"].take()
}
