//! A breaker on a clock that the tests move.

use std::time::Duration;

use tokio::time::advance;

use super::breaker::Breaker;
use super::weather::Weather;
use crate::telemetry::{EngineLabel, Metrics};

const LABEL: EngineLabel = EngineLabel { engine: "tables" };

fn weather() -> Weather {
    Weather::new(Metrics::new())
}

fn ask(breaker: &Breaker, answered: bool) -> bool {
    let pass = breaker.admit();
    let admitted = pass.is_some();
    if let Some(pass) = pass {
        pass.end(answered);
    }
    admitted
}

/// Asks a dead engine as often as anybody could; returns how often it was asked.
async fn ask_for(breaker: &Breaker, seconds: u64) -> u32 {
    let mut asked = 0;
    for _ in 0..seconds * 100 {
        asked += u32::from(ask(breaker, false));
        advance(Duration::from_millis(10)).await;
    }
    asked
}

/// Answers all calls until the breaker is closed; returns how long that took.
async fn until_closed(breaker: &Breaker) -> Duration {
    for tick in 0..10_000 {
        while ask(breaker, true) && breaker.away().is_some() {}
        if breaker.away().is_none() {
            return Duration::from_millis(tick * 10);
        }
        advance(Duration::from_millis(10)).await;
    }
    panic!("it never closes");
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_is_asked_at_most_fifty_times_a_minute_and_noticed_within_four_seconds_when_it_is_back()
{
    let weather = weather();
    let breaker = weather.engine("tables");
    for minutes in 0..3 {
        let asked = ask_for(&breaker, 60).await;
        assert!((10..=50).contains(&asked), "minute {minutes}: {asked}");
    }
    assert_eq!(weather.away().len(), 1);
    assert!(weather.away()[0].time >= Duration::from_secs(170), "{:?}", weather.away());
    let back = until_closed(&breaker).await;
    assert!(back <= Duration::from_secs(4), "{back:?}");
    assert!(weather.away().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pauses_are_drawn_and_grow() {
    let mut firsts = Vec::new();
    for _ in 0..20 {
        let weather = weather();
        let breaker = weather.engine("tables");
        let mut times = Vec::new();
        for tick in 0_u32..2_000 {
            if ask(&breaker, false) {
                times.push(tick);
            }
            advance(Duration::from_millis(10)).await;
        }
        let pauses: Vec<u32> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|p| *p > 1).collect();
        assert!((37..=63).contains(&pauses[0]), "half a second and a quarter of it: {pauses:?}");
        assert!((75..=126).contains(&pauses[1]), "{pauses:?}");
        assert!((150..=251).contains(&pauses[2]), "{pauses:?}");
        assert!(pauses[3..].iter().all(|pause| (187..=314).contains(pause)), "{pauses:?}");
        firsts.push(pauses[0]);
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 3, "all processes would come back together: {firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn some_failures_among_many_successes_open_nothing_and_more_failures_than_successes_do() {
    let weather = weather();
    let breaker = weather.engine("tables");
    for call in 0..3_000 {
        assert!(ask(&breaker, call % 3 != 0), "call {call}");
        advance(Duration::from_millis(1)).await;
    }
    assert!(weather.away().is_empty());
    advance(Duration::from_secs(11)).await;
    let mut calls = 0;
    while ask(&breaker, calls % 3 == 0) {
        calls += 1;
    }
    assert!((19..=21).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn rare_calls_that_fail_open_it_too() {
    let weather = weather();
    let breaker = weather.engine("tables");
    for _ in 0..4 {
        assert!(ask(&breaker, false));
        advance(Duration::from_millis(900)).await;
    }
    assert!(weather.away().is_empty(), "all tries of one request say little");
    advance(Duration::from_secs(20)).await;
    assert!(ask(&breaker, false));
    assert_eq!(weather.away().len(), 1, "nothing has succeeded for long");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_noticed_before_its_calls_end() {
    let weather = weather();
    let breaker = weather.engine("tables");
    let receives: Vec<_> = (0..50).map(|_| breaker.admit().unwrap().waiting()).collect();
    let mut hanging = Vec::new();
    for _ in 0..8 {
        hanging.push(breaker.admit().unwrap());
    }
    advance(Duration::from_millis(100)).await;
    hanging.push(breaker.admit().unwrap());
    advance(Duration::from_millis(1_900)).await;
    assert!(breaker.admit().is_some(), "not yet for two seconds");
    advance(Duration::from_millis(200)).await;
    assert!(breaker.admit().is_none());
    assert_eq!(weather.away().len(), 1);
    drop((receives, hanging));
    until_closed(&breaker).await;
    let busy: Vec<_> = (0..20).map(|_| breaker.admit().unwrap()).collect();
    for _ in 0..100 {
        advance(Duration::from_secs(1)).await;
        assert!(ask(&breaker, true), "long calls beside others that end are no stall");
    }
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn trials_grow_from_one_and_a_trial_without_an_end_blocks_nobody() {
    let weather = weather();
    let breaker = weather.engine("tables");
    while ask(&breaker, false) {}
    advance(Duration::from_secs(1)).await;
    let first = breaker.admit().expect("one trial");
    assert!(first.is_trial());
    assert!(breaker.admit().is_none(), "and no second");
    first.end(true);
    let [second, third] = [breaker.admit().unwrap(), breaker.admit().unwrap()];
    assert!(breaker.admit().is_none(), "two after the first success");
    drop(second);
    assert!(breaker.admit().is_some(), "an unused trial is given back");
    third.end(false);
    assert!(breaker.admit().is_none(), "a failure opens it again");
    advance(Duration::from_secs(2)).await;
    let lost = breaker.admit().expect("one trial");
    advance(Duration::from_secs(9)).await;
    assert!(breaker.admit().is_none());
    advance(Duration::from_secs(2)).await;
    assert!(breaker.admit().is_some(), "the lost one is given up");
    drop(lost);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_is_let_through_when_the_engine_is_back_and_hears_of_it() {
    let weather = weather();
    let breaker = weather.engine("tables");
    let mut cleared = weather.cleared();
    while ask(&breaker, false) {}
    assert!(breaker.admitted(Duration::from_millis(300)).await.is_none(), "the pause is longer");
    assert!(!cleared.has_changed().unwrap());
    for _ in 0..8 {
        breaker.admitted(Duration::from_secs(4)).await.expect("a trial").end(true);
    }
    assert!(weather.away().is_empty());
    cleared.changed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_metrics_say_how_many_are_away_and_what_was_refused() {
    let metrics = Metrics::new();
    let weather = Weather::new(metrics.clone());
    let [one, other] = [weather.one_of_many("tables"), weather.one_of_many("tables")];
    while ask(&one, false) {}
    while ask(&other, false) {}
    let gauge = metrics.engine_away.get_or_create(&LABEL).clone();
    assert_eq!(gauge.get(), 2);
    assert_eq!(metrics.engine_failures.get_or_create(&LABEL).get(), 16);
    assert_eq!(metrics.engine_refused.get_or_create(&LABEL).get(), 2);
    drop(one);
    assert_eq!(gauge.get(), 1, "an edge that is forgotten is not away");
    advance(Duration::from_secs(1)).await;
    until_closed(&other).await;
    assert_eq!(gauge.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_few_ask_is_back_after_a_second_of_answers() {
    let weather = weather();
    let breaker = weather.engine("archive");
    while ask(&breaker, false) {}
    advance(Duration::from_secs(1)).await;
    assert!(ask(&breaker, true));
    advance(Duration::from_millis(900)).await;
    assert_eq!(weather.away().len(), 1);
    advance(Duration::from_millis(200)).await;
    assert!(weather.away().is_empty());
    assert!(!breaker.admit().unwrap().is_trial());
}
