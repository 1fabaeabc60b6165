//! The suite of [`Sessions`](super::Sessions): a function for each law, for every adapter.
//!
//! Times to live are whole seconds, which is all that memcached knows, and one second more or less is allowed.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ulid::Ulid;

use super::{DeviceMark, Registration, Sessions};
use crate::protocol::Handle;

const LONG: Duration = Duration::from_secs(600);

/// How a test gets the adapter.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The Session Cache. It may hold other tests' registrations.
    async fn open(&self) -> Arc<dyn Sessions>;

    /// Lets this much time pass by the engine's clock: moves a paused clock on, waits for a real one.
    async fn pass(&self, time: Duration);
}

fn handle(name: &str) -> Handle {
    let id = Ulid::generate().to_string().to_lowercase();
    format!("{name}{}", &id[6..]).parse().expect("a valid handle")
}

fn socket(edge: &str, boot: &str, connection: u64) -> Registration {
    Registration { edge: edge.into(), boot: boot.into(), connection, device: None }
}

async fn put(sessions: &dyn Sessions, handle: &Handle, registration: &Registration, ttl: Duration) {
    let entries = [(handle.clone(), registration.clone())];
    sessions.put_many(&entries, ttl).await.expect("law 1: a put is Ok");
}

async fn of(sessions: &dyn Sessions, handle: &Handle) -> Vec<Registration> {
    let mut lists = sessions.get_many(std::slice::from_ref(handle)).await.expect("law 4: a get is Ok");
    assert_eq!(lists.len(), 1, "law 4: one list a handle");
    let mut list = lists.remove(0);
    list.sort_by(|a, b| (&a.edge, &a.boot, a.connection).cmp(&(&b.edge, &b.boot, b.connection)));
    list
}

/// Law 1: any number of registrations, each its own.
pub async fn a_handle_has_many_registrations(harness: &impl Harness) {
    let sessions = harness.open().await;
    let (user, other) = (handle("many"), handle("alone"));
    let mut expected = Vec::new();
    for edge in ["10.0.0.1:7000", "10.0.0.2:7000"] {
        for boot in ["one", "two"] {
            for connection in [1, 2, u64::MAX] {
                expected.push(socket(edge, boot, connection));
            }
        }
    }
    for registration in &expected {
        put(&*sessions, &user, registration, LONG).await;
    }
    put(&*sessions, &other, &expected[0], LONG).await;
    assert_eq!(
        of(&*sessions, &user).await,
        expected,
        "law 1: all registrations are kept, whatever they share"
    );
    put(&*sessions, &user, &expected[3], LONG).await;
    assert_eq!(of(&*sessions, &user).await, expected, "law 1: refreshing one adds none and drops none");
    assert_eq!(of(&*sessions, &other).await, expected[..1], "law 1: another handle's are another's");

    let batch: Vec<_> = (0..300).map(|n| (handle("batch"), socket("10.0.0.1:7000", "b", n))).collect();
    sessions.put_many(&batch, LONG).await.expect("law 1: a large batch is Ok");
    let handles: Vec<_> = batch.iter().map(|(handle, _)| handle.clone()).collect();
    let lists = sessions.get_many(&handles).await.expect("law 4: a large get is Ok");
    for ((_, registration), list) in batch.iter().zip(&lists) {
        assert_eq!(list, std::slice::from_ref(registration), "law 1: every entry of a batch is put");
    }
}

/// Law 2: a registration is removed by its own token and by no other.
pub async fn only_its_own_token_removes(harness: &impl Harness) {
    let sessions = harness.open().await;
    let (user, stranger) = (handle("own"), handle("stranger"));
    let mine = socket("10.0.0.1:7000", "boot", 7);
    let beside = socket("10.0.0.1:7000", "boot", 8);
    // Alone, and beside another of the same user.
    for count in [1, 2] {
        let expected = [mine.clone(), beside.clone()][..count].to_vec();
        for registration in &expected {
            put(&*sessions, &user, registration, LONG).await;
        }
        let others = [
            socket("10.0.0.2:7000", "boot", 7),
            socket("10.0.0.1:7000", "rebooted", 7),
            socket("10.0.0.1:7000", "boot", 9),
            socket("10.0.0.1:7000", "", 7),
        ];
        for other in &others {
            let removed = sessions.remove(&user, other).await.expect("law 2: a remove is Ok");
            assert!(!removed, "law 2: {other:?} was not there");
            assert_eq!(of(&*sessions, &user).await, expected, "law 2: {other:?} takes nobody else's away");
        }
        // Known to the cache, but registered for another user.
        put(&*sessions, &stranger, &others[0], LONG).await;
        let removed = sessions.remove(&user, &others[0]).await.expect("law 2: a remove is Ok");
        assert!(!removed, "law 2: another user's registration is not this user's");
        assert_eq!(of(&*sessions, &stranger).await, others[..1], "law 2: and it stays");
    }
    assert!(sessions.remove(&user, &mine).await.expect("Ok"), "law 2: one that is there says so");
    assert_eq!(
        of(&*sessions, &user).await,
        std::slice::from_ref(&beside),
        "law 2: exactly the given one is gone"
    );
    assert!(!sessions.remove(&user, &mine).await.expect("Ok"), "law 2: the second time it is not there");
    assert!(sessions.remove(&user, &beside).await.expect("Ok"), "law 2: the last one is removed");
    assert_eq!(of(&*sessions, &user).await, [], "law 2: nothing is left");
    put(&*sessions, &user, &mine, LONG).await;
    assert_eq!(of(&*sessions, &user).await, [mine], "law 1: a removed one comes back by put");
}

/// Law 3: each registration lives for its own time since its own last put.
pub async fn each_expires_on_its_own(harness: &impl Harness) {
    let sessions = harness.open().await;
    let ttl = Duration::from_secs(6);
    let (user, alone) = (handle("ttl"), handle("ttlone"));
    let (fading, kept) = (socket("10.0.0.1:7000", "b", 1), socket("10.0.0.1:7000", "b", 2));
    put(&*sessions, &alone, &fading, ttl).await;
    put(&*sessions, &user, &fading, ttl).await;
    put(&*sessions, &user, &kept, ttl).await;
    harness.pass(Duration::from_secs(4)).await;
    let both = [fading.clone(), kept.clone()];
    assert_eq!(of(&*sessions, &user).await, both, "law 3: nothing is gone before its time");
    assert_eq!(of(&*sessions, &alone).await, both[..1], "law 3: nothing is gone before its time");
    put(&*sessions, &user, &kept, ttl).await;
    harness.pass(Duration::from_secs(4)).await;
    let left = of(&*sessions, &user).await;
    assert_eq!(left, std::slice::from_ref(&kept), "law 3: refreshing one does not prolong another");
    assert_eq!(of(&*sessions, &alone).await, [], "law 3: gone once its time has passed");
    assert!(!sessions.remove(&user, &fading).await.expect("Ok"), "law 2: an expired one is not there");
    harness.pass(Duration::from_secs(4)).await;
    assert_eq!(of(&*sessions, &user).await, [], "law 3: the refreshed one goes too, in its time");
    put(&*sessions, &user, &fading, ttl).await;
    assert_eq!(
        of(&*sessions, &user).await,
        [fading],
        "law 4: an entry comes back by put, without old company"
    );
}

/// Law 4: one list a handle, in order, with repeated and unknown handles among them.
pub async fn get_many_answers_in_order(harness: &impl Harness) {
    let sessions = harness.open().await;
    let handles: Vec<_> = (0..250).map(|_| handle("ord")).collect();
    for (n, handle) in handles.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        put(&*sessions, handle, &socket("10.0.0.1:7000", "b", n as u64), LONG).await;
    }
    let asked: Vec<_> = handles.iter().rev().chain(&handles[..3]).cloned().collect();
    let lists = sessions.get_many(&asked).await.expect("law 4: a get is Ok");
    assert_eq!(lists.len(), asked.len(), "law 4: one list a handle");
    for (place, list) in lists.iter().enumerate() {
        let n = if place < 250 { 249 - place } else { place - 250 };
        let expected: &[_] = &[socket("10.0.0.1:7000", "b", n as u64)];
        let expected = if n % 2 == 0 { expected } else { &[] };
        assert_eq!(list, expected, "law 4: in order: place {place}");
    }
    assert_eq!(
        sessions.get_many(&[]).await.expect("Ok"),
        Vec::<Vec<_>>::new(),
        "law 4: none asked, none answered"
    );
}

/// Law 4: a registration keeps the mark of its device, alone and beside others, and is the same socket with another.
pub async fn a_registration_keeps_its_device(harness: &impl Harness) {
    let sessions = harness.open().await;
    let user = handle("marks");
    let marks = [Some(DeviceMark::of("phone")), None, Some(DeviceMark(NonZeroU64::MAX))];
    let with = |n: u64, device| Registration { device, ..socket("10.0.0.1:7000", "b", n) };
    for (n, mark) in (0..).zip(marks) {
        put(&*sessions, &user, &with(n, mark), LONG).await;
        let found: Vec<_> = of(&*sessions, &user).await.into_iter().map(|r| r.device).collect();
        assert_eq!(found, marks[..=n as usize], "law 4: each has the device that was put");
    }
    put(&*sessions, &user, &with(0, marks[2]), LONG).await;
    let list = of(&*sessions, &user).await;
    assert_eq!(list.len(), 3, "law 1: with another device it is the same socket");
    assert_eq!(list[0].device, marks[2], "law 4: the last put counts");
    assert!(sessions.remove(&user, &with(0, None)).await.expect("Ok"), "law 2: the token alone removes");
}

/// Laws 1 and 2 while many edges work on one user at once: none loses what it put, none removes another's.
pub async fn many_edges_at_once(harness: &impl Harness) {
    let sessions = harness.open().await;
    let user = handle("busy");
    let mut tasks = Vec::new();
    for edge in 0..8 {
        let (sessions, user) = (sessions.clone(), user.clone());
        tasks.push(tokio::spawn(async move {
            let mine = |n| socket(&format!("10.0.0.{edge}:7000"), &format!("boot{edge}"), n);
            for n in 0..30 {
                put(&*sessions, &user, &mine(n), LONG).await;
                let list = of(&*sessions, &user).await;
                assert!(
                    list.contains(&mine(n)),
                    "law 1: edge {edge} finds its own while others put and remove"
                );
                if n > 0 {
                    let removed = sessions.remove(&user, &mine(n - 1)).await.expect("law 2: a remove is Ok");
                    assert!(removed, "law 2: edge {edge}'s registration was there until it removed it");
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("laws 1 and 2 hold in every task");
    }
    let expected: Vec<_> =
        (0..8).map(|e| socket(&format!("10.0.0.{e}:7000"), &format!("boot{e}"), 29)).collect();
    assert_eq!(of(&*sessions, &user).await, expected, "law 2: what is left is each edge's last");
}
