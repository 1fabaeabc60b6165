//! `kill -9` at random moments under load: no accepted effect is lost, none happens twice.
//!
//! Five people send every type that has an effect, many at once. The process is killed and started again on the same
//! directory, some times in each round. Each person follows the delivery rules of docs/protocol.md: it sends the same
//! `id` again if it heard no outcome. Half of the messages are exempt: once accepted they are never sent again, so that
//! a repetition cannot hide a loss. In the end everything is read back and compared with what was sent.

#[path = "kill/compare.rs"]
mod compare;
#[path = "kill/person.rs"]
mod person;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use person::{Person, Plan};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use support::{Server, UNPACED, is_long, seed, tokens};

/// The people who send.
const PEOPLE: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
/// Is blocked and unblocked, and does nothing else.
const TROLLS: [&str; 3] = ["troll_a", "troll_b", "troll_c"];
/// Every type with an effect.
const EFFECTS: [&str; 10] = [
    "profile.update",
    "post.create",
    "comment.create",
    "like.add",
    "like.remove",
    "follow.add",
    "follow.remove",
    "block.add",
    "block.remove",
    "dm.send",
];

async fn people(server: &Server, random: &mut StdRng) -> Vec<Person> {
    let mut tokens = tokens(&server.address, &[&PEOPLE[..], &TROLLS].concat()).await;
    let mut people = Vec::new();
    for (at, handle) in PEOPLE.into_iter().enumerate() {
        // Some ack what they have and continue behind it; the others ack nothing and ask for old entries again.
        people.push(Person::new(handle, tokens[handle].take(), at % 2 == 0, random.random()));
    }
    let mut posts = Vec::new();
    for person in &mut people {
        posts.extend(person.write_first_posts(&server.address).await);
    }
    let plan = Arc::new(Plan { posts, people: PEOPLE.to_vec(), trolls: TROLLS.to_vec() });
    people.iter_mut().for_each(|person| person.plan = plan.clone());
    people
}

/// Everybody sends for a while, and the process is killed meanwhile.
async fn load_and_kill(server: &mut Server, people: Vec<Person>, random: &mut StdRng) -> Vec<Person> {
    let killed = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for mut person in people {
        let (address, killed) = (server.address.clone(), killed.clone());
        tasks.push(tokio::spawn(async move {
            while !killed.load(Ordering::Acquire) && person.live(&address, false).await.is_err() {}
            person
        }));
    }
    let (load, backlog) = (random.random_range(20..800), random.random_range(0..100));
    // Not synchronised on purpose: the kill must come at any moment.
    tokio::time::sleep(Duration::from_millis(load)).await;
    if random.random_bool(0.5) {
        // More is accepted than worked off, as when workers are slow.
        server.command(&["workers", "pause"]);
        tokio::time::sleep(Duration::from_millis(backlog)).await;
    }
    server.kill();
    killed.store(true, Ordering::Release);
    let mut people = Vec::new();
    for task in tasks {
        people.push(task.await.unwrap());
    }
    people
}

/// Everybody hears an outcome for everything that is still open.
async fn finish(server: &Server, people: Vec<Person>) -> Vec<Person> {
    let mut tasks = Vec::new();
    for mut person in people {
        let address = server.address.clone();
        tasks.push(tokio::spawn(async move {
            person.live(&address, true).await.expect("nobody kills it now");
            person
        }));
    }
    let mut people = Vec::new();
    for task in tasks {
        people.push(task.await.unwrap());
    }
    people
}

/// One round on a fresh directory; returns how many runs were retried.
async fn round(args: &[&str], random: &mut StdRng) -> f64 {
    let mut server = Server::start(&[&UNPACED[..], args].concat());
    let mut people = people(&server, random).await;
    let mut retried = 0.0;
    for _ in 0..random.random_range(1..=3) {
        people = load_and_kill(&mut server, people, random).await;
        server.restart();
    }
    people = finish(&server, people).await;
    server.settled();
    retried += server.metric("soundoff_consumer_retried_total").await;
    compare::everything(&server, &mut people).await;
    server.settled();
    let sent: usize = people.iter().map(Person::sent).sum();
    let repeated: usize = people.iter().map(Person::repeated).sum();
    let unheard: usize = people.iter().map(Person::unheard).sum();
    println!("{sent} messages, {repeated} repeated, {unheard} without an answer, {retried} runs tried again");
    assert!(sent > PEOPLE.len() * 2, "the load never began");
    retried
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_takes_effect_once_whenever_the_process_is_killed() {
    let mut random = StdRng::seed_from_u64(seed());
    let rounds = if is_long() { 200 } else { 10 };
    for number in 0..rounds {
        println!("round {number}");
        let edges = if number % 3 == 2 { "2" } else { "1" };
        round(&["--edges", edges], &mut random).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_fail_before_or_after_their_work_change_nothing() {
    let mut random = StdRng::seed_from_u64(seed());
    let rounds = if is_long() { 40 } else { 3 };
    let mut retried = 0.0;
    for number in 0..rounds {
        println!("round {number}");
        let chaos_seed = random.random::<u32>().to_string();
        // Retried soon and as often as needed: nothing may end in the dead letters here.
        let mut args = vec!["--visibility-ms", "500", "--max-receives", "1000", "--chaos-seed", &chaos_seed];
        let rules: Vec<String> = EFFECTS.iter().map(|effect| format!("{effect}=0.3")).collect();
        args.extend(rules.iter().flat_map(|rule| ["--chaos", rule]));
        retried += round(&args, &mut random).await;
    }
    assert!(retried > 0.0, "the faults never struck");
}
