//! The in-process Session Cache, by the port's laws.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use soundoff_common::ports::sessions::contract::{self, Harness};
use soundoff_common::ports::sessions::{Registration, Sessions};
use soundoff_embedded::sessions::LocalSessions;

struct Local;

#[async_trait]
impl Harness for Local {
    async fn open(&self) -> Arc<dyn Sessions> {
        Arc::new(LocalSessions::new())
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_has_many_registrations() {
    contract::a_handle_has_many_registrations(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn only_its_own_token_removes() {
    contract::only_its_own_token_removes(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn each_expires_on_its_own() {
    contract::each_expires_on_its_own(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn get_many_answers_in_order() {
    contract::get_many_answers_in_order(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_keeps_its_device() {
    contract::a_registration_keeps_its_device(&Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_edges_at_once() {
    contract::many_edges_at_once(&Local).await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_frees_what_nobody_reads_again() {
    let sessions = LocalSessions::new();
    let entry = |user: u32, connection, boot: &str| {
        let registration =
            Registration { edge: "10.0.0.1:7000".into(), boot: boot.into(), connection, device: None };
        (format!("user{user}").parse().unwrap(), registration)
    };
    let short: Vec<_> = (0..2_000).map(|n| entry(n, 1, "old")).collect();
    let long: Vec<_> = (0..1_000).map(|n| entry(n, 2, "new")).collect();
    sessions.put_many(&short, Duration::from_secs(10)).await.unwrap();
    sessions.put_many(&long, Duration::from_secs(60)).await.unwrap();
    let round = || (0..LocalSessions::SWEEPS_PER_ROUND).map(|_| sessions.sweep()).sum::<usize>();
    assert_eq!((round(), sessions.len()), (0, 3_000), "nothing is removed before its time");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!((round(), sessions.len()), (2_000, 1_000), "one round removes what expired");
    for (handle, registration) in &long {
        let found = sessions.get_many(std::slice::from_ref(handle)).await.unwrap();
        assert_eq!(found, [[registration.clone()]], "what has not expired stays");
    }
    // A third edge may take over the number of the one that is gone, and must not be mistaken for it.
    sessions.put_many(&[entry(0, 9, "third")], Duration::from_secs(60)).await.unwrap();
    let (handle, gone) = &short[0];
    assert!(!sessions.remove(handle, &Registration { connection: 9, ..gone.clone() }).await.unwrap());
    assert_eq!(sessions.get_many(std::slice::from_ref(handle)).await.unwrap()[0].len(), 2);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!((round(), sessions.len(), sessions.is_empty()), (1_001, 0, true));
}
