use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderValue};

use super::*;
use crate::ports::memory::MemoryTables;

const BEGUN: u64 = 1_790_000_000_000;

fn visitor(n: u32) -> Visitor<'static> {
    Visitor { address: Some(IpAddr::from(n.to_be_bytes())), agent: "app", ..Visitor::default() }
}

fn opening(over_ms: u64, first: Vec<First>) -> Gate {
    Gate { mode: Mode::Opening, since: BEGUN, over_ms, first, salt: 7, ..Gate::default() }
}

/// When a visitor who first comes at `from` is let in, and after how many tries.
fn comes(gate: &Gate, visitor: &Visitor<'_>, from: u64, draw: f64) -> (u64, u32) {
    let (mut now, mut tries) = (from, 1);
    while let Err(shut) = gate.judge(visitor, now, draw) {
        now += shut.wait_ms;
        tries += 1;
    }
    (now, tries)
}

/// A hundred thousand clients who all come in the first moment.
#[test]
fn a_crowd_is_let_in_at_the_planned_rate_and_nobody_asks_more_than_twice() {
    let (gate, count) = (opening(20_000, Vec::new()), 100_000);
    let mut let_in: BTreeMap<u64, u32> = BTreeMap::new();
    let mut all_tries = 0;
    for n in 0..count {
        let visitor = visitor(0x0100_0000 + n * 7);
        let (at, tries) = comes(&gate, &visitor, BEGUN + 1, f64::from(n % 100) / 100.0);
        *let_in.entry((at - BEGUN) / 1000).or_default() += 1;
        all_tries += tries;
        for later in [0, 1, 10_000, 100_000_000] {
            assert!(gate.judge(&visitor, at + later, 0.0).is_ok(), "let in, and out again");
        }
    }
    assert!(f64::from(all_tries) / f64::from(count) <= 2.1, "{all_tries} tries");
    let planned = f64::from(count) / 20.0;
    let most = let_in.values().copied().max().unwrap();
    assert!(f64::from(most) <= 1.2 * planned, "{most} in a second, {planned} planned: {let_in:?}");
}

#[test]
fn the_first_are_let_in_before_all_others() {
    let gate = opening(10_000, vec![First::Country("GB".into()), First::App("ios".into())]);
    for n in 0..1000 {
        let from = |country: &str, app| Visitor { country: Some(country.into()), app, ..visitor(n << 8) };
        let at = |visitor: &Visitor<'_>| comes(&gate, visitor, BEGUN, 0.0).0 - BEGUN;
        for first in [from("GB", None), from("FR", Some("ios")), from("FR", Some("ios-5.2"))] {
            assert!(at(&first) <= 5_001, "{first:?}");
        }
        for other in [visitor(n << 8), from("FR", Some("iosx")), from("FR", Some("android-5.2"))] {
            assert!((5_000..=10_001).contains(&at(&other)), "{other:?}");
        }
    }
    let only_that = opening(10_000, vec![First::App("ios-5.2".into())]);
    let app = |app| Visitor { app: Some(app), ..visitor(1) };
    assert!(only_that.is_first(&app("ios-5.2")) && !only_that.is_first(&app("ios-5.20")));
}

#[test]
fn a_closed_gate_says_why_and_when_as_far_as_is_known() {
    let closed = Gate { mode: Mode::Closed, since: BEGUN, reason: "new disks".into(), ..Gate::default() };
    for draw in [0.0, 0.999] {
        let shut = closed.judge(&visitor(1), BEGUN + 5, draw).unwrap_err();
        assert!((30_000..=60_000).contains(&shut.wait_ms) && shut.reason == "new disks", "{shut:?}");
    }
    let silent = Gate { reason: String::new(), ..closed.clone() };
    assert_eq!(silent.judge(&visitor(1), BEGUN, 0.0).unwrap_err().reason, "closed for a while");
    let known = Gate { until: Some(BEGUN + 600_000), ..closed };
    let waits = (0..1000).map(|n| known.judge(&visitor(n << 8), BEGUN, 0.0).unwrap_err().wait_ms);
    let (least, most) = waits.fold((u64::MAX, 0), |(least, most), wait| (least.min(wait), most.max(wait)));
    assert!((600_000..605_000).contains(&least) && (655_000..=661_000).contains(&most), "{least} {most}");
    let late = known.judge(&visitor(1), BEGUN + 700_000, 0.0).unwrap_err();
    assert!((30_000..=60_000).contains(&late.wait_ms), "it takes longer than was said: {late:?}");
}

#[tokio::test]
async fn a_keeper_reads_the_gate_and_what_a_request_says_of_its_visitor() {
    let tables = MemoryTables::default();
    let keeper = Keeper::new(std::sync::Arc::new(|headers, _| {
        headers.get("country").map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
    }));
    keeper.look(&tables).await;
    let judge = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        keeper.judge(&headers, visitor(9).address)
    };
    assert!(judge(&[]).is_ok(), "there is no gate");
    let first = vec![First::Country("GB".into()), First::App("ios".into())];
    let since = crate::protocol::now_ms() - 50_000;
    let ramp = Gate { since, ..opening(100_000, first) };
    set(&tables, &ramp).await.unwrap();
    keeper.look(&tables).await;
    assert_eq!(keeper.gate(), ramp);
    assert!(judge(&[]).is_err());
    assert!(judge(&[("country", "GB")]).is_ok());
    assert!(judge(&[("soundoff-app", "ios-5")]).is_ok());
    assert!(judge(&[("sec-websocket-protocol", "soundoff.v1, app.ios-5")]).is_ok());
    let closed = Gate { mode: Mode::Closed, reason: "soon".into(), ..ramp };
    set(&tables, &closed).await.unwrap();
    keeper.look(&tables).await;
    keeper.closed().await;
    assert_eq!(judge(&[("country", "GB")]).unwrap_err().reason, "soon");
}
