//! Timelines on a realistic graph of people: very many follow a few of them, and few follow the many others.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::model::Model;
use support::readers::{hold, id, items};
use support::{Server, UNPACED, seed, tokens};

/// How many people act or read at once.
const AT_ONCE: usize = 32;
/// More posts than an author's list or a timeline holds.
const MANY_POSTS: usize = 120;

/// The messages of one person, in order.
struct Said {
    follows: Vec<String>,
    posts: Vec<String>,
}

/// Friendships, from the file that TEST_GRAPH names (`a b` in each line), or made up for about 120 people.
fn friendships(random: &mut StdRng) -> Vec<(String, String)> {
    if let Ok(path) = std::env::var("TEST_GRAPH") {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let pair = |line: &str| {
            let (a, b) = line.split_once(char::is_whitespace)?;
            Some((format!("u_{a}"), format!("u_{}", b.trim())))
        };
        return text.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect();
    }
    // A new person becomes a friend of people picked from existing friendships, so that people with many friends get
    // more.
    let mut ends = vec![0, 1];
    let mut pairs = BTreeSet::from([(0, 1)]);
    for comer in 2..120 {
        for _ in 0..random.random_range(1..=6) {
            let friend = *ends.choose(random).unwrap();
            if friend != comer && pairs.insert((friend, comer)) {
                ends.extend([friend, comer]);
            }
        }
    }
    pairs.into_iter().map(|(a, b)| (format!("u_{a}"), format!("u_{b}"))).collect()
}

/// Runs something for each of many, some at once; returns the results in order.
async fn for_each<T, R, F>(all: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let free = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let tasks = all.into_iter().map(|one| {
        let (free, work) = (free.clone(), work(one));
        tokio::spawn(async move {
            let _permit = free.acquire().await.unwrap();
            work.await
        })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

/// Tokens for everybody; makes the accounts that do not exist.
async fn everybody(server: &Server, names: &[String]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for part in names.chunks(100) {
        let handles: Vec<&str> = part.iter().map(String::as_str).collect();
        let tokens = tokens(&server.address, &handles).await;
        all.extend(handles.iter().map(|name| ((*name).to_owned(), tokens[*name].clone())));
    }
    all
}

/// Sends many messages without waiting for each; returns the bodies of their replies, in order.
async fn send_all(client: &mut Client, messages: Vec<(&'static str, Value)>) -> Vec<Value> {
    let mut bodies = Vec::new();
    for part in messages.chunks(200) {
        let mut asked = Vec::new();
        for (message_type, body) in part {
            asked.push(client.submit(message_type, body.clone()).await);
        }
        for asked in asked {
            let mut reply = client.outcome(&asked).await.unwrap();
            assert_eq!(reply["ok"], true, "{reply}");
            bodies.push(reply["body"].take());
        }
        client.pending.clear();
    }
    bodies
}

/// Everybody follows their friends, posts, and likes some of the posts.
async fn live(
    server: &Server,
    tokens: &BTreeMap<String, Value>,
    friendships: &[(String, String)],
    random: &mut StdRng,
) -> Model {
    let mut model = Model::default();
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for (a, b) in friendships {
        for (from, to) in [(a, b), (b, a)] {
            let of = said.entry(from.clone()).or_insert_with(|| Said { follows: vec![], posts: vec![] });
            of.follows.push(to.clone());
        }
    }
    for said in said.values_mut() {
        let many = random.random_bool(0.02);
        let posts = if many { MANY_POSTS } else { random.random_range(0..8) };
        said.posts = (0..posts).map(|n| format!("number {n}")).collect();
    }
    let address = server.address.clone();
    let done = for_each(said.into_iter().collect(), |(name, said)| {
        let (address, token) = (address.clone(), tokens[&name].clone());
        async move {
            let mut client = Client::hello(&address, &token, None, None).await;
            let follows = said.follows.iter().map(|to| ("follow.add", json!({ "user": to })));
            send_all(&mut client, follows.collect()).await;
            let posts = said.posts.iter().map(|text| ("post.create", json!({ "text": text })));
            let posts = send_all(&mut client, posts.collect()).await;
            (name, said.follows, posts)
        }
    });
    for (name, follows, posts) in done.await {
        follows.iter().for_each(|to| model.follow(&name, to));
        posts.iter().for_each(|body| model.posted(&name, id(&body["post"]["id"])));
    }
    like(server, tokens, &mut model, random).await;
    model
}

/// Everybody likes a few posts, old ones as often as new ones.
async fn like(server: &Server, tokens: &BTreeMap<String, Value>, model: &mut Model, random: &mut StdRng) {
    let posts: Vec<_> = model.posts.keys().copied().collect();
    let likes = tokens.keys().map(|name| {
        let liked: Vec<_> = posts.choose_multiple(random, 4).copied().collect();
        (name.clone(), liked)
    });
    let likes: Vec<_> = likes.collect();
    for_each(likes.clone(), |(name, liked)| {
        let (address, token) = (server.address.clone(), tokens[&name].clone());
        async move {
            let mut client = Client::hello(&address, &token, None, None).await;
            let messages = liked.iter().map(|post| ("like.add", json!({ "post": post.to_string() })));
            send_all(&mut client, messages.collect()).await;
        }
    })
    .await;
    for (name, liked) in likes {
        liked.into_iter().for_each(|post| model.like(&name, post));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graph_of_people_sees_what_the_model_says_to_the_last_page() {
    let mut random = StdRng::seed_from_u64(seed());
    let by_hand = ["--timeline-interval-ms", "0", "--timeline-hints-age-ms", "0"];
    let server = Server::start(&[&by_hand[..], &UNPACED].concat());
    let friendships = friendships(&mut random);
    let names: BTreeSet<&String> = friendships.iter().flat_map(|(a, b)| [a, b]).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let tokens = everybody(&server, &names).await;
    let begun = Instant::now();
    let mut model = live(&server, &tokens, &friendships, &mut random).await;
    server.settled();
    println!("{} people, {} posts after {:.1?}", names.len(), model.posts.len(), begun.elapsed());

    let begun = Instant::now();
    server.command(&["timeline", "tick"]);
    server.settled();
    println!("computed after {:.1?}", begun.elapsed());
    names.iter().for_each(|name| model.compute(name));
    assert_eq!(server.timelines()["missing"], 0);
    let fallbacks = server.metric("soundoff_timeline_fallbacks_total").await;

    let begun = Instant::now();
    let (model, address) = (Arc::new(model), server.address.clone());
    let limits: Vec<(String, usize)> =
        names.iter().map(|name| (name.clone(), random.random_range(7..=100))).collect();
    let read = for_each(limits, |(name, limit)| {
        let (address, token, model) = (address.clone(), tokens[&name].clone(), model.clone());
        async move {
            let mut client = Client::hello(&address, &token, None, None).await;
            hold(&mut client, &model, &name, limit).await
        }
    });
    let read = read.await;
    println!(
        "{} items on {} timelines read after {:.1?}",
        read.iter().sum::<usize>(),
        read.len(),
        begun.elapsed()
    );
    assert_eq!(read.len(), names.len());
    assert!(read.contains(&100), "nobody's timeline is full");
    assert_eq!(server.metric("soundoff_timeline_fallbacks_total").await, fallbacks, "a page was not ready");
}

/// A post of somebody whom many follow costs as much as any other: one change of one author's list; its followers who
/// are online are looked up one page at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_of_somebody_whom_many_follow_is_one_change_of_one_list() {
    const FOLLOWERS: usize = 620;
    const FOLLOWERS_A_PAGE: usize = 500;
    let server = Server::start(&[&["--timeline-interval-ms", "0"][..], &UNPACED].concat());
    let names: Vec<String> = (0..FOLLOWERS).map(|n| format!("fan_{n:03}")).collect();
    let tokens = everybody(&server, &[&names[..], &["star".to_owned()]].concat()).await;
    let address = server.address.clone();
    for_each(names.clone(), |name| {
        let (address, token) = (address.clone(), tokens[&name].clone());
        async move {
            let mut client = Client::hello(&address, &token, None, None).await;
            client.call("follow.add", json!({ "user": "star" })).await;
        }
    })
    .await;
    let mut star = Client::hello(&address, &tokens["star"], None, None).await;
    star.call("post.create", json!({ "text": "the first" })).await;
    server.settled();
    server.command(&["timeline", "tick"]);
    server.settled();

    let mut online = Vec::new();
    for name in &names[..3] {
        online.push(Client::hello(&address, &tokens[name], None, None).await);
    }
    server.settled();
    let misses = r#"soundoff_timeline_cache_misses_total{stage="authors"}"#;
    let fan_outs = r#"soundoff_consumer_done_total{queue="fanout_q"}"#;
    let before = [server.metric(misses).await, server.metric(fan_outs).await];
    let delivered = server.metric("soundoff_edge_deliveries_total").await;
    let post = star.call("post.create", json!({ "text": "to all of you" })).await["post"]["id"].take();
    server.settled();
    assert_eq!(server.metric(fan_outs).await - before[1], FOLLOWERS.div_ceil(FOLLOWERS_A_PAGE) as f64);
    // A reply to the star, an event for each follower who is online, and what was still on its way to those who have
    // just connected.
    let delivered = server.metric("soundoff_edge_deliveries_total").await - delivered;
    assert!((2.0..=10.0).contains(&delivered), "{delivered} deliveries");
    for _ in 0..2 {
        server.command(&["timeline", "tick"]);
        server.settled();
    }
    assert_eq!(
        server.metric(misses).await,
        before[0],
        "the list was changed in place, and read again by nobody"
    );
    for client in &mut online {
        let event = client.event("post.created").await;
        assert_eq!(event["body"]["post"]["id"], post);
        let page = client.call("timeline.fetch", json!({})).await;
        assert_eq!(items(&page)[0].post, id(&post), "the same id, live and on the page");
        assert_eq!(items(&page).len(), 2);
    }
    // A follower who was not online finds it on the page that was computed for them.
    let fallbacks = server.metric("soundoff_timeline_fallbacks_total").await;
    let mut late = Client::hello(&address, &tokens[&names[FOLLOWERS - 1]], None, None).await;
    let first = late.event("timeline").await;
    assert_eq!(first["body"]["items"][0]["post"]["id"], post);
    assert_eq!(server.metric("soundoff_timeline_fallbacks_total").await, fallbacks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_reaches_everybody_however_many_there_are() {
    // More users than one message looks at, in each part of the user table.
    const USERS: usize = 5_000;
    let server = Server::start(&["--timeline-interval-ms", "0"]);
    let names: Vec<String> = (0..USERS).map(|n| format!("crowd_{n:04}")).collect();
    everybody(&server, &names).await;
    server.command(&["timeline", "tick"]);
    server.settled();
    assert_eq!(server.metric("soundoff_timeline_computed_total").await, USERS as f64, "each exactly once");
    assert_eq!(server.timelines()["users"], USERS);
}
