//! When timelines are computed: ticks, tiers, missing timelines, and what happens to the work when the process dies.

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::readers::{Readers, hold, id, is_of, items, ms};
use support::{PATIENCE, Server, UNPACED, is_long, seed, tokens};

/// Timelines are computed only when asked for, and from the current counts.
const BY_HAND: [&str; 6] =
    ["--timeline-interval-ms", "0", "--timeline-hints-age-ms", "0", "--max-receives", "1000"];
/// The queues of a computation, in order, and what is worked on in each.
const STAGES: [(&str, &str); 3] = [
    ("schedule_q", "timeline.schedule"),
    ("precompute_q", "timeline.compute"),
    ("personalize_q", "timeline.personalize"),
];
const COMPUTED: &str = "soundoff_timeline_computed_total";
const TICKS: &str = "soundoff_timeline_ticks_total";
const SKIPPED: &str = "soundoff_timeline_ticks_skipped_total";
const FALLBACKS: &str = "soundoff_timeline_fallbacks_total";

/// How many messages wait in, or are taken from, each queue of a computation.
fn queued(server: &Server) -> [u64; 3] {
    let queues = server.queues();
    STAGES.map(|(name, _)| {
        let row = queues.iter().find(|row| row["queue"] == name).unwrap();
        row["visible"].as_u64().unwrap() + row["in_flight"].as_u64().unwrap()
    })
}

/// Waits for a condition.
fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// People who follow each other, with posts, likes and comments: enough that ranking changes the order.
async fn world(server: &Server, prefix: &str, people: usize) -> Readers {
    let names: Vec<String> = (0..people).map(|n| format!("{prefix}{n:02}")).collect();
    let mut readers = Readers::connect(server, &names).await;
    for n in 0..people {
        for step in [1, 3, 7] {
            readers.follow(&names[n], &names[(n + step) % people]).await;
        }
        for _ in 0..2 {
            readers.post(&names[n]).await;
        }
    }
    stir(&mut readers, people).await;
    server.settled();
    readers
}

/// Every second post is liked or commented on by a follower of its author.
async fn stir(readers: &mut Readers, people: usize) {
    let names = readers.names.clone();
    let posts: Vec<_> = readers.model.posts.iter().map(|(id, post)| (*id, post.author.clone())).collect();
    for (n, (post, author)) in posts.into_iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        let author = names.iter().position(|name| *name == author).unwrap();
        let follower = names[(author + people - 3) % people].clone();
        if n % 4 == 0 {
            readers.like(&follower, post).await;
        } else {
            readers.comment(&follower, post).await;
        }
    }
}

#[tokio::test]
async fn a_tick_that_finds_work_of_an_earlier_one_is_skipped_and_counted() {
    let server = Server::start(&["--timeline-interval-ms", "100"]);
    let mut readers = Readers::connect(&server, &["ann", "bob"].map(str::to_owned)).await;
    server.reaches(TICKS, 3.0).await;
    server.command(&["workers", "pause"]);
    // The first tick after the pause may have found nothing queued and put its work there.
    server.reaches(SKIPPED, server.metric(SKIPPED).await + 2.0).await;
    let (ticks, waiting) = (server.metric(TICKS).await, queued(&server));
    server.reaches(SKIPPED, server.metric(SKIPPED).await + 8.0).await;
    assert_eq!(server.metric(TICKS).await, ticks, "ticks that are skipped queue nothing");
    assert_eq!(queued(&server), waiting);
    assert!(waiting.iter().sum::<u64>() > 0, "nothing was queued, so nothing is shown");
    server.command(&["workers", "resume"]);
    server.reaches(TICKS, ticks + 3.0).await;
    until("what was queued is done", || server.timelines()["backlog"] == 0);
    let status = server.timelines();
    assert_eq!((&status["missing"], &status["active"]), (&json!(0), &json!(2)), "{status}");
    // Computed by the schedule, and recently.
    readers.post("ann").await;
    let begun = Instant::now();
    let post = *readers.model.posts.keys().next().unwrap();
    loop {
        let page = readers.call("ann", "timeline.fetch", json!({})).await;
        if ms(&page["computed_at"]) > post.timestamp_ms() {
            break assert_eq!(items(&page)[0].post, post);
        }
        assert!(begun.elapsed() < PATIENCE, "not computed again");
    }
}

#[tokio::test]
async fn recent_users_are_computed_more_often_than_others() {
    let tiers = ["--timeline-interval-ms", "50", "--timeline-tiers", "1d=1,*=40"];
    let server = Server::start(&[&tiers[..], &UNPACED].concat());
    let dormant: Vec<String> = (0..20).map(|n| format!("away_{n:02}")).collect();
    let all: Vec<&str> = dormant.iter().map(String::as_str).chain(["here"]).collect();
    let tokens = tokens(&server.address, &all).await;
    assert_eq!(server.timelines()["active"], 0, "nobody has said hello");
    let mut here = Client::hello(&server.address, &tokens["here"], None, None).await;
    here.event("timeline").await;
    until("who said hello is active", || server.timelines()["active"] == 1);
    let begun = (server.metric(TICKS).await, server.metric(COMPUTED).await);
    // One user at every tick, and each of the others once within any 40 ticks.
    server.reaches(TICKS, begun.0 + 45.0).await;
    let (ticks, computed) = (server.metric(TICKS).await - begun.0, server.metric(COMPUTED).await - begun.1);
    let of_others = (computed - ticks) / 20.0;
    assert!(of_others >= 0.9, "{computed} computed in {ticks} ticks");
    assert!(ticks > 3.0 * of_others, "{computed} computed in {ticks} ticks");

    // Users whose tick is skipped are due at the next one that is not skipped.
    server.command(&["workers", "pause"]);
    server.reaches(SKIPPED, server.metric(SKIPPED).await + 50.0).await;
    let paused = (server.metric(TICKS).await, server.metric(COMPUTED).await);
    server.command(&["workers", "resume"]);
    let (mut ticks, mut of_others) = (0.0, 0.0);
    while of_others < 20.0 {
        ticks = server.metric(TICKS).await - paused.0;
        of_others = server.metric(COMPUTED).await - paused.1 - ticks;
        assert!(ticks < 15.0, "only {of_others} after {ticks} ticks");
    }
    println!("all others were computed within {ticks} ticks");

    let fallbacks = server.metric(FALLBACKS).await;
    let mut back = Client::hello(&server.address, &tokens["away_07"], None, None).await;
    back.event("timeline").await;
    assert_eq!(server.metric(FALLBACKS).await, fallbacks, "the page was ready before they came");
}

#[tokio::test]
async fn a_missing_timeline_is_asked_for_once_however_many_fetch() {
    let stuck = ["--chaos", "timeline.personalize=1"];
    let mut server = Server::start(&[&BY_HAND[..], &UNPACED, &stuck].concat());
    let mut readers = Readers::connect(&server, &["ann", "bob"].map(str::to_owned)).await;
    for name in ["ann", "bob"] {
        readers.clients.get_mut(name).unwrap().event("timeline").await;
    }
    readers.follow("ann", "bob").await;
    for _ in 0..3 {
        readers.post("bob").await;
    }
    // Eight devices, three fetches each, all at once; the timeline that they ask for is never finished.
    let tokens = tokens(&server.address, &["ann"]).await;
    let mut fetching = Vec::new();
    for _ in 0..8 {
        let mut device = Client::hello(&server.address, &tokens["ann"], None, None).await;
        fetching.push(tokio::spawn(async move {
            let mut asked = Vec::new();
            for _ in 0..3 {
                asked.push(device.submit("timeline.fetch", json!({})).await);
            }
            let mut pages = Vec::new();
            for asked in asked {
                pages.push(device.outcome(&asked).await.unwrap()["body"].take());
            }
            pages
        }));
    }
    for pages in fetching {
        for page in pages.await.unwrap() {
            assert!(is_of(&readers.model, "ann", &page), "a real page within the same call: {page}");
        }
    }
    assert!(server.metric(FALLBACKS).await >= 26.0);
    let done = r#"soundoff_consumer_done_total{queue="precompute_q"}"#;
    server.reaches(done, 2.0).await;
    let gathered = server.metric(done).await;
    assert!(gathered < 6.0, "{gathered} for two who are missing, each at most once in ten seconds");
    // The whole cache is lost with the process; pages are as correct as before.
    server.kill();
    server.restart();
    let mut again = Readers::connect(&server, &["ann", "bob"].map(str::to_owned)).await;
    hold(again.clients.get_mut("ann").unwrap(), &readers.model, "ann", 2).await;
    assert_eq!(server.metric(COMPUTED).await, 0.0);
}

/// While timelines are computed, readers see the old one or the new one, and always a whole one.
#[tokio::test]
async fn a_timeline_is_the_old_one_or_the_new_one_and_never_of_both() {
    let limping = ["--chaos", "timeline.compute=0.3", "--chaos", "timeline.personalize=0.3"];
    let server = Server::start(&[&BY_HAND[..], &UNPACED, &limping].concat());
    let people = 12;
    let mut readers = world(&server, "o", people).await;
    let names = readers.names.clone();
    let (mut olds, mut news) = (0, 0);
    for _ in 0..if is_long() { 30 } else { 3 } {
        readers.compute(&server, &names);
        for name in &names {
            readers.post(name).await;
        }
        stir(&mut readers, people).await;
        server.settled();
        let old = readers.model.clone();
        names.iter().for_each(|name| readers.model.compute(name));
        let tick = Instant::now();
        server.command(&["timeline", "tick"]);
        let mut left: HashSet<&String> = names.iter().collect();
        while !left.is_empty() {
            for name in &names {
                let page = readers.call(name, "timeline.fetch", json!({ "limit": 100 })).await;
                if is_of(&readers.model, name, &page) {
                    left.remove(name);
                    news += 1;
                } else {
                    assert!(is_of(&old, name, &page), "{name} sees neither: {page}");
                    assert!(left.contains(name), "{name} sees the old one after the new one");
                    olds += 1;
                }
            }
            assert!(tick.elapsed() < PATIENCE, "never computed: {left:?}");
        }
        server.settled();
    }
    println!("{olds} old ones and {news} new ones were seen");
    assert!(olds > 0, "nobody read while it was computed");
}

/// The process is killed with work waiting for each stage: after the restart the work is done, though nobody asks for
/// it.
#[tokio::test]
async fn a_tick_that_is_killed_between_any_two_stages_is_finished_after_the_restart() {
    let args = [&BY_HAND[..], &UNPACED].concat();
    let mut server = Server::start(&args);
    let people = 12;
    let mut readers = world(&server, "k", people).await;
    let names = readers.names.clone();
    for (stage, (queue, message_type)) in STAGES.into_iter().enumerate() {
        server.settled();
        drop(readers.clients);
        server.kill();
        let broken = format!("{message_type}=1");
        server.restart_with(&[&args[..], &["--chaos", &broken]].concat());
        server.command(&["timeline", "tick"]);
        until(&format!("all of the work is in front of {queue}"), || {
            let queued = queued(&server);
            (0..3).all(|other| (queued[other] > 0) == (other == stage))
        });
        assert_eq!(server.metric(COMPUTED).await, 0.0);
        server.kill();
        server.restart_with(&args);
        server.settled();
        let status = server.timelines();
        assert_eq!((&status["active"], &status["missing"]), (&json!(people), &json!(0)), "{queue}: {status}");
        assert_eq!(status["backlog"], 0, "{queue}: {status}");
        let mut again = Readers::connect(&server, &names).await;
        again.model = readers.model;
        for name in &names {
            again.model.compute(name);
            hold(again.clients.get_mut(name).unwrap(), &again.model, name, 7).await;
        }
        readers = again;
    }
}

/// The process is killed anywhere between a tick and the stored timelines.
#[tokio::test]
async fn a_tick_that_is_killed_at_any_moment_is_finished_after_the_restart() {
    let mut random = StdRng::seed_from_u64(seed());
    let args = [&BY_HAND[..], &UNPACED].concat();
    let mut server = Server::start(&args);
    let people = 12;
    let mut readers = world(&server, "r", people).await;
    let names = readers.names.clone();
    for _ in 0..if is_long() { 60 } else { 8 } {
        server.command(&["timeline", "tick"]);
        // Not synchronised on purpose: the kill must come at any moment.
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        drop(readers.clients);
        server.kill();
        server.restart();
        server.settled();
        assert_eq!(server.timelines()["backlog"], 0);
        let mut again = Readers::connect(&server, &names).await;
        // Timelines finished before the kill were lost with the cache: their users see candidates, the others the
        // computed timeline.
        let mut fresh = readers.model.clone();
        fresh.forget_computed();
        names.iter().for_each(|name| readers.model.compute(name));
        for name in &names {
            let page = again.call(name, "timeline.fetch", json!({ "limit": 100 })).await;
            let whole = is_of(&readers.model, name, &page) || is_of(&fresh, name, &page);
            assert!(whole, "{name} sees neither: {page}");
        }
        again.model = readers.model;
        readers = again;
    }
    // Left alone, the schedule computes all of them again.
    let ticking = ["--timeline-interval-ms", "100"];
    server.restart_with(&ticking);
    until("everybody's is computed", || {
        let status = server.timelines();
        status["missing"] == 0 && status["active"] == people && status["backlog"] == 0
    });
}

#[tokio::test]
async fn operators_compute_timelines_at_once_and_see_how_they_are() {
    let server = Server::start(&BY_HAND);
    let mut readers = Readers::connect(&server, &["ann", "bob", "cat"].map(str::to_owned)).await;
    readers.follow("ann", "bob").await;
    readers.post("bob").await;
    server.settled();
    let data = server.data().to_str().unwrap().to_owned();
    let run = |args: &[&str]| {
        let output = support::soundoff().args(args).args(["--data", &data]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let computed = server.metric(COMPUTED).await;
    let (good, _, said) = run(&["timeline", "tick", "ann", "nobody_1", "nobody_2"]);
    assert!(
        !good && said.contains("nobody_1") && said.contains("nobody_2") && !said.contains("ann"),
        "{said}"
    );
    server.settled();
    assert_eq!(server.metric(COMPUTED).await, computed, "then nobody's is computed");
    let (good, said, _) = run(&["timeline", "tick", "ann"]);
    assert!(good && said.contains("ann"), "{said}");
    server.settled();
    assert_eq!(server.metric(COMPUTED).await, computed + 1.0);
    let (good, said, _) = run(&["timeline", "tick"]);
    assert!(good && said.contains("everybody"), "{said}");
    server.settled();
    assert_eq!(server.metric(COMPUTED).await, computed + 4.0);

    let page = readers.call("ann", "timeline.fetch", json!({})).await;
    assert_eq!(id(&page["items"][0]["post"]["id"]), *readers.model.posts.keys().next().unwrap());
    let status: Value = server.timelines();
    for (name, value) in [("users", 3), ("active", 3), ("missing", 0), ("backlog", 0), ("ticks", 0)] {
        assert_eq!(status[name], value, "{status}");
    }
    assert_eq!(status["computed"].as_f64().unwrap(), computed + 4.0);
    let oldest = status["oldest_ms"].as_u64().unwrap();
    assert!(oldest > 0 && oldest < 60_000, "{status}");
    let table = server.command(&["timeline", "status"]);
    for line in ["users", "oldest timeline", "queued", "computed", "pages shown", "ticks", "merge", "hydrate"]
    {
        assert!(table.lines().any(|shown| shown.starts_with(line)), "{line} is not in {table}");
    }
    assert!(table.contains("3 active, 0 of them without a timeline"), "{table}");
}
