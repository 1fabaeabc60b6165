//! The binary against a server that misbehaves on purpose.

mod fake;

use std::process::{Output, Stdio};

use fake::{Fake, Faults};
use tokio::process::Command;

/// A ring of 40 people with chords: 80 friendships, 160 follows.
fn graph() -> tempfile::NamedTempFile {
    let lines: String = (0..40).map(|n| format!("{n} {}\n{n} {}\n", (n + 1) % 40, (n + 7) % 40)).collect();
    file(&format!("# a ring\n{lines}"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(args).kill_on_drop(true);
    command
}

async fn seed(url: &str, graph: &tempfile::NamedTempFile, more: &[&str]) -> (Output, String, String) {
    let mut args = vec!["seed", "--url", url, "--graph", graph.path().to_str().unwrap()];
    args.extend(more);
    let output = command(&args).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[tokio::test]
async fn a_graph_arrives_whole_through_every_fault_and_a_second_run_changes_nothing() {
    let faults = Faults {
        rate_limited: 7,
        overloaded: 11,
        lost_reply: 150,
        cut: 31,
        drain: 37,
        heartbeat_ms: 400,
        ..Faults::default()
    };
    let (fake, graph) = (Fake::start(faults).await, graph());
    let (output, out, err) = seed(&fake.url(), &graph, &["--sockets", "8", "--in-flight", "4"]).await;
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("80 among 40 people") && out.contains("160 of 160 follow.add"), "{out}");
    assert!(out.contains("mismatches    0 of 40"), "{out}");
    assert_eq!(fake.follow_count(), 160);
    {
        let seen = fake.seen.lock().unwrap();
        for fault in ["rate_limited", "overloaded", "lost_reply", "cut", "drain"] {
            assert!(seen.faults[fault] > 0, "{fault} never happened");
        }
        assert!(seen.most_open <= 8, "{} sockets", seen.most_open);
        // While they waited ten seconds for a lost reply, the sockets must have sent heartbeats.
        assert!(seen.pings > 10 && seen.heartless == 0, "{} pings, {} closed", seen.pings, seen.heartless);
    }
    for never in [" 0 rate_limited", " 0 overloaded", " 0 unanswered", " 0 cut off"] {
        assert!(!out.contains(never), "{never} in {out}");
    }

    let again = Fake { address: fake.address, seen: fake.seen.clone() };
    let (output, out, err) = seed(&again.url(), &graph, &[]).await;
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("160 of them duplicates"), "{out}");
    assert_eq!(fake.follow_count(), 160);
}

#[tokio::test]
async fn a_follow_that_is_not_there_is_named_and_fails_the_run() {
    let fake = Fake::start(Faults { lie: 90, ..Faults::default() }).await;
    let (output, out, _) = seed(&fake.url(), &graph(), &[]).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("mismatches    2 of 40"), "{out}");
    assert!(out.contains("3 followers and 4 following, the file says 4 and 4"), "{out}");
    assert!(out.contains("4 followers and 3 following, the file says 4 and 4"), "{out}");
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_is_sent() {
    let fake = Fake::start(Faults { no_tokens: true, ..Faults::default() }).await;
    let (output, _, err) = seed(&fake.url(), &graph(), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("404 Not Found: this is not `soundoff up`"), "{err}");

    let (_, _, err) = seed(&fake.url(), &file("0 1\n1 one\n"), &[]).await;
    assert!(err.contains("line 2: \"1 one\": \"one\" is not a whole number"), "{err}");

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("ws://{}", listener.local_addr().unwrap())
    };
    let (_, _, err) = seed(&nobody, &graph(), &[]).await;
    assert!(err.contains("start it with `soundoff up`"), "{err}");

    let (_, _, err) = seed("ftp://127.0.0.1:8080", &graph(), &[]).await;
    assert!(err.contains("should look like ws://127.0.0.1:8080"), "{err}");
    for tls in ["wss://127.0.0.1:8080", "https://127.0.0.1:8080"] {
        let (_, _, err) = seed(tls, &graph(), &[]).await;
        assert!(err.contains("does not speak TLS"), "{err}");
    }
    // The page's address means the websocket of the same port.
    let (_, _, err) = seed(&fake.url().replace("ws://", "http://"), &graph(), &[]).await;
    assert!(err.contains("404 Not Found: this is not `soundoff up`"), "{err}");
    assert_eq!(fake.seen.lock().unwrap().sends, 0);
}

#[tokio::test]
async fn control_c_ends_with_a_summary_of_what_was_done() {
    let fake = Fake::start(Faults { mute: true, ..Faults::default() }).await;
    let graph = graph();
    let child = command(&["seed", "--url", &fake.url(), "--graph", graph.path().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sent = async {
        while fake.seen.lock().unwrap().sends == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), sent).await.expect("it sends");
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{out}");
    assert!(out.contains("0 of 160 follow.add"), "{out}");
}

#[tokio::test]
async fn the_open_loop_measures_accepted_while_nobody_replies() {
    let fake = Fake::start(Faults { mute: true, ..Faults::default() }).await;
    let json = tempfile::NamedTempFile::new().unwrap();
    let args = [
        "accepted",
        "--url",
        &fake.url(),
        "--rate",
        "200",
        "--duration",
        "2",
        "--json",
        json.path().to_str().unwrap(),
    ];
    let output = command(&args).output().await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{out}");
    assert!(out.contains("400 sent, 400 accepted, 0 replies"), "{out}");
    let figures: serde_json::Value = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
    assert_eq!((figures["sent"].as_u64(), figures["accepted"].as_u64()), (Some(400), Some(400)));
    let micros = |name: &str| figures["accepted_us"][name].as_u64().unwrap();
    assert!(0 < micros("p50") && micros("p50") <= micros("p99") && micros("p99") <= micros("max"));
}

#[tokio::test]
async fn the_open_loop_reports_what_was_refused() {
    let fake = Fake::start(Faults { overloaded: 10, ..Faults::default() }).await;
    let args = ["accepted", "--url", &fake.url(), "--rate", "100", "--duration", "1"];
    let output = command(&args).output().await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("100 sent, 90 accepted") && out.contains(r#"{"overloaded": 10}"#), "{out}");
}
