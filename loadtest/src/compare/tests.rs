use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::report::Latencies;

/// A minute at 200 messages per second. Seconds are like their neighbours; latencies have a long tail, and are `times`
/// as long.
fn made(seed: u64, times: f64, change: impl FnOnce(&mut Value)) -> Figures {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut mood = 0.0;
    let second = |t: u64| {
        mood = 0.7 * mood + 0.04 * (rng.random::<f64>() - 0.5);
        let latencies = Latencies::to_digits(2);
        let count = rng.random_range(180..=220);
        for _ in 0..count {
            let (sum, tail) = ((0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0, rng.random::<f64>());
            let ms = times * (mood + 0.4 * sum).exp() * if tail < 0.02 { 8.0 } else { 1.0 };
            latencies.record(Duration::from_secs_f64(ms / 1000.0));
        }
        let brief =
            json!({ "count": count, "p50_us": 1, "p99_us": 1, "max_us": 1, "hdr": latencies.encoded() });
        json!({ "t": t, "sent": count, "accepted": count, "replies": count, "pushes": 0, "delivered": 0, "wrong": 0,
            "refused_for_now": 0, "repeated": 0, "reconnects": 0, "latency": { "reply": brief }, "queues": null })
    };
    let series: Vec<Value> = (0..60).map(second).collect();
    let totals = &series[0];
    let none = json!({ "count": 0, "mean_us": 0, "p50_us": 0, "p90_us": 0, "p99_us": 0, "p999_us": 0, "max_us": 0,
        "percentiles": [], "hdr": "" });
    let machine = json!({ "cpu": "X", "cores": 2, "memory_bytes": 1, "kernel": "6", "os": "Y" });
    let mut file = json!({
        "what": "loadtest run", "format": 1,
        "configuration": { "users": 10, "rate": 200, "duration_s": 60, "mix": [["dms", 1]], "arrivals": "poisson",
            "visit": 1, "think": null },
        "circumstances": { "seed": seed, "url": "ws://a", "prefix": "run_", "started_at": "", "loadtest": "0",
            "server": null, "machine": machine },
        "outcome": { "interrupted": false, "loaded_s": 60.0, "totals": totals, "not_sent": 0, "unfinished": 0,
            "told_again": 0, "overtaken": 0, "wrong": {} },
        "latency": {}, "generator": none, "series": series,
    });
    change(&mut file);
    serde_json::from_value(file).unwrap()
}

fn side(runs: impl IntoIterator<Item = Figures>) -> Side {
    runs.into_iter().enumerate().map(|(n, figures)| (format!("{n}.json"), figures)).collect()
}

fn verdicts(before: Side, after: Side) -> Vec<(String, Verdict)> {
    let comparison = Comparison::of(&before, &after).unwrap();
    let rows = comparison.rows.iter().filter(|row| row.before.is_some());
    rows.map(|row| (row.name(), row.verdict(5.0))).collect()
}

fn same(_: &mut Value) {}

#[test]
fn a_planted_tenth_is_beyond_noise_and_a_repeat_is_not() {
    let (mut false_alarms, mut found) = (0, 0);
    for seed in 0..4 {
        let repeat = verdicts(side([made(seed, 1.0, same)]), side([made(seed + 100, 1.0, same)]));
        let expected = ["replies", "sent again", "reply p50", "reply p90", "reply p99", "reply p99.9"];
        assert_eq!(repeat.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
        false_alarms += repeat.iter().filter(|(_, verdict)| *verdict != Verdict::Noise).count();
        let slower = verdicts(side([made(seed, 1.0, same)]), side([made(seed + 100, 1.1, same)]));
        found += usize::from(slower[2].1 == Verdict::Worse);
        // The throughput was not changed.
        assert_eq!(slower[0].1, Verdict::Noise);
        let faster = verdicts(side([made(seed, 1.1, same)]), side([made(seed + 100, 1.0, same)]));
        assert_ne!(faster[2].1, Verdict::Worse);
    }
    assert!(false_alarms == 0 && found == 4, "{false_alarms} false alarms, {found} of 4 found");
}

#[test]
fn runs_that_differ_among_themselves_are_noise_together() {
    // Their means differ by a tenth and more, which is beyond what each of them varies within itself.
    let runs = |seed, times: [f64; 3]| {
        side(times.into_iter().zip(seed..).map(|(times, seed)| made(seed, times, same)))
    };
    let (before, after) = ([0.85, 1.0, 1.0], [1.0, 1.0, 1.2]);
    let alone = verdicts(runs(1, [1.0; 3]), runs(9, [1.12; 3]));
    assert_eq!(alone[2].1, Verdict::Worse);
    assert_eq!(verdicts(runs(1, before), runs(9, after))[2].1, Verdict::Noise);
    assert_eq!(verdicts(runs(1, before), runs(9, after.map(|times| 2.0 * times)))[2].1, Verdict::Worse);
}

#[test]
fn other_loads_are_refused_by_name_and_other_machines_are_reported() {
    let other = |path: &'static str, value: Value| {
        side([made(2, 1.0, move |file| *file.pointer_mut(path).unwrap() = value)])
    };
    let compare = |after: &Side| Comparison::of(&side([made(1, 1.0, same)]), after);
    let error = format!("{:#}", compare(&other("/configuration/rate", json!(500))).unwrap_err());
    assert!(error.contains("runs of different loads: rate 200 and 500"), "{error}");
    let error = format!("{:#}", compare(&other("/outcome/loaded_s", json!(9.5))).unwrap_err());
    assert!(error.contains("9 s of load are too few, 10 the least"), "{error}");
    let error = format!("{:#}", compare(&other("/series/7/latency/reply/hdr", json!("?"))).unwrap_err());
    assert!(error.contains("0.json is damaged: second 7"), "{error}");

    let text = compare(&other("/circumstances/machine/cores", json!(64))).unwrap().text(5.0);
    assert!(
        text.contains("another machine: cores 2 and 64") && text.contains("Nothing changed beyond noise"),
        "{text}"
    );
    let text = compare(&other("/generator/p99_us", json!(12_345))).unwrap().text(5.0);
    assert!(text.contains("note: 0.json: the generator itself was late (p99 12 ms)"), "{text}");
    let fewer = made(2, 1.0, |file| {
        for second in file["series"].as_array_mut().unwrap() {
            second["replies"] = (second["sent"].as_u64().unwrap() * 9 / 10).into();
        }
    });
    let text = compare(&side([fewer])).unwrap().text(5.0);
    assert!(text.lines().any(|row| row.starts_with("replies") && row.ends_with("WORSE")), "{text}");
    let wrong = compare(&other("/outcome/totals/wrong", json!(1))).unwrap();
    assert!(wrong.is_more_wrong() && wrong.text(5.0).contains("1 worse, 0 better"), "{}", wrong.text(5.0));
}
