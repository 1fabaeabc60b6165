//! `loadtest scale`: what it prints, writes and refuses.

use std::process::{Command, Output};

use serde_json::Value;

fn scale(more: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("scale").args(more).output().unwrap();
    let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    (output, text)
}

#[test]
fn days_are_printed_written_and_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let [json, plot, page] = ["days.json", "days.svg", "days.html"].map(|name| directory.path().join(name));
    let files = [&json, &plot, &page].map(|path| path.to_str().unwrap());
    let files = ["--json", files[0], "--plot", files[1], "--report", files[2]];
    let (output, text) = scale(
        &[
            &["--users", "10000,20000000", "--hours", "1", "--spike", "00:20+5x3", "--kill", "workers@00:22"],
            &files[..],
        ]
        .concat(),
    );
    assert!(output.status.success(), "{text}");
    for expected in ["10,000", "20,000,000", "workers", "DynamoDB", "prices of 20"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let days = figures["days"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    for day in days {
        assert_eq!(day["minutes"].as_array().unwrap().len(), 60);
        let number = |name: &str| day[name].as_f64().unwrap();
        assert!(
            (number("arrived") - number("done") - number("left")).abs() <= 0.001 * number("arrived") + 50.0,
            "{name}",
            name = day["users"]
        );
        let minute = |at: usize| day["minutes"][at]["rate"].as_f64().unwrap();
        assert!(minute(22) > 2.0 * minute(15), "the crowd: {} and {}", minute(15), minute(22));
        let sum: f64 =
            day["minutes"].as_array().unwrap().iter().map(|minute| minute["dollars"].as_f64().unwrap()).sum();
        assert!((sum - number("dollars_sum")).abs() < 1e-6 * sum);
    }
    let plot = std::fs::read_to_string(plot).unwrap();
    let page = std::fs::read_to_string(page).unwrap();
    for text in [
        "<svg",
        "20,000,000 users: client messages",
        "10,000 users: age of the oldest visible message",
        "personalize",
        "dollars an hour",
    ] {
        assert!(plot.contains(text) && page.contains(text), "{text}");
    }
    assert_eq!((plot.matches("<svg").count(), page.matches("<svg").count()), (1, 12));
    for text in ["from 00:20 on, for 5 min, 3 times as many", "workers at 00:22", "SQS messages a task"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("<script") && !page.contains("src="), "the page needs nothing but itself");
    // The page has all figures of the terminal.
    let numbers = text.lines().filter(|line| line.trim_start().starts_with("20,000,000"));
    let cells: Vec<&str> = numbers.flat_map(str::split_whitespace).collect();
    assert!(cells.len() > 20 && cells.iter().all(|cell| page.contains(cell)), "{cells:?}");
}

/// What a new feature changes of the deployment is all that the simulation needs.
#[test]
fn a_new_type_is_simulated_with_default_figures_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let terraform = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/terraform");
    for name in ["main.tf", "variables.tf", "modules/services/scaling.tf", "modules/queues/variables.tf"] {
        let copy = directory.path().join(name);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(terraform.join(name), copy).unwrap();
    }
    let generated = std::fs::read(terraform.join("deployment.json")).unwrap();
    let mut deployment: Value = serde_json::from_slice(&generated).unwrap();
    deployment["queues"]["example_new_q"] = serde_json::json!({
        "tier": "workers", "type": "example.new", "archived": true, "side": false, "slots": null, "tells": 1, "replies": true,
    });
    let pulls = deployment["services"]["workers"]["pulls"].as_array_mut().unwrap();
    pulls.push("example_new_q".into());
    std::fs::write(directory.path().join("deployment.json"), deployment.to_string()).unwrap();
    let folder = directory.path().to_str().unwrap();
    let (output, text) = scale(&["--users", "1000", "--hours", "1", "--terraform", folder]);
    assert!(output.status.success(), "{text}");
    let others = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.split_once("without figures of their own: "))
            .unwrap_or_default();
        line.1.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(others(&text).contains(&"example.new (as dm.send)".to_owned()), "{text}");
    // Types that have figures are not among them.
    assert!(others(&text).iter().all(|named| !named.starts_with("post.create ")), "{text}");
}

#[test]
fn invalid_arguments_are_refused_with_what_to_write_instead() {
    for (arguments, expected) in [
        (&["--spike", "never"][..], "19:30+10x5"),
        (&["--kill", "router"], "router@12:00"),
        (&["--kill", "rooter@12:00"], "no service \"rooter\""),
        (&["--set", "workers.most=3"], "there are cpu, memory, min, max"),
        (&["--service", "/nowhere.toml"], "/nowhere.toml"),
        (&["--terraform", "/nowhere"], "infra/terraform"),
        (&["--validate", "/nowhere/soundoff"], "cannot start /nowhere/soundoff"),
        (&["--each", "20"], "--validate"),
        (&["--validate", "soundoff", "--report", "day.html"], "cannot be used with"),
        (
            &["--report", "/nowhere/day.html", "--users", "10", "--hours", "1"],
            "cannot write /nowhere/day.html",
        ),
    ] {
        let (output, text) = scale(arguments);
        assert!(!output.status.success() && text.contains(expected), "{arguments:?}: {text}");
    }
}
