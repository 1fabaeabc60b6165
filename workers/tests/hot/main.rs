//! One post and one person that everybody acts on, beside others, on tables that cancel what overlaps. Time is virtual:
//! the figures are those of the rules, whatever else the machine does.

mod overlapping;
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use soundoff_common::model::accounts;
use soundoff_common::model::posts;
use soundoff_common::pipeline::inbox;
use soundoff_common::ports::tables::Table;
use ulid::Ulid;

use crate::world::World;

/// How many processes, and how many slots each has for a queue.
const PROCESSES: usize = 4;
const SLOTS: usize = 16;

/// How many messages a second are about the hot one, and about others.
const HOT_A_SECOND: u32 = 500;
const OTHERS_A_SECOND: u32 = 100;

/// Whose posts the others like.
const OTHER_POSTS: usize = 50;

/// How many hot messages of each type: 10,000 in `./test --long`.
fn many() -> usize {
    if std::env::var("TEST_LONG").is_ok_and(|long| long == "1") { 10_000 } else { 500 }
}

fn fan(n: usize) -> String {
    format!("fan{n:06}")
}

/// Likes of other posts: nobody likes one twice.
fn others(posts: &[String], from: usize, count: usize) -> Vec<(String, &'static str, Value)> {
    let like = |n: usize| {
        (format!("other{:06}", n / OTHER_POSTS), "like.add", json!({ "post": posts[n % OTHER_POSTS] }))
    };
    (from..from + count).map(like).collect()
}

async fn hot_and_others(message_type: &'static str, body: impl Fn(&str) -> Value) -> (World, String) {
    let many = many();
    let world = World::new();
    (0..PROCESSES).for_each(|_| world.start(SLOTS));
    world.people((0..many).map(fan).chain(["star".to_owned()]));
    world.people((0..OTHER_POSTS).map(|n| format!("author{n:02}")));
    world.people((0..many.max(1_000)).map(|n| format!("other{n:06}")));
    let star = world.post("star").await;
    let mut posts = Vec::new();
    for n in 0..OTHER_POSTS {
        posts.push(world.post(&format!("author{n:02}")).await);
    }
    if message_type == "like.remove" {
        let liked = (0..many).map(|n| (fan(n), "like.add", json!({ "post": star }))).collect();
        world.messages(HOT_A_SECOND, liked).await;
        world.until_done().await;
    }

    let quiet = world.messages(OTHERS_A_SECOND, others(&posts, 0, 500)).await;
    world.until_done().await;
    world.tables.transactions();
    let moved = world.moved(message_type);

    let hot = (0..many).map(|n| (fan(n), message_type, body(&star))).collect();
    let beside = others(&posts, 500, many * 2);
    let (hot, beside) =
        tokio::join!(world.messages(HOT_A_SECOND, hot), world.messages(OTHERS_A_SECOND, beside));
    world.until_done().await;

    let (done, cancelled) = world.tables.transactions();
    let (hot, quiet, beside) = (world.took(&hot), world.took(&quiet), world.took(&beside));
    let moved = world.moved(message_type) - moved;
    println!(
        "{message_type}: {many} at {HOT_A_SECOND}/s beside {OTHERS_A_SECOND}/s others, p50 and p99 in ms: hot {hot:?}, \
         others {beside:?}, {quiet:?} when it is quiet; {done} transactions, {cancelled} cancelled; {moved} moved aside"
    );
    assert_eq!(world.dead().await, 0, "dead letters");
    assert!(beside.1 <= 2 * quiet.1, "others wait: {beside:?}, {quiet:?} when it is quiet");
    assert!(moved > 0, "nothing moved aside: the load is too small to show anything");
    (world, star)
}

/// All of a user's entries are there, without a gap.
fn inbox(world: &World, user: &str) -> u64 {
    let user = user.parse().unwrap();
    let head = world.number(Table::Inbox, inbox::head_key(&user), inbox::head::SEQ);
    for seq in 1..=head {
        assert!(
            world.tables.memory.peek(Table::Inbox, inbox::entry_key(&user, seq)).is_some(),
            "no entry {seq}"
        );
    }
    assert!(world.tables.memory.peek(Table::Inbox, inbox::entry_key(&user, head + 1)).is_none());
    head
}

fn likes(world: &World, post: &str) -> u64 {
    let id: Ulid = post.parse().unwrap();
    world.number(Table::Entities, posts::key(id), posts::attribute::LIKES)
}

fn followers(world: &World, user: &str) -> u64 {
    world.number(Table::Users, accounts::key(&user.parse().unwrap()), accounts::attribute::FOLLOWERS)
}

#[tokio::test(start_paused = true)]
async fn likes_of_one_post_slow_nobody_else_and_none_is_lost() {
    let (world, star) = hot_and_others("like.add", |post| json!({ "post": post })).await;
    assert_eq!((likes(&world, &star), inbox(&world, "star")), (many() as u64, many() as u64));
}

#[tokio::test(start_paused = true)]
async fn unlikes_of_one_post_slow_nobody_else_and_none_is_lost() {
    let (world, star) = hot_and_others("like.remove", |post| json!({ "post": post })).await;
    assert_eq!((likes(&world, &star), inbox(&world, "star")), (0, many() as u64));
}

#[tokio::test(start_paused = true)]
async fn follows_of_one_person_slow_nobody_else_and_none_is_lost() {
    let (world, _) = hot_and_others("follow.add", |_| json!({ "user": "star" })).await;
    assert_eq!((followers(&world, "star"), inbox(&world, "star")), (many() as u64, many() as u64));
}

#[tokio::test(start_paused = true)]
async fn messages_to_one_person_slow_nobody_else_and_none_is_lost() {
    let (world, _) = hot_and_others("dm.send", |_| json!({ "to": "star", "text": "hi" })).await;
    assert_eq!(inbox(&world, "star"), many() as u64);
    assert_eq!(inbox(&world, &fan(0)), 1, "the sender's other devices");
}

#[tokio::test(start_paused = true)]
async fn a_process_by_itself_races_nobody() {
    for message_type in ["like.add", "like.remove"] {
        let world = World::new();
        world.start(64);
        world.people((0..200).map(fan).chain(["star".to_owned()]));
        let star = world.post("star").await;
        let of = |message_type| (0..200).map(|n| (fan(n), message_type, json!({ "post": star }))).collect();
        world.messages(10_000, of("like.add")).await;
        world.until_done().await;
        if message_type == "like.remove" {
            world.tables.transactions();
            world.messages(10_000, of(message_type)).await;
            world.until_done().await;
        }
        assert_eq!(world.tables.transactions().1, 0, "{message_type}: cancelled by its own process");
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_processes_race_nothing_is_lost() {
    const LIKES: usize = 300;
    let world = World::new();
    (0..32).for_each(|_| world.start(4));
    world.people((0..LIKES).map(fan).chain(["star".to_owned()]));
    let star = world.post("star").await;
    let like = |n| (fan(n), "like.add", json!({ "post": star }));
    world.messages(10_000, (0..LIKES).map(like).collect()).await;
    world.until_done().await;
    let (done, cancelled) = world.tables.transactions();
    println!("32 processes, {LIKES} likes: {done} transactions, {cancelled} cancelled");
    assert!(cancelled > LIKES as u64, "the load is too small to show anything");
    assert_eq!(world.dead().await, 0, "dead letters");
    assert_eq!((likes(&world, &star), inbox(&world, "star")), (LIKES as u64, LIKES as u64));
}

/// Far longer than five tries of twelve races take.
#[tokio::test(start_paused = true)]
async fn what_loses_races_for_minutes_is_not_given_up() {
    const LIKES: usize = 20;
    let world = World::new();
    world.start(SLOTS);
    world.people((0..LIKES).map(fan).chain(["star".to_owned()]));
    let star = world.post("star").await;
    let post = (Table::Entities, posts::key(star.parse().unwrap()));
    let like = |n| (fan(n), "like.add", json!({ "post": star }));
    let likes_of_fans = world.messages(10_000, (0..LIKES).map(like).collect());
    tokio::join!(world.tables.hold(post, Duration::from_secs(600)), likes_of_fans);
    world.until_done().await;
    assert_eq!(world.dead().await, 0, "dead letters");
    assert_eq!((likes(&world, &star), inbox(&world, "star")), (LIKES as u64, LIKES as u64));
}
