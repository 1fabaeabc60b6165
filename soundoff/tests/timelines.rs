//! Timelines are what docs/timelines.md says, whatever happens at the same time.

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::readers::{Readers, id, items, ms};
use support::{PATIENCE, Server, UNPACED, is_long, seed};

/// Timelines are computed only when asked for, and from the current counts.
const BY_HAND: [&str; 8] = [
    "--timeline-interval-ms",
    "0",
    "--timeline-hints-age-ms",
    "0",
    UNPACED[0],
    UNPACED[1],
    UNPACED[2],
    UNPACED[3],
];

#[tokio::test]
async fn pages_are_what_the_model_says_whatever_people_do() {
    let server = Server::start(&BY_HAND);
    let mut random = StdRng::seed_from_u64(seed());
    let worlds = if is_long() { 60 } else { 6 };
    for world in 0..worlds {
        let people = random.random_range(2..14);
        let mut readers = Readers::meet(&server, &format!("w{world}_"), people).await;
        for _ in 0..random.random_range(5..30) {
            for _ in 0..random.random_range(0..40) {
                readers.act(&server, &mut random).await;
            }
            let reader = readers.names[random.random_range(0..people)].clone();
            let between = random.random_range(0..4);
            readers.read(&server, &reader, &mut random, between).await;
        }
    }
}

#[tokio::test]
async fn a_long_timeline_keeps_the_newest_hundred_and_its_pages_join_while_it_is_computed_again() {
    let server = Server::start(&BY_HAND);
    let mut random = StdRng::seed_from_u64(seed());
    let mut readers = Readers::meet_a_follower(&server, "l", 4).await;
    let names = readers.names.clone();
    for n in 0..170 {
        readers.post(&names[1 + n % 3]).await;
    }
    readers.compute(&server, &names);
    for _ in 0..3 {
        readers.read(&server, &names[0], &mut random, 3).await;
    }
    // An author list that was full and lost a post is filled up from the tables.
    for _ in 0..110 {
        readers.post(&names[1]).await;
    }
    readers.compute(&server, &names);
    let newest = *readers.model.posts.last_key_value().unwrap().0;
    readers.delete(newest).await;
    readers.compute(&server, &names);
    readers.read(&server, &names[0], &mut random, 0).await;
}

/// With caches as in production: author lists stay in memory for minutes, and only the notes of recent changes keep
/// them correct.
#[tokio::test]
async fn remembered_lists_are_kept_right_by_what_is_recent() {
    let server =
        Server::start(&["--timeline-interval-ms", "0", UNPACED[0], UNPACED[1], UNPACED[2], UNPACED[3]]);
    let mut random = StdRng::seed_from_u64(seed());
    let mut readers = Readers::meet(&server, "m", 5).await;
    let names = readers.names.clone();
    for (from, to) in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 0), (3, 4), (4, 1)] {
        readers.follow(&names[from], &names[to]).await;
    }
    readers.compute(&server, &names);
    for round in 0..if is_long() { 60 } else { 10 } {
        // One author has more posts than a list holds, so that others must replace deleted ones.
        for _ in 0..random.random_range(0..60) {
            let author = if random.random_bool(0.7) { 2 } else { random.random_range(0..5) };
            readers.post(&names[author]).await;
        }
        let live = readers.model.posts.iter().rev().filter(|(_, post)| !post.deleted);
        let newest: Vec<_> = live.map(|(id, _)| *id).take(20).collect();
        for post in newest {
            if random.random_bool(0.2) {
                readers.delete(post).await;
            }
        }
        if round % 2 == 0 {
            readers.compute(&server, &names);
        }
        let reader = names[random.random_range(0..5)].clone();
        readers.read(&server, &reader, &mut random, 0).await;
    }
}

/// Pages after a restart: the list that a cursor leads through was lost with the process. The first fetch may be done
/// twice, as its ack may have been lost as well, and makes another list.
#[tokio::test]
async fn a_cursor_outlives_the_cache_without_a_post_twice_or_left_out() {
    let mut server = Server::start(&BY_HAND);
    let mut readers = Readers::meet_a_follower(&server, "c", 3).await;
    let names = readers.names.clone();
    // A hundred posts are on the timeline, and 30 newer ones are added: the list is longer than a computation makes it.
    for n in 0..150 {
        if n == 120 {
            readers.compute(&server, &names);
        }
        readers.post(&names[1 + n % 2]).await;
    }
    server.settled();
    let first = readers.call(&names[0], "timeline.fetch", json!({ "limit": 10 })).await;
    let mut expected: Vec<_> = readers.model.posts.keys().skip(20).copied().collect();
    server.kill();
    server.restart();
    let mut again = Readers::meet(&server, "c", 3).await;
    for _ in 0..5 {
        again.post(&names[1]).await;
    }
    let mut shown: Vec<_> = items(&first).into_iter().map(|item| item.post).collect();
    let mut page = first;
    while let Some(next) = page["next"].as_str() {
        page = again.call(&names[0], "timeline.fetch", json!({ "limit": 7, "before": next })).await;
        shown.extend(items(&page).into_iter().map(|item| item.post));
    }
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
}

/// Items that must not be shown are replaced: a page has as many items as were asked for, while there are enough.
#[tokio::test]
async fn a_page_is_never_shorter_for_what_is_gone_from_it() {
    let server = Server::start(&BY_HAND);
    let mut readers = Readers::meet_a_follower(&server, "g", 4).await;
    let names = readers.names.clone();
    for n in 0..90 {
        readers.post(&names[1 + n % 3]).await;
    }
    readers.compute(&server, &names);
    // 36 of the first 60 items are deleted; then an author blocks the reader, and the reader unfollows another.
    let newest: Vec<_> = readers.model.posts.keys().rev().take(60).copied().collect();
    for post in newest.iter().enumerate().filter(|(at, _)| at % 5 > 1).map(|(_, post)| *post) {
        readers.delete(post).await;
    }
    for limit in [1, 10, 20] {
        let page = readers.call(&names[0], "timeline.fetch", json!({ "limit": limit })).await;
        assert_eq!(items(&page).len(), limit);
    }
    let first = readers.call(&names[0], "timeline.fetch", json!({ "limit": 5 })).await;
    readers.block(&names[1], &names[0]).await;
    let left = readers.model.posts.values().filter(|p| !p.deleted && p.author != names[1]).count();
    let page = readers.call(&names[0], "timeline.fetch", json!({ "limit": 100 })).await;
    assert_eq!(items(&page).len(), left, "all that is left is on one page");
    let next = first["next"].as_str().unwrap();
    let page = readers.call(&names[0], "timeline.fetch", json!({ "limit": 15, "before": next })).await;
    assert_eq!(items(&page).len(), 15, "a list from before the block");
    assert!(items(&page).iter().all(|item| item.author != names[1]));
    readers.call(&names[0], "follow.remove", json!({ "user": names[2] })).await;
    let page = readers.call(&names[0], "timeline.fetch", json!({ "limit": 10, "before": next })).await;
    assert_eq!(items(&page).len(), 10, "a list from when another was followed");
    assert!(items(&page).iter().all(|item| item.author == names[3]), "{page}");
}

#[tokio::test]
async fn the_first_page_comes_unasked_and_somebody_new_gets_a_real_one() {
    let server = Server::start(&BY_HAND);
    let mut readers = Readers::meet(&server, "n", 3).await;
    let names = readers.names.clone();
    readers.follow(&names[0], &names[1]).await;
    let post = readers.post(&names[1]).await;
    server.settled();
    let tokens = support::tokens(&server.address, &[names[0].as_str()]).await;
    let token = &tokens[names[0].as_str()];
    let mut device = support::client::Client::hello(&server.address, token, None, None).await;
    let page = device.event("timeline").await;
    assert_eq!(id(&page["body"]["items"][0]["post"]["id"]), post);
    assert!(page["body"]["next"].is_null(), "{page}");
    assert!(device.pending.is_empty(), "{:?}", device.pending);
    // It went to the socket that said hello, and to no other socket of the user.
    let other = readers.clients.get_mut(&names[0]).unwrap();
    other.call("presence.get", json!({ "users": [] })).await;
    let pages = other.pending.iter().filter(|frame| frame["type"] == "timeline").count();
    assert!(pages <= 1, "{:?}", other.pending);
    for body in [json!({ "limit": 0 }), json!({ "limit": 101 }), json!({ "before": "x" }), json!([])] {
        assert_eq!(device.refused("timeline.fetch", body).await, "bad_message");
    }
}

/// A pause from 10 µs to 10 ms, short ones as often as long ones.
fn moment(random: &mut StdRng) -> Duration {
    Duration::from_secs_f64(10f64.powf(random.random_range(-5.0..-2.0)))
}

/// Two people of whom one reads what the other writes, deletes and hides.
struct Pair {
    reader: Client,
    author: Client,
    names: Vec<String>,
    /// Whether the reader follows the author. If not, a common friend connects them; then a block ends no follow.
    follows: bool,
    random: StdRng,
    /// How often a fetch that raced with the end of a post did not show it, and did.
    raced: [u64; 2],
    /// How often the page after the end came from a timeline that was computed before the post was made, and after it.
    computed: [u64; 2],
}

impl Pair {
    /// A post, a fetch, and at some moment the post's end; then nobody is shown it.
    async fn round(&mut self) {
        let (me, them) = (&self.names[0], &self.names[1]);
        let (reader, author) = (&mut self.reader, &mut self.author);
        if self.follows {
            // The follow that the block ended begins again.
            reader.call("follow.add", json!({ "user": them })).await;
        }
        let post = author.call("post.create", json!({ "text": "soon gone" })).await["post"]["id"].take();
        let shows = |page: &Value| items(page).iter().any(|item| item.post == id(&post));
        // Not synchronised on purpose: the steps must come at any moment.
        tokio::time::sleep(moment(&mut self.random)).await;
        let asked = reader.submit("timeline.fetch", json!({})).await;
        tokio::time::sleep(moment(&mut self.random)).await;
        let blocks = self.random.random_bool(0.5);
        if blocks {
            author.call("block.add", json!({ "user": me })).await;
        } else {
            author.call("post.delete", json!({ "post": post })).await;
        }
        let page = reader.call("timeline.fetch", json!({ "limit": 100 })).await;
        assert!(!shows(&page), "blocked: {blocks}, {page}");
        self.computed[usize::from(ms(&page["computed_at"]) > id(&post).timestamp_ms())] += 1;
        let before = reader.outcome(&asked).await.unwrap();
        self.raced[usize::from(shows(&before["body"]))] += 1;
        if let Some(next) = before["body"]["next"].as_str() {
            let later = reader.call("timeline.fetch", json!({ "before": next })).await;
            assert!(!shows(&later), "blocked: {blocks}, a later page: {later}");
        }
        if blocks {
            author.call("block.remove", json!({ "user": me })).await;
        }
        reader.pending.clear();
        author.pending.clear();
    }
}

/// Law 6, for timelines computed ahead: nothing is shown once its deletion or the block has been answered. Meanwhile
/// everybody's timeline is computed again and again.
#[tokio::test]
async fn law_6_what_goes_while_it_is_computed_and_fetched_is_not_shown_after_the_reply() {
    let ticking = ["--timeline-interval-ms", "50", "--timeline-hints-age-ms", "0"];
    let mut server = Server::start(&[&ticking[..], &UNPACED].concat());
    let seed = seed();
    let rounds = if is_long() { 2_500 } else { 250 };
    let mut tasks = Vec::new();
    for lane in 0..4_u64 {
        let names: Vec<String> = (0..4).map(|n| format!("x{lane}_{n}")).collect();
        let mut readers = Readers::connect(&server, &names).await;
        let follows = lane % 2 == 0;
        for friend in names.iter().skip(2).filter(|_| !follows) {
            readers.follow(&names[0], friend).await;
            readers.follow(friend, &names[1]).await;
        }
        let mut pair = Pair {
            reader: readers.clients.remove(&names[0]).unwrap(),
            author: readers.clients.remove(&names[1]).unwrap(),
            names,
            follows,
            random: StdRng::seed_from_u64(seed + lane),
            raced: [0; 2],
            computed: [0; 2],
        };
        tasks.push(tokio::spawn(async move {
            for _ in 0..rounds {
                pair.round().await;
            }
            (pair.raced, pair.computed)
        }));
    }
    let (mut raced, mut computed) = ([0; 2], [0; 2]);
    for task in tasks {
        let counts = task.await.unwrap();
        for n in 0..2 {
            raced[n] += counts.0[n];
            computed[n] += counts.1[n];
        }
    }
    let all = server.metric("soundoff_timeline_computed_total").await;
    println!(
        "{all} timelines computed; not shown and shown in the race: {raced:?}; computed before and after: {computed:?}"
    );
    assert!(all > 500.0, "only {all} timelines were computed meanwhile");
    assert!(raced[0] > 0 && raced[1] > 0, "fetches did not race with the ends of posts");
    assert!(computed[0] > 0 && computed[1] > 0, "computations did not race with them");
    server.restart_with(&BY_HAND);
    server.settled();
}

/// Posts made while timelines are computed and fetched are on them afterwards: no note of a post is lost between two
/// reads.
#[tokio::test]
async fn nothing_is_lost_that_is_posted_while_timelines_are_computed() {
    let server = Server::start(&[&["--timeline-interval-ms", "2"][..], &UNPACED].concat());
    let mut readers =
        Readers::connect(&server, &["pp0", "pp1", "pp2", "pp3", "pp4"].map(str::to_owned)).await;
    let names = readers.names.clone();
    for to in &names[1..] {
        readers.follow(&names[0], to).await;
    }
    let mut newest = Vec::new();
    for round in 0..if is_long() { 1_000 } else { 80 } {
        let mut asked = Vec::new();
        for name in &names[1..] {
            for _ in 0..5 {
                let author = readers.clients.get_mut(name).unwrap();
                asked.push((name, author.submit("post.create", json!({ "text": "news" })).await));
            }
            readers.call(&names[0], "timeline.fetch", json!({})).await;
        }
        for (name, asked) in asked {
            let reply = readers.clients.get_mut(name).unwrap().outcome(&asked).await.unwrap();
            newest.push(id(&reply["body"]["post"]["id"]));
        }
        newest.drain(..newest.len().saturating_sub(100));
        let begun = Instant::now();
        loop {
            let mut missing: HashSet<_> = newest.iter().copied().collect();
            let mut page = readers.call(&names[0], "timeline.fetch", json!({ "limit": 100 })).await;
            missing.retain(|post| !items(&page).iter().any(|item| item.post == *post));
            while let Some(next) = page["next"].as_str() {
                page = readers.call(&names[0], "timeline.fetch", json!({ "before": next })).await;
                missing.retain(|post| !items(&page).iter().any(|item| item.post == *post));
            }
            if missing.is_empty() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE / 4, "round {round}: never came {missing:?}");
        }
        readers.clients.values_mut().for_each(|client| client.pending.clear());
    }
}

/// The whole list of follows is used, though others read only its newest part at the same time.
#[tokio::test]
async fn a_page_is_whole_while_follows_change_and_timelines_are_computed() {
    let ticking = ["--timeline-interval-ms", "2", "--timeline-hints-age-ms", "0"];
    let server = Server::start(&[&ticking[..], &UNPACED].concat());
    let names = ["ann", "bob", "cat", "dan"].map(str::to_owned);
    let mut readers = Readers::connect(&server, &names).await;
    readers.follow("ann", "bob").await;
    readers.follow("cat", "bob").await;
    readers.follow("bob", "dan").await;
    let post = readers.post("dan").await;
    for round in 0..if is_long() { 5_000 } else { 600 } {
        let turn = if round % 2 == 0 { "follow.add" } else { "follow.remove" };
        let bob = readers.clients.get_mut("bob").unwrap();
        let mut asked = vec![bob.submit(turn, json!({ "user": "ann" })).await];
        for _ in 0..3 {
            asked.push(bob.submit("timeline.fetch", json!({ "limit": 100 })).await);
        }
        for asked in asked.iter().skip(1) {
            let page = bob.outcome(asked).await.unwrap()["body"].take();
            assert!(items(&page).iter().any(|item| item.post == post), "round {round}: {page}");
        }
        bob.outcome(&asked[0]).await.unwrap();
        readers.clients.values_mut().for_each(|client| client.pending.clear());
    }
}
