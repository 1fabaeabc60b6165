//! `loadtest run` against a server that is wrong on purpose: each fault must be found, and nothing else.

mod fake;

use std::process::{Output, Stdio};
use std::time::Duration;

use fake::{Fake, Faults};
use serde_json::{Value, json};
use tokio::process::Command;

fn command(fake: &Fake, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["run", "--url", &fake.url()]).args(more).kill_on_drop(true);
    command
}

/// Six users, a second of 300 messages that are mostly direct messages, and little patience.
const SMALL: [&str; 10] =
    ["--users", "6", "--rate", "300", "--duration", "1", "--mix", "dms=8,posts=1,fetch=1", "--drain", "8"];

/// Runs it, and gives the figures as well.
async fn run(fake: &Fake, args: &[&str]) -> (Output, String, Value) {
    let json = tempfile::NamedTempFile::new().unwrap();
    let output = command(fake, args).args(["--json", json.path().to_str().unwrap()]).output().await.unwrap();
    let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    let figures = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap_or_default();
    (output, text, figures)
}

/// Runs it on a server with a fault, and expects one flaw of that name to be found as often as the fault came to pass.
async fn found(faults: Faults, fault: &str, flaw: &str, times: impl Fn(u64, u64) -> bool) {
    found_by(&SMALL, faults, fault, flaw, times).await;
}

async fn found_by(args: &[&str], faults: Faults, fault: &str, flaw: &str, times: impl Fn(u64, u64) -> bool) {
    let fake = Fake::start(faults).await;
    let (output, out, figures) = run(&fake, args).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    let wrong = figures["outcome"]["wrong"].as_object().unwrap();
    assert_eq!(wrong.keys().collect::<Vec<_>>(), [flaw], "{out}");
    let (count, happened) = (wrong[flaw]["count"].as_u64().unwrap(), fake.seen.lock().unwrap().faults[fault]);
    assert!(happened > 0 && times(count, happened), "{count} found, {happened} happened: {out}");
    let example = wrong[flaw]["examples"][0].as_str().unwrap();
    assert!(example.contains("run_0000") && out.contains(flaw) && out.contains(example), "{out}");
    assert_eq!(figures["outcome"]["totals"]["wrong"], count);
}

#[tokio::test]
async fn a_right_server_is_found_right_through_every_disturbance_and_is_measured() {
    let faults = Faults {
        rate_limited: 41,
        overloaded: 53,
        cut: 67,
        drain: 71,
        heartbeat_ms: 400,
        ..Faults::default()
    };
    let fake = Fake::start(faults).await;
    let everything = "posts=1,likes=2,dms=4,fetch=2,comments=2,follows=1,typing=1";
    let args = ["--users", "12", "--rate", "200", "--duration", "2", "--mix", everything];
    let (output, out, figures) = run(&fake, &args).await;
    assert!(output.status.success(), "{out}");
    let totals = &figures["outcome"]["totals"];
    let total = |name: &str| totals[name].as_u64().unwrap();
    assert!((330..470).contains(&total("sent")), "{out}");
    assert_eq!(
        (total("accepted"), total("replies"), total("wrong")),
        (total("sent"), total("sent"), 0),
        "{out}"
    );
    for again in ["refused_for_now", "repeated", "reconnects"] {
        assert!(total(again) > 0, "{again}: {out}");
    }
    // Seven friends of each, before anything was measured.
    assert!(fake.follow_count() >= 12 * 7, "{out}");
    let measured = |measure: &str, kind: &str| figures["latency"][measure][kind]["count"].as_u64().unwrap();
    assert_eq!(measured("reply", "all"), total("sent"));
    assert_eq!(measured("delivery", "all"), measured("reply", "dms") + measured("reply", "comments"));
    assert_eq!(total("delivered"), measured("delivery", "all"));
    let series = figures["series"].as_array().unwrap();
    let sum: u64 = series.iter().map(|second| second["replies"].as_u64().unwrap()).sum();
    assert_eq!(sum, total("replies"));
}

#[tokio::test]
async fn a_dm_that_is_lost_doubled_or_late_is_found() {
    let each = |count, happened| count == happened;
    found(Faults { dm_lost: 50, ..Faults::default() }, "dm_lost", "pushes lost", each).await;
    found(Faults { dm_twice: 50, ..Faults::default() }, "dm_twice", "pushes doubled", each).await;
}

#[tokio::test]
async fn a_dm_that_comes_after_what_was_sent_when_it_had_its_reply_is_found() {
    let fake = Fake::start(Faults { dm_late: 25, ..Faults::default() }).await;
    let (output, out, figures) = run(&fake, &SMALL).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    let wrong = figures["outcome"]["wrong"].as_object().unwrap();
    let count = |flaw: &str| wrong.get(flaw).map_or(0, |flawed| flawed["count"].as_u64().unwrap());
    let late = fake.seen.lock().unwrap().faults["dm_late"];
    // A message that is held back when the load ends has no next one, so it never comes.
    let (order, lost) = (count("pushes out of order"), count("pushes lost"));
    let overtaken = figures["outcome"]["overtaken"].as_u64().unwrap();
    assert!(
        order > late / 2 && order + lost + overtaken == late,
        "{order}, {lost}, {overtaken} of {late}: {out}"
    );
    assert!(out.contains("came after what was sent later"), "{out}");
}

#[tokio::test]
async fn a_reply_that_never_comes_is_found_though_sending_again_brings_it() {
    let lost = "replies lost: they came only when the message was sent again";
    let once = |count, happened| (count, happened) == (1, 1);
    // A user who has waited ten seconds sends again: without --drain there is time for that.
    found_by(&SMALL[..8], Faults { lost_reply: 200, ..Faults::default() }, "lost_reply", lost, once).await;
}

#[tokio::test]
async fn a_reply_that_is_doubled_or_wrong_is_found() {
    let each = |count, happened| count == happened;
    found(
        Faults { reply_twice: 50, ..Faults::default() },
        "reply_twice",
        "second replies",
        |count, happened| {
            // Replies to messages of the preparation are doubled as well.
            count > 0 && count <= happened
        },
    )
    .await;
    found(
        Faults { reply_otherwise: 60, ..Faults::default() },
        "reply_otherwise",
        "wrong replies",
        |count, happened| {
            // Replies to messages that change nothing may differ.
            count > 0 && count <= happened
        },
    )
    .await;
    found(Faults { bad_page: 5, ..Faults::default() }, "bad_page", "wrong replies", each).await;
}

#[tokio::test]
async fn an_inbox_with_a_hole_is_found() {
    let fake = Fake::start(Faults { gap: 20, ..Faults::default() }).await;
    let (output, out, figures) = run(&fake, &SMALL).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    // Each of the six users misses one.
    assert_eq!(figures["outcome"]["wrong"]["entries missing in inboxes"]["count"], 6, "{out}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_replies_is_found_when_the_drain_is_over() {
    let fake = Fake::start(Faults { mute: true, ..Faults::default() }).await;
    let args = ["--users", "2", "--rate", "20", "--duration", "1", "--drain", "4", "--mix", "typing=1"];
    let (output, out, figures) = run(&fake, &args).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    let sent = figures["outcome"]["totals"]["sent"].as_u64().unwrap();
    assert_eq!(figures["outcome"]["wrong"]["accepted without a reply"]["count"], sent, "{out}");
}

#[tokio::test]
async fn latency_counts_from_the_intended_time_when_the_server_stands_still() {
    let fake = Fake::start(Faults { stall: Some((100, 1_500)), ..Faults::default() }).await;
    let args =
        ["--users", "4", "--rate", "100", "--arrivals", "uniform", "--duration", "3", "--mix", "typing=1"];
    let (output, out, figures) = run(&fake, &args).await;
    assert!(output.status.success(), "{out}");
    assert_eq!(fake.seen.lock().unwrap().faults["stall"], 1);
    let reply = &figures["latency"]["reply"]["all"];
    assert_eq!(reply["count"], 300, "{out}");
    // Messages that became due while nothing moved, half of all, waited for at least half of that time.
    let micros = |name: &str| reply[name].as_f64().unwrap();
    assert!(micros("mean_us") > 300_000.0 && micros("p90_us") > 1_000_000.0, "{out}");
    assert!(micros("max_us") > 1_450_000.0, "{out}");
    // The sockets were gone: messages were written long after they were due, and answered at once.
    assert!(figures["outcome"]["totals"]["reconnects"].as_u64() > Some(0), "{out}");
}

#[tokio::test]
async fn the_same_seed_sends_the_same_and_the_page_needs_nothing_but_itself() {
    let fake = Fake::start(Faults::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("run.html");
    let args = [&SMALL[..], &["--seed", "7", "--report", page.to_str().unwrap()]].concat();
    let sent = async || {
        let before = fake.seen.lock().unwrap().types.clone();
        let (output, out, figures) = run(&fake, &args).await;
        assert!(output.status.success(), "{out}");
        let after = fake.seen.lock().unwrap().types.clone();
        let count = |name: &str| after[name] - before.get(name).copied().unwrap_or(0);
        (
            ["dm.send", "post.create", "timeline.fetch"].map(count),
            figures["outcome"]["totals"]["sent"].clone(),
        )
    };
    assert_eq!(sent().await, sent().await);

    let html = std::fs::read_to_string(page).unwrap();
    for external in ["http://", "https://", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(external), "{external}");
    }
    let expected = [
        "Every answer was right.",
        "p99 of what was due in each second",
        "Latency by percentile",
        "Depth of the queues",
        "Errors in each second",
        "<td>processor</td>",
        "<td>seed</td><td>7</td>",
        "prefers-color-scheme:dark",
    ];
    for text in expected {
        assert!(html.contains(text), "{text}");
    }
    assert_eq!(html.matches("<svg").count(), 6);
}

#[tokio::test]
async fn control_c_ends_the_load_and_still_gives_the_report() {
    let fake = Fake::start(Faults::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let (page, json) = (directory.path().join("run.html"), directory.path().join("run.json"));
    let files = ["--report", page.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let args =
        [&["--users", "4", "--rate", "50", "--duration", "600", "--mix", "dms=1"][..], &files].concat();
    let child = command(&fake, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let sent = async {
        while fake.seen.lock().unwrap().types.get("dm.send").is_none_or(|dms| *dms < 20) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sent).await.expect("it sends");
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await;
    let output = output.expect("it ends soon").unwrap();
    let out = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    assert_eq!(output.status.code(), Some(130), "{out}");
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let totals = &figures["outcome"]["totals"];
    assert_eq!(figures["outcome"]["interrupted"], true);
    assert!(totals["sent"].as_u64() >= Some(20) && totals["sent"] == totals["replies"], "{out}");
    assert!(std::fs::read_to_string(page).unwrap().contains("Interrupted"));
}

#[tokio::test]
async fn what_cannot_be_is_said_before_anything_is_sent() {
    let fake = Fake::start(Faults::default()).await;
    for (args, expected) in [
        (vec!["--think", "exp:1s"], "--think is between the messages of a --visit of several"),
        (vec!["--mix", "tweets=1"], "\"tweets\" is none of posts, likes"),
        (vec!["--visit", "2", "--think", "exp"], "say exp:500ms, fixed:1s or uniform:200ms-2s"),
        (vec!["--users", "2", "--rate", "5000", "--mix", "typing=1"], "5000 need at least 5 --users"),
        (vec!["--prefix", "Run-"], "choose another --prefix"),
        (
            vec!["--mix", "typing=1", "--metrics", "http://127.0.0.1:1/metrics"],
            "cannot read http://127.0.0.1:1/metrics",
        ),
        (vec!["--report", "/no/such/run.html"], "cannot write /no/such/run.html"),
        (vec!["--json", "/no/such/run.json"], "cannot write /no/such/run.json"),
    ] {
        let output = command(&fake, &args).output().await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && err.contains(expected), "{args:?}: {err}");
    }
    assert_eq!(fake.seen.lock().unwrap().sends, 0);
}

#[tokio::test]
async fn runs_are_compared_and_what_cannot_be_compared_is_named() {
    let fake = Fake::start(Faults::default()).await;
    let (output, out, mut figures) = run(&fake, &SMALL).await;
    assert!(output.status.success(), "{out}");
    // Twelve seconds of the same.
    let second = figures["series"][0].clone();
    figures["series"] = vec![second; 12].into();
    figures["outcome"]["loaded_s"] = 12.into();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, figures: &Value| {
        let path = directory.path().join(name);
        std::fs::write(&path, figures.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let before = write("before.json", &figures);
    let slower = |figures: &Value| {
        let mut slower = figures.clone();
        for second in slower["series"].as_array_mut().unwrap() {
            second["replies"] = (second["replies"].as_u64().unwrap() / 2).into();
        }
        write("slower.json", &slower)
    };
    let compare = async |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("compare").args(args).output().await.unwrap();
        let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
        (output.status.code(), text)
    };
    let (code, out) = compare(&[&before, &before, "--to", &before, &before]).await;
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("reply p50") && out.contains("Nothing changed beyond noise."), "{out}");
    let told = directory.path().join("told.json").to_str().unwrap().to_owned();
    let (code, out) = compare(&[&before, &slower(&figures), "--json", &told]).await;
    assert_eq!(code, Some(1), "{out}");
    let told: Value = serde_json::from_slice(&std::fs::read(told).unwrap()).unwrap();
    let row = |what: &str| told["rows"].as_array().unwrap().iter().find(|row| row["what"] == what).unwrap();
    let [throughput, p50] = ["replies", "reply p50"].map(row);
    assert_eq!((&throughput["verdict"], &p50["verdict"]), (&json!("worse"), &json!("noise")), "{told}");
    let number = |row: &Value, field: &str| row[field].as_f64().unwrap();
    let half = number(throughput, "after") / number(throughput, "before");
    assert!(half < 0.6 && (number(throughput, "change") / 100.0 + 1.0 - half).abs() < 1e-6, "{told}");
    assert!(
        throughput["unit"] == "/s" && told["wrong"]["after"] == 0 && told["notes"][0].is_string(),
        "{told}"
    );
    let (code, out) = compare(&[&before, &before, "--json", "/nowhere/told.json"]).await;
    assert!(code == Some(2) && out.contains("cannot write /nowhere/told.json"), "{out}");
    let (code, out) = compare(&[&before]).await;
    assert!(code == Some(2) && out.contains("give two files"), "{out}");
    figures["configuration"]["users"] = 7.into();
    let (code, out) = compare(&[&before, &write("after.json", &figures)]).await;
    assert!(code == Some(2) && out.contains("users 6 and 7"), "{out}");
    let (code, out) = compare(&[&before, &write("bill.json", &Value::Null)]).await;
    assert!(code == Some(2) && out.contains("bill.json does not hold the figures of a run"), "{out}");
}
