//! Standard output and standard error that cannot be written: commands end with a reason or quietly, servers go on.

mod support;

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::json;
use support::client::Client;
use support::{PATIENCE, Server, soundoff, tokens};

/// What is written there fails with ENOSPC, as on a full disk.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// What is written there fails with EPIPE.
fn reader_has_left() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Every kind of command that prints an answer.
const COMMANDS: [&[&str]; 9] = [
    &["asyncapi"],
    &["deployment"],
    &["queues"],
    &["queues", "--json"],
    &["dlq", "redrive", "main_q"],
    &["timeline", "status"],
    &["workers", "pause"],
    &["workers", "resume"],
    &["users", "revoke", "ann"],
];

fn run(server: &Server, args: &[&str], stdout: Stdio) -> Output {
    let mut command = soundoff();
    command.args(args).stdout(stdout);
    if !["asyncapi", "deployment"].contains(&args[0]) {
        command.arg("--data").arg(server.data());
    }
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_reader_has_left_ends_quietly_and_one_on_a_full_disk_with_the_reason() {
    let server = Server::start(&[]);
    tokens(&server.address, &["ann"]).await;
    for args in COMMANDS {
        let left = run(&server, args, reader_has_left());
        let said = String::from_utf8_lossy(&left.stderr).into_owned();
        assert!(left.status.success() && said.is_empty(), "{args:?}: {}: {said}", left.status);
        let lost = run(&server, args, full());
        let said = String::from_utf8_lossy(&lost.stderr).into_owned();
        assert_eq!(lost.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("standard output") && !said.contains("panicked"), "{args:?}: {said}");
    }
    // A command that fails says so to nobody, and still by its exit code.
    let failed = soundoff().args(["queues", "--data", "/nonexistent"]).stderr(full()).status().unwrap();
    assert_eq!(failed.code(), Some(1));
}

/// A `soundoff up` that can tell nobody where it listens. Killed when dropped.
struct Mute(Child);

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nobody listens on. Not one of those that the system gives away: another test would get it.
fn free_address() -> String {
    let addresses = (0..100).map(|_| format!("127.0.0.1:{}", rand::random_range(20_000..32_000)));
    let mut free = addresses.filter(|address| std::net::TcpListener::bind(address).is_ok());
    free.next().expect("one of a hundred ports is free")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_can_print_nothing_serves() {
    for (what, out) in [("full", full as fn() -> Stdio), ("left", reader_has_left)] {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut up = soundoff();
        up.args(["up", "--log", "debug", "--listen", &address, "--data"]).arg(dir.path().join("data"));
        let mut server = Mute(up.stdout(out()).stderr(out()).spawn().unwrap());
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(server.0.try_wait().unwrap().is_none(), "{what}: it has ended");
            assert!(begun.elapsed() < PATIENCE, "{what}: it does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let tokens = tokens(&address, &["ann"]).await;
        let mut client = Client::hello(&address, &tokens["ann"], None, None).await;
        client.call("post.create", json!({ "text": "said to nobody" })).await;
        assert_eq!(client.refused("post.create", json!({})).await, "bad_message", "{what}");
        let pid = server.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(server.0.wait().unwrap().success(), "{what}");
    }
}
