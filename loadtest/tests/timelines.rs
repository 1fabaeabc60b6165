//! `loadtest timelines` against a server that computes a timeline when it is first asked for it.

mod fake;

use std::process::Output;

use fake::{Fake, Faults};
use serde_json::Value;
use tokio::process::Command;

/// Two groups of two readers, 100 warm fetches.
const SMALL: [&str; 10] =
    ["--follows", "30,5", "--readers", "2", "--posts", "2", "--rate", "100", "--duration", "1"];

async fn timelines(fake: &Fake, more: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["timelines", "--url", &fake.url()]).args(SMALL).args(more).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    (output, text)
}

#[tokio::test]
async fn every_group_is_measured_warm_and_cold_and_a_second_run_adds_no_follow() {
    let fake = Fake::start(Faults::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let (json, plot) = (directory.path().join("figures.json"), directory.path().join("plot.svg"));
    let pid = std::process::id().to_string();
    let files = [
        "--json",
        json.to_str().unwrap(),
        "--plot",
        plot.to_str().unwrap(),
        "--pid",
        &pid,
        "--cold-rate",
        "20",
    ];
    let (output, out) = timelines(&fake, &files).await;
    assert!(output.status.success(), "{out}");
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    for (phase, each, fresh) in [("warm", 50, 0), ("cold", 10, 10)] {
        let groups = figures["phases"][phase]["groups"].as_array().unwrap();
        for (group, follows) in groups.iter().zip([5, 30]) {
            let expected = [("follows", follows), ("answered", each), ("fresh", fresh)];
            for (name, expected) in expected {
                assert_eq!(group[name], expected, "{phase} {name}: {out}");
            }
            assert!(group["latency_us"]["p50"].as_u64() > Some(0) && group["p99_ratio"].as_f64() > Some(0.0));
        }
        assert!(figures["phases"][phase]["server"]["resident_bytes"].as_u64() > Some(0));
    }
    assert!(out.contains("5 follows: down to 5 of 20 items"), "{out}");
    let plot = std::fs::read_to_string(plot).unwrap();
    for text in ["<svg", "accounts followed", "time to the reply, ms", "warm", "cold"] {
        assert!(plot.contains(text), "{text}");
    }
    {
        let seen = fake.seen.lock().unwrap();
        assert_eq!((seen.types["post.create"], seen.types["timeline.fetch"] >= 128), (30 * 2 + 20, true));
        // A reader follows the extra account after an odd number of cold fetches.
        assert_eq!((seen.follows["tl_r5_00"].len(), seen.follows["tl_r30_01"].len()), (6, 31));
    }
    assert_eq!(fake.follow_count(), 2 * 6 + 2 * 31);

    let (output, out) = timelines(&fake, &["--skip-setup", "--cold-rate", "0"]).await;
    assert!(output.status.success() && !out.contains("cold"), "{out}");
    assert_eq!(fake.follow_count(), 2 * 5 + 2 * 30);
}

#[tokio::test]
async fn a_fetch_that_is_refused_is_counted_and_fails_the_run() {
    let fake = Fake::start(Faults { overloaded: 10, ..Faults::default() }).await;
    let (output, out) = timelines(&fake, &["--post-rate", "0", "--cold-rate", "0"]).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains(r#"not answered  10: refused {"overloaded": 10}"#), "{out}");
}

#[tokio::test]
async fn readers_who_follow_others_than_they_must_are_named() {
    let fake = Fake::start(Faults::default()).await;
    let (output, out) = timelines(&fake, &["--skip-setup"]).await;
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(
        out.contains("run it once without --skip-setup") && out.contains("follows 0 accounts, not 30"),
        "{out}"
    );
    assert!(!fake.seen.lock().unwrap().types.contains_key("timeline.fetch"));
}
