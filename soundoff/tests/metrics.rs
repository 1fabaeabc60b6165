//! `/metrics` as Prometheus' own tool reads it: names, help, units and types, in both formats.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;
use support::client::Client;
use support::web::{sign_in, web};
use support::{Server, tokens};

/// Runs promtool on a text; `None`, loudly, where it is not installed. What it complains about is the error.
fn promtool(args: &[&str], text: &str) -> Option<Result<(), String>> {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("!! SKIPPED: Prometheus' own look at /metrics; needs promtool, of Debian's prometheus");
        return None;
    };
    // It may stop reading at its first complaint.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}

/// A server that has had something to count: a sign-in, messages good and bad, and a refused request.
async fn busy() -> Server {
    let server = Server::start(&[]);
    sign_in(&server, "ann").await;
    let token = &tokens(&server.address, &["ann"]).await["ann"];
    let mut ann = Client::hello(&server.address, token, None, None).await;
    let post = ann.call("post.create", json!({ "text": "hello" })).await["post"]["id"].take();
    ann.call("like.add", json!({ "post": post })).await;
    ann.submit("post.create", json!({ "text": "" })).await;
    web(&server.address, "POST /v1/media", &[], b"no picture").await;
    server.reaches("soundoff_consumer_done_total", 3.0).await;
    server
}

#[tokio::test]
async fn prometheus_has_nothing_against_the_names_and_types() {
    let server = busy().await;
    let read = async |accept: &str| {
        let answer = web(server.internal_address(), "GET /metrics", &[("accept", accept)], b"").await;
        String::from_utf8(answer.body).unwrap()
    };
    let Some(judged) = promtool(&["check", "metrics"], &read("text/plain").await) else { return };
    assert_eq!(judged, Ok(()));
    let bad = "# TYPE sent counter\nsent 1\n";
    assert!(promtool(&["check", "metrics"], bad).unwrap().is_err(), "it would say so");

    // It reads OpenMetrics to fill a database only, and wants a time with each number for that.
    let timed = |text: &str| -> String {
        let timed =
            |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1\n") };
        text.lines().map(timed).collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let fill = |text: &str| {
        let (file, database) = (dir.path().join("text"), dir.path().join("database"));
        std::fs::write(&file, timed(text)).unwrap();
        let [file, database] = [&file, &database].map(|path| path.to_str().unwrap().to_owned());
        promtool(&["tsdb", "create-blocks-from", "openmetrics", &file, &database], "").unwrap()
    };
    let open = read("application/openmetrics-text").await;
    assert_eq!(fill(&open), Ok(()));
    assert!(fill(open.trim_end_matches("# EOF\n")).is_err(), "it would say so");
}
