//! Ten thousand frames and requests that nobody should send: the process survives, other users notice nothing, memory
//! stays bounded.

#[path = "fuzz/frames.rs"]
mod frames;
#[path = "fuzz/mutations.rs"]
mod mutations;
#[path = "fuzz/requests.rs"]
mod requests;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::{PATIENCE, Server, UNPACED, is_long, seed, tokens};
use tokio::net::TcpStream;

const MIB: u64 = 1024 * 1024;
/// How many attackers there are at once.
const ATTACKERS: usize = 8;

/// A well-behaved user, who must be served all the time; returns how often they were, and their longest wait.
fn bystander(
    server: &Server,
    token: &Value,
    done: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<(usize, Duration)> {
    let (address, token) = (server.address.clone(), token.clone());
    tokio::spawn(async move {
        let (mut served, mut longest) = (0, Duration::ZERO);
        while !done.load(Ordering::Acquire) {
            let begun = Instant::now();
            let mut client = Client::hello(&address, &token, Some("phone"), None).await;
            client.call("profile.update", json!({ "bio": format!("served {served} times") })).await;
            client.call("profile.get", json!({})).await;
            client.send(json!({ "op": "bye" })).await;
            client.closed().await;
            longest = longest.max(begun.elapsed());
            served += 1;
        }
        (served, longest)
    })
}

/// Shares the numbers up to `most` among `ATTACKERS` that run at once, each with its own random numbers.
async fn attack<F>(most: usize, random: &mut StdRng, one: impl Fn(StdRng, Arc<AtomicUsize>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let left = Arc::new(AtomicUsize::new(most));
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| tokio::spawn(one(StdRng::seed_from_u64(random.random()), left.clone())))
        .collect();
    for attacker in attackers {
        attacker.await.unwrap();
    }
}

/// Takes one of the remaining numbers.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

/// What remains when the attackers are gone.
async fn nothing_is_left(server: &mut Server, token: &Value, before: u64) {
    assert!(server.lives(), "{}", server.log());
    let begun = Instant::now();
    while server.metric("soundoff_edge_sockets").await > 0.0 {
        assert!(begun.elapsed() < PATIENCE, "sockets of attackers stay");
    }
    server.settled();
    let grown = server.resident().saturating_sub(before);
    println!("resident memory grew by {} KiB", grown / 1024);
    assert!(grown < 64 * MIB, "grew by {} MiB", grown / MIB);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    Client::hello(&server.address, token, None, None).await.call("profile.get", json!({})).await;
}

async fn warm_up(server: &Server, token: &Value) -> u64 {
    for _ in 0..50 {
        Client::hello(&server.address, token, None, None).await.call("profile.get", json!({})).await;
    }
    server.resident()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_nobody_should_send() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut server = Server::start(&[&UNPACED[..], &["--edges", "2", "--sockets-per-user", "1000"]].concat());
    let tokens = tokens(&server.address, &["ann", "mallory"]).await;
    let before = warm_up(&server, &tokens["ann"]).await;
    let done = Arc::new(AtomicBool::new(false));
    let served = bystander(&server, &tokens["ann"], done.clone());
    let most = if is_long() { 100_000 } else { 10_000 };
    attack(most, &mut random, |random, left| {
        let (address, token) = (server.address.clone(), tokens["mallory"].clone());
        frames::attacker(address, token, random, left)
    })
    .await;
    done.store(true, Ordering::Release);
    let (times, longest) = served.await.unwrap();
    println!("a bystander was served {times} times meanwhile, in {longest:?} at most");
    assert!(times > 5, "the bystander was served {times} times");
    nothing_is_left(&mut server, &tokens["ann"], before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_nobody_should_make() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut server = Server::start(&[&UNPACED[..], &["--hello-timeout-ms", "1000"]].concat());
    let tokens = tokens(&server.address, &["ann"]).await;
    let before = warm_up(&server, &tokens["ann"]).await;
    let done = Arc::new(AtomicBool::new(false));
    let served = bystander(&server, &tokens["ann"], done.clone());
    let internal = server.metrics[0].trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let most = if is_long() { 20_000 } else { 2_000 };
    attack(most, &mut random, |mut random, left| {
        let ports = [server.address.clone(), internal.clone()];
        async move {
            while take(&left) {
                let address = &ports[random.random_range(0..ports.len())];
                let stream = TcpStream::connect(address).await.unwrap();
                requests::one(stream, &mut random).await;
            }
        }
    })
    .await;
    requests::forged_deliveries(&internal).await;
    assert!(server.metric("soundoff_edge_unsigned_requests_total").await > 0.0);
    requests::slow(&server.address).await;
    done.store(true, Ordering::Release);
    let (times, longest) = served.await.unwrap();
    println!("a bystander was served {times} times meanwhile, in {longest:?} at most");
    assert!(times > 5, "the bystander was served {times} times");
    nothing_is_left(&mut server, &tokens["ann"], before).await;
}
