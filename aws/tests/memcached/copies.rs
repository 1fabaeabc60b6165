//! Registrations have two copies: one node away, back empty, or back with what it had; and lists of nodes that differ.

use std::time::{Duration, Instant};

use soundoff_aws::memcached::MemcachedSessions;
use soundoff_common::ports::sessions::{Registration, Sessions as _, contract};
use soundoff_common::protocol::Handle;

use super::laws::Real;
use super::nodes::{Node, client};

const TTL: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(20);

fn users(count: usize) -> Vec<Handle> {
    (0..count).map(|n| format!("user{n:05}").parse().expect("a valid handle")).collect()
}

fn socket(connection: u64) -> Registration {
    Registration { edge: "10.0.0.1:7000".into(), boot: "boot".into(), connection, device: None }
}

fn entries(users: &[Handle], connection: u64) -> Vec<(Handle, Registration)> {
    users.iter().map(|user| (user.clone(), socket(connection))).collect()
}

/// Of how many users exactly these sockets are there.
async fn with(sessions: &MemcachedSessions, users: &[Handle], connections: &[u64]) -> usize {
    let expected: Vec<_> = connections.iter().map(|connection| socket(*connection)).collect();
    let mut lists = sessions.get_many(users).await.expect("never an error");
    lists.iter_mut().for_each(|list| list.sort_by_key(|registration| registration.connection));
    lists.iter().filter(|list| **list == expected).count()
}

/// Puts until this node alone has all users.
async fn filled(sessions: &MemcachedSessions, users: &[Handle], connection: u64, node: &Node) {
    let (alone, begun) = (MemcachedSessions::new(client(&[node])), Instant::now());
    loop {
        sessions.put_many(&entries(users, connection), TTL).await.unwrap();
        if with(&alone, users, &[connection]).await == users.len() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the node is found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn the_laws_hold_with_one_node_dead() {
    let mut nodes = [Node::start(), Node::start()];
    let memcached = client(&[&nodes[0], &nodes[1]]);
    nodes[0].kill();
    let real = Real::of(memcached, nodes);
    contract::a_handle_has_many_registrations(&real).await;
    contract::only_its_own_token_removes(&real).await;
    contract::each_expires_on_its_own(&real).await;
    contract::get_many_answers_in_order(&real).await;
    contract::many_edges_at_once(&real).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn the_laws_hold_with_one_node_frozen() {
    let nodes = [Node::start(), Node::start()];
    let memcached = client(&[&nodes[0], &nodes[1]]);
    nodes[1].hang();
    let real = Real::of(memcached, nodes);
    contract::a_handle_has_many_registrations(&real).await;
    contract::only_its_own_token_removes(&real).await;
    contract::get_many_answers_in_order(&real).await;
    contract::many_edges_at_once(&real).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_node_that_comes_back_empty_hides_nobody_and_is_filled_again() {
    let mut nodes = [Node::start(), Node::start()];
    let sessions = MemcachedSessions::new(client(&[&nodes[0], &nodes[1]]));
    let users = users(200);
    sessions.put_many(&entries(&users, 1), TTL).await.unwrap();
    nodes[0].kill();
    assert_eq!(with(&sessions, &users, &[1]).await, 200, "while it is away");
    nodes[0].restart();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(with(&sessions, &users, &[1]).await, 200, "while it is back and empty");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    filled(&sessions, &users, 1, &nodes[0]).await;
    nodes[1].kill();
    assert_eq!(with(&sessions, &users, &[1]).await, 200, "it has them as the other one had");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn what_was_removed_while_a_node_was_frozen_does_not_come_back_with_it() {
    let nodes = [Node::start(), Node::start()];
    let sessions = MemcachedSessions::new(client(&[&nodes[0], &nodes[1]]));
    let users = users(200);
    sessions.put_many(&entries(&users, 1), TTL).await.unwrap();
    nodes[0].hang();
    sessions.put_many(&entries(&users, 2), TTL).await.unwrap();
    assert_eq!(with(&sessions, &users, &[1, 2]).await, 200, "what is put meanwhile is there");
    for user in &users {
        assert!(sessions.remove(user, &socket(1)).await.unwrap(), "it was there, as the other node says");
        assert!(!sessions.remove(user, &socket(1)).await.unwrap(), "once");
    }
    assert_eq!(with(&sessions, &users, &[2]).await, 200);
    nodes[0].go_on();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(with(&sessions, &users, &[2]).await, 200, "neither back nor lost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    filled(&sessions, &users, 2, &nodes[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn a_frozen_node_costs_its_timeout_once_in_a_pause() {
    let nodes = [Node::start(), Node::start()];
    let sessions = MemcachedSessions::new(client(&[&nodes[0], &nodes[1]]));
    let users = users(50);
    nodes[1].hang();
    let (begun, mut slow) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(10) {
        let call = Instant::now();
        sessions.put_many(&entries(&users, 1), TTL).await.unwrap();
        let took = call.elapsed();
        assert!(took < Duration::from_millis(700), "one timeout, about: {took:?}");
        slow += usize::from(took > Duration::from_millis(200));
        assert_eq!(with(&sessions, &users, &[1]).await, 50);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Twice at first; then after pauses of 1, 1.5, 2.25 and 3.4 s.
    assert!((3..=9).contains(&slow), "{slow} of the calls waited for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs memcached: cargo test -p soundoff-aws -- --ignored"]
async fn processes_whose_lists_differ_by_one_node_find_each_others_sockets() {
    let nodes = [Node::start(), Node::start(), Node::start()];
    let few = MemcachedSessions::new(client(&[&nodes[0], &nodes[1]]));
    let more = MemcachedSessions::new(client(&[&nodes[0], &nodes[1], &nodes[2]]));
    let users = users(600);
    few.put_many(&entries(&users[..300], 1), TTL).await.unwrap();
    more.put_many(&entries(&users[300..], 2), TTL).await.unwrap();
    for sessions in [&few, &more] {
        assert_eq!(with(sessions, &users[..300], &[1]).await, 300);
        assert_eq!(with(sessions, &users[300..], &[2]).await, 300);
    }
}
