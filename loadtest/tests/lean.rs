//! The lean client of `idle`, `ingest`, `storm` and `pipeline` against a server that answers well, wrongly, or not at
//! all.

mod fake;

use std::process::Output;

use fake::{Fake, Faults};
use serde_json::Value;
use tokio::process::Command;

async fn loadtest(fake: &Fake, args: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let pid = std::process::id().to_string();
    command.args(args).args(["--url", &fake.url(), "--pid", &pid]).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    (output, text)
}

async fn fails(faults: Faults, args: &[&str], reason: &str) {
    let fake = Fake::start(faults).await;
    let (output, text) = loadtest(&fake, args).await;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(reason), "{text}");
}

const INGEST: [&str; 5] = ["ingest", "--sockets", "2", "--duration", "1"];
const PIPELINE: [&str; 7] = ["pipeline", "--sockets", "2", "--in-flight", "2", "--duration", "1"];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_well_with_a_good_server_and_counts_what_was_done() {
    let fake = Fake::start(Faults::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let file = json.to_str().unwrap().to_owned();
    let storm = ["storm", "--connections", "40", "--active", "4", "--rate", "100"];
    let paced = ["pipeline", "--sockets", "4", "--rate", "100", "--duration", "1"];
    let cases: [(&[&str], &str); 5] = [
        (&["idle", "--connections", "300"], "/sockets"),
        (&INGEST, "/spent/count"),
        (&storm, "/served/count"),
        (&PIPELINE, "/spent/count"),
        (&paced, "/spent/count"),
    ];
    for (args, counted) in cases {
        let (output, text) = loadtest(&fake, &[args, &["--json", &file]].concat()).await;
        assert!(output.status.success(), "{args:?}: {text}");
        let figures: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let count = figures.pointer(counted).and_then(Value::as_u64).unwrap();
        match args[0] {
            "idle" => assert_eq!(count, 200),
            "storm" => assert_eq!(count, 40),
            // A hundred a second for one second, after two seconds that do not count.
            "pipeline" if args.contains(&"--rate") => {
                assert_eq!(count, 100);
                assert!(fake.seen.lock().unwrap().sends >= 300);
            }
            _ => assert!(count > 50, "{text}"),
        }
    }
    assert_eq!(fake.follow_count(), 0, "none of it changes anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_fails_the_run() {
    let wrong_pong = Faults { wrong_pong: 500, ..Faults::default() };
    fails(wrong_pong, &INGEST, r#"unexpected: {"n":1,"op":"pong"}"#).await;
    let wrong_profile = Faults { wrong_profile: 50, ..Faults::default() };
    fails(wrong_profile, &PIPELINE, "a reply is not the one to its message").await;
    let refused = Faults { overloaded: 70, ..Faults::default() };
    fails(refused, &PIPELINE, "refused: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_or_falls_silent_is_distinguished_from_a_slow_one() {
    fails(Faults { cut: 100, ..Faults::default() }, &PIPELINE, "the server hung up").await;
    fails(Faults { drain: 100, ..Faults::default() }, &PIPELINE, "the server closed it: 4001").await;
    fails(Faults { lost_reply: 100, ..Faults::default() }, &PIPELINE, "answers are missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_not_there_and_more_sockets_than_files_are_refused_at_once() {
    let fake = Fake::start(Faults::default()).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(INGEST).args(["--url", &fake.url(), "--pid", "4294967295"]);
    let text = String::from_utf8(command.output().await.unwrap().stderr).unwrap();
    assert!(text.contains("process 4294967295"), "{text}");
    let (output, text) = loadtest(&fake, &["idle", "--connections", "1000000"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("more than a process here may open"), "{text}");
}

/// A stand-in for `soundoff up`: it prints the fake's address, and then only runs.
fn stand_in(fake: &Fake, directory: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("soundoff");
    // Its arguments are `up --listen ADDRESS --data DIRECTORY …`.
    let script = format!(
        "#!/bin/sh\nmkdir -p \"$5\"\necho '{{\"key\":\"{}\"}}' > \"$5/ops.json\"\n\
         echo $$ > '{}/pid'\necho websocket ws://{}/v1/ws\necho metrics http://{}/metrics\necho\nsleep 600\n",
        "k".repeat(32),
        directory.display(),
        fake.address,
        fake.address
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_started_ends_with_the_run_and_on_a_signal() {
    for signal in [None, Some("-INT"), Some("-TERM")] {
        let fake = Fake::start(Faults::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let (stand_in, data) = (stand_in(&fake, directory.path()), directory.path().join("data"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(PIPELINE).arg("--soundoff").arg(stand_in).arg("--dir").arg(&data).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        if let Some(signal) = signal {
            while fake.seen.lock().unwrap().sends == 0 {
                assert!(child.try_wait().unwrap().is_none(), "it ended before it sent anything");
                tokio::task::yield_now().await;
            }
            let pid = child.id().unwrap().to_string();
            assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        }
        let code = child.wait().await.unwrap().code();
        assert_eq!(code, Some(if signal.is_some() { 130 } else { 0 }), "{signal:?}");
        let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
        let gone = !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
        assert!(gone, "{signal:?}: the server still runs");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "{signal:?}: its data is still there");
    }
}
