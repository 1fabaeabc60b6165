//! Law 3: queues do not order, so the end is the same in whatever order messages arrive, and however often.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::ports::tables::Table;

use crate::testing::world::World;

const USERS: [&str; 3] = ["alice", "bobby", "carol"];
const CASES: u64 = 4000;

/// What the messages say in the order of their `mid`s: the last one decides each relation.
#[derive(Default)]
struct Expected {
    relations: BTreeMap<(&'static str, String, String), bool>,
    comments: BTreeMap<String, u64>,
    names: BTreeMap<String, String>,
    /// The last `block.add` of each pair, and whether there was any block message at all.
    blocks: BTreeMap<(String, String), Option<String>>,
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.min(b).to_owned(), a.max(b).to_owned())
}

fn draw(world: &World, rng: &mut StdRng, posts: &[String], with_blocks: bool) -> (Vec<Envelope>, Expected) {
    let (mut messages, mut expected) = (Vec::new(), Expected::default());
    for _ in 0..rng.random_range(4..14) {
        let from = *USERS.choose(rng).unwrap();
        let to = USERS.into_iter().filter(|u| *u != from).collect::<Vec<_>>()[rng.random_range(0..2)];
        let post = posts.choose(rng).unwrap();
        let on = rng.random_bool(0.5);
        let (message_type, body) = match rng.random_range(0..if with_blocks { 12 } else { 8 }) {
            0..3 => {
                expected.relations.insert(("like", post.clone(), from.to_owned()), on);
                (if on { "like.add" } else { "like.remove" }, json!({ "post": post }))
            }
            3..6 => {
                expected.relations.insert(("follow", from.to_owned(), to.to_owned()), on);
                (if on { "follow.add" } else { "follow.remove" }, json!({ "user": to }))
            }
            6 => {
                *expected.comments.entry(post.clone()).or_default() += 1;
                ("comment.create", json!({ "post": post, "text": "hm" }))
            }
            7 => {
                let name = format!("n{}", rng.random::<u32>());
                expected.names.insert(from.to_owned(), name.clone());
                ("profile.update", json!({ "name": name }))
            }
            _ => {
                expected.relations.insert(("block", from.to_owned(), to.to_owned()), on);
                expected.blocks.entry(pair(from, to)).or_default();
                (if on { "block.add" } else { "block.remove" }, json!({ "user": to }))
            }
        };
        let message = world.message(from, message_type, &body);
        if message_type == "block.add" {
            expected.blocks.insert(pair(from, to), Some(message.mid.to_string()));
        }
        messages.push(message);
    }
    (messages, expected)
}

/// Compares the end of a case with what its messages say. Relations that a block may have refused are checked against
/// what a block promises.
fn judge(world: &World, expected: &Expected, posts: &[String], case: u64) {
    let blocked_ever = !expected.blocks.is_empty();
    for ((kind, from, to), on) in &expected.relations {
        let exact = match *kind {
            "block" => true,
            "follow" => !expected.blocks.contains_key(&pair(from, to)),
            _ => !blocked_ever,
        };
        if exact {
            assert_eq!(world.is_on(kind, from, to), *on, "case {case}: {kind} {from} {to}");
        }
    }
    for ((a, b), last_block) in &expected.blocks {
        for (from, to) in [(a, b), (b, a)] {
            let state = world.item(Table::Relationships, &format!("follow#{from}"), &format!("s#{to}"));
            if let (Some(state), Some(last_block)) = (state.filter(|s| s.flag("on")), last_block) {
                assert!(state.text("mid") > Some(last_block), "case {case}: a follow outlived a block");
            }
        }
    }
    if !blocked_ever {
        for post in posts {
            let stored = world.item(Table::Entities, &format!("post#{post}"), "post").unwrap();
            let due = expected.comments.get(post).copied().unwrap_or(0);
            assert_eq!(stored.number("comments"), Some(due), "case {case}");
        }
    }
    for (who, name) in &expected.names {
        let account = world.item(Table::Users, &format!("user#{who}"), "profile").unwrap();
        assert_eq!(account.text("name"), Some(name.as_str()), "case {case}");
    }
    world.audit();
}

#[tokio::test]
async fn the_end_is_the_same_in_whatever_order_messages_come() {
    for case in 0..CASES {
        let mut rng = StdRng::seed_from_u64(case);
        let world = World::with(&USERS).await;
        let posts = vec![world.post("alice", "one").await, world.post("bobby", "two").await];
        let (mut messages, expected) = draw(&world, &mut rng, &posts, case % 3 == 0);
        // Some come twice; all come in any order.
        let twice = rng.random_range(0..=messages.len());
        messages.extend_from_within(..twice);
        messages.shuffle(&mut rng);
        for message in &messages {
            // A refusal across a block is a valid answer. Anything else would be a failure of the runner.
            if let Err(error) = world.run(message).await {
                let hidden = message.message_type == "like.remove" && error.to_string().contains("NotFound");
                assert!(hidden || error.to_string().contains("Forbidden"), "case {case}: {error}");
                assert!(!expected.blocks.is_empty(), "case {case}: {error}");
            }
        }
        judge(&world, &expected, &posts, case);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_the_same_when_messages_come_all_at_once() {
    for case in 0..60 {
        let mut rng = StdRng::seed_from_u64(1_000_000 + case);
        let world = World::with(&USERS).await;
        let posts = vec![world.post("alice", "one").await, world.post("bobby", "two").await];
        let (mut messages, mut expected) = draw(&world, &mut rng, &posts, case % 3 == 0);
        for _ in 0..3 {
            let (more, later) = draw(&world, &mut rng, &posts, case % 3 == 0);
            messages.extend(more);
            expected.relations.extend(later.relations);
            expected.names.extend(later.names);
            for (pair, last) in later.blocks {
                let known = expected.blocks.entry(pair).or_default();
                *known = last.or(known.take());
            }
            for (post, n) in later.comments {
                *expected.comments.entry(post).or_default() += n;
            }
        }
        messages.extend_from_within(..messages.len() / 2);
        messages.shuffle(&mut rng);
        let running: Vec<_> = messages
            .into_iter()
            .enumerate()
            .map(|(n, message)| {
                let world = if n % 2 == 0 { world.clone() } else { world.another_process() };
                tokio::spawn(async move { world.until_done(&message).await.map(drop) })
            })
            .collect();
        for task in running {
            let end = task.await.unwrap();
            assert!(end.is_ok() || !expected.blocks.is_empty(), "case {case}: {end:?}");
        }
        judge(&world, &expected, &posts, case);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_has_no_gap_when_many_write_to_it_at_once() {
    let world = World::with(&["alice", "bobby", "carol", "david"]).await;
    let tasks: Vec<_> = (0..240)
        .map(|n| {
            let from = ["bobby", "carol", "david"][n % 3];
            let message = world.message(from, "dm.send", &json!({ "to": "alice", "text": n.to_string() }));
            let world = if n % 2 == 0 { world.clone() } else { world.another_process() };
            tokio::spawn(async move { world.until_done(&message).await.unwrap() })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        let pushes = task.await.unwrap().pushes;
        seqs.extend(pushes.iter().filter(|p| p.to.as_str() == "alice").map(|p| p.seq));
    }
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=240), "each push has a place of its own");
    assert_eq!(world.inbox("alice").len(), 240);
    world.audit();
}
