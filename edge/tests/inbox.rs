//! Law 4: every socket gets its user's inbox in order, without a gap, in all circumstances.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use soundoff_edge::EdgeConfig;
use support::client::Client;
use support::{World, config, push_of, stand, stand_with, token, until};

/// The next frames must be pushes with these seqs.
async fn expect_pushes(client: &mut Client, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let frame = client.expect("push").await;
        assert_eq!(frame["seq"], seq, "{frame}");
    }
}

async fn fill(stand: &support::Stand, user: &str, count: u64) {
    for n in 1..=count {
        stand.world.tables.append(user, &n.to_string()).await;
    }
}

#[tokio::test]
async fn a_device_resumes_from_every_cursor() {
    let stand = stand().await;
    fill(&stand, "ann", 6).await;
    for cursor in 0..=6 {
        let (mut ann, welcome) = stand.device("ann", "phone", Some(cursor)).await;
        assert_eq!(welcome["cursor"], 6, "the newest there is");
        expect_pushes(&mut ann, cursor + 1..=6).await;
        assert!(ann.before_pong().await.is_empty());
    }
}

#[tokio::test]
async fn without_a_cursor_a_device_resumes_after_its_own_ack_and_a_new_one_at_the_newest() {
    let stand =
        stand_with(EdgeConfig { ack_every: Duration::from_millis(20), ..config() }, World::default()).await;
    fill(&stand, "ann", 4).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    expect_pushes(&mut phone, 1..=4).await;
    phone.send(&json!({"op": "ack", "cursor": 2})).await;
    until("saved", || stand.world.tables.cursor_of("ann", "phone") == Some(2)).await;
    phone.send(&json!({"op": "ack", "cursor": 1})).await;
    phone.send(&json!({"op": "ack", "cursor": 3})).await;
    assert!(phone.before_pong().await.is_empty());
    drop(phone);
    until("saved at the end", || stand.world.tables.cursor_of("ann", "phone") == Some(3)).await;
    let (mut phone, _) = stand.device("ann", "phone", None).await;
    expect_pushes(&mut phone, 4..=4).await;
    let (mut laptop, _) = stand.device("ann", "laptop", None).await;
    assert!(laptop.before_pong().await.is_empty(), "a new device starts at the newest");
    stand.push("ann", "5").await;
    expect_pushes(&mut laptop, 5..=5).await;
    expect_pushes(&mut phone, 5..=5).await;
}

#[tokio::test]
async fn an_ack_of_what_was_never_sent_takes_nothing_away() {
    let stand =
        stand_with(EdgeConfig { ack_every: Duration::from_millis(20), ..config() }, World::default()).await;
    fill(&stand, "ann", 2).await;
    let (mut phone, _) = stand.device("ann", "phone", Some(0)).await;
    expect_pushes(&mut phone, 1..=2).await;
    stand.world.tables.append("ann", "3").await;
    phone.send(&json!({"op": "ack", "cursor": 99})).await;
    until("saved", || stand.world.tables.cursor_of("ann", "phone") == Some(2)).await;
    drop(phone);
    let (mut phone, _) = stand.device("ann", "phone", None).await;
    expect_pushes(&mut phone, 3..=3).await;
}

#[tokio::test]
async fn a_push_between_registration_and_the_read_is_not_lost() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    fill(&stand, "ann", 2).await;
    stand.world.tables.query_gate.hold();
    let (mut ann, welcome) = stand.device("ann", "phone", Some(0)).await;
    assert_eq!(welcome["cursor"], 2);
    until("the inbox is about to be read", || stand.world.tables.query_gate.waiting() > 0).await;
    stand.push("ann", "3").await;
    assert!(ann.before_pong().await.is_empty(), "3 must not overtake 1 and 2");
    stand.world.tables.query_gate.release();
    expect_pushes(&mut ann, 1..=3).await;
    stand.push("ann", "4").await;
    expect_pushes(&mut ann, 4..=4).await;
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test]
async fn a_push_while_an_older_page_is_on_its_way_is_not_lost() {
    let stand = stand().await;
    fill(&stand, "ann", 2).await;
    stand.world.tables.page_gate.hold();
    let (mut ann, _) = stand.device("ann", "phone", Some(0)).await;
    until("a page is read", || stand.world.tables.page_gate.waiting() > 0).await;
    stand.push("ann", "3").await;
    stand.world.tables.page_gate.release();
    expect_pushes(&mut ann, 1..=3).await;
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test]
async fn a_push_before_the_welcome_comes_after_it_and_in_order() {
    let stand = stand().await;
    stand.world.tables.add_user("ann");
    let mut ann = stand.connect().await;
    stand.world.tables.get_gate.hold();
    ann.hello(&token("ann")).await;
    until("registered", || stand.world.sessions.of("ann").len() == 1).await;
    // The read of the account is held, so the head is read after this push was appended; a device without a cursor
    // starts there.
    assert_eq!(stand.push("ann", "1").await, 1);
    stand.world.tables.get_gate.release();
    assert_eq!(ann.expect("welcome").await["cursor"], 1);
    stand.push("ann", "2").await;
    expect_pushes(&mut ann, 2..=2).await;
}

#[tokio::test]
async fn gaps_are_filled_repetitions_are_dropped_and_nudges_make_the_edge_read() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    fill(&stand, "ann", 3).await;
    stand.deliver(&[push_of("ann", 3, "3")]).await;
    expect_pushes(&mut ann, 1..=3).await;
    stand.deliver(&[push_of("ann", 3, "3"), push_of("ann", 1, "1")]).await;
    assert!(ann.before_pong().await.is_empty(), "what she has is not repeated");
    stand.world.tables.append("ann", "4").await;
    stand.deliver(&[json!({"kind": "push", "to": ["ann"], "seq": 4})]).await;
    expect_pushes(&mut ann, 4..=4).await;
    let nudge = json!({"kind": "push", "to": ["ann"], "seq": 90});
    stand.deliver(&[nudge]).await;
    stand.push("ann", "5").await;
    expect_pushes(&mut ann, 5..=5).await;
    assert!(ann.before_pong().await.is_empty(), "a nudge about nothing brings nothing");
}

#[tokio::test]
async fn a_live_socket_recovers_from_a_lost_delivery() {
    let quick = EdgeConfig { session_ttl: Duration::from_millis(150), ..config() };
    let stand = stand_with(quick, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    fill(&stand, "ann", 2).await;
    expect_pushes(&mut ann, 1..=2).await;
}

#[tokio::test]
async fn expired_entries_are_reported_as_gone() {
    let stand = stand().await;
    fill(&stand, "ann", 6).await;
    stand.world.tables.expire("ann", 1..=3);
    let (mut ann, _) = stand.device("ann", "phone", Some(1)).await;
    let said = ann.refused("not_found").await;
    assert!(said["error"]["message"].as_str().unwrap().contains("before seq 4"), "{said}");
    expect_pushes(&mut ann, 4..=6).await;
    stand.world.tables.expire("ann", 4..=6);
    let (mut all_gone, _) = stand.device("ann", "laptop", Some(2)).await;
    let said = all_gone.refused("not_found").await;
    assert!(said["error"]["message"].as_str().unwrap().contains("before seq 7"), "{said}");
    stand.push("ann", "7").await;
    expect_pushes(&mut all_gone, 7..=7).await;
    let (mut up_to_date, _) = stand.device("ann", "tablet", Some(6)).await;
    expect_pushes(&mut up_to_date, 7..=7).await;
}

#[tokio::test]
async fn a_long_inbox_waits_for_its_reader() {
    let tight = EdgeConfig { out_frames: 8, out_bytes: 64 * 1024, ..config() };
    let stand = stand_with(tight, World::default()).await;
    let text = "x".repeat(8 * 1024);
    for _ in 0..2000 {
        stand.world.tables.append("ann", &text).await;
    }
    let (mut ann, _) = stand.device("ann", "phone", Some(0)).await;
    // Nothing is read for a while: the kernel's buffers are full, and the edge must wait rather than close.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let pages = stand.world.tables.queries.load(Ordering::SeqCst);
    assert!(pages < 20, "the whole inbox was read for a client that does not read: {pages} pages");
    expect_pushes(&mut ann, 1..=2000).await;
    assert!(ann.before_pong().await.is_empty());
}

#[tokio::test]
async fn tables_that_fail_delay_a_catch_up_and_lose_nothing() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    fill(&stand, "ann", 2).await;
    stand.world.tables.failing.store(true, Ordering::SeqCst);
    stand.deliver(&[push_of("ann", 2, "2")]).await;
    until("tried", || stand.world.tables.queries.load(Ordering::SeqCst) > 1).await;
    assert!(ann.before_pong().await.is_empty());
    stand.world.tables.failing.store(false, Ordering::SeqCst);
    expect_pushes(&mut ann, 1..=2).await;
    stand.world.tables.failing.store(true, Ordering::SeqCst);
    let mut bob = stand.connect().await;
    bob.hello(&token("bob")).await;
    assert_eq!(bob.closed().await.0, 4418, "a client whose hello cannot be checked must come back");
}

#[tokio::test]
async fn all_sockets_of_a_user_get_every_push_while_they_come_and_go() {
    let stand = stand().await;
    let mut steady = stand.welcomed("ann").await;
    let mut cursor = 0;
    for round in 0..30u64 {
        let (mut moving, _) = stand.device("ann", "phone", Some(cursor)).await;
        stand.push("ann", &round.to_string()).await;
        let frame: Value = moving.expect("push").await;
        assert_eq!(frame["seq"], cursor + 1);
        cursor = frame["seq"].as_u64().unwrap();
        if round % 2 == 0 {
            drop(moving);
        } else {
            moving.send(&json!({"op": "bye"})).await;
        }
    }
    expect_pushes(&mut steady, 1..=30).await;
}
