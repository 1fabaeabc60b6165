//! Law 1 at the edge: `accepted` follows the queue's confirmation of each message; bounds refuse what does not fit.

mod support;

use std::time::Duration;

use serde_json::json;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::ports::queues::QueueError;
use soundoff_edge::EdgeConfig;
use support::client::Seen;
use support::{World, config, note, note_of, stand, stand_with, until};

#[tokio::test]
async fn accepted_comes_only_after_the_queue_has_confirmed() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    stand.world.queues.gate.hold();
    ann.send(&note("1")).await;
    until("the send is under way", || stand.world.queues.gate.waiting() == 1).await;
    assert!(ann.before_pong().await.is_empty(), "nothing was said before the queue confirmed");
    assert_eq!(stand.metrics.edge_accepted.get(), 0);
    stand.world.queues.gate.release();
    let accepted = ann.expect("accepted").await;
    let sent = stand.world.queues.sent();
    assert_eq!(
        (accepted["id"].as_str(), accepted["mid"].as_str()),
        (Some("1"), Some(&*sent[0].mid.to_string()))
    );
    assert_eq!(stand.metrics.edge_accepted.get(), 1);
}

#[tokio::test]
async fn the_envelope_says_who_and_where_whatever_the_frame_claims() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    ann.text(r#"{"op":"send","from":"bob","mid":"x","id":"1","type":"note.add","body":{"a" : [1, 2]}}"#)
        .await;
    ann.expect("accepted").await;
    let envelope = stand.world.queues.sent().remove(0);
    let registration = stand.world.sessions.of("ann").remove(0);
    let origin = envelope.origin.unwrap();
    let signed = origin.edge.expect("it says where replies go");
    assert_eq!(stand.key().address(&origin.boot, &signed), Some(&*registration.edge));
    assert_eq!((origin.boot, origin.connection), (registration.boot, registration.connection));
    assert_eq!((envelope.from.as_str(), &*envelope.id, &*envelope.message_type), ("ann", "1", "note.add"));
    assert_eq!(envelope.body.get(), r#"{"a" : [1, 2]}"#, "the body stays as it was");
}

#[tokio::test]
async fn a_hello_is_put_on_the_pipeline_once_and_its_client_is_not_notified() {
    let stand = stand_with(EdgeConfig { waiting_messages: 4, ..config() }, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    ann.send(&note("1")).await;
    assert_eq!(ann.expect("accepted").await["id"], "1", "nothing came before it");
    let announced = stand.world.queues.announced("ann").remove(0);
    assert_eq!((&*announced.message_type, announced.body.get()), ("user_session", "{}"));
    let message = stand.world.queues.sent().remove(0);
    let socket = |envelope: &Envelope| envelope.origin.as_ref().map(|o| (o.boot.clone(), o.connection));
    assert_eq!(socket(&announced), socket(&message));
    assert!(announced.mid < message.mid);
    assert_eq!((stand.world.queues.announced("ann").len(), stand.metrics.edge_accepted.get()), (1, 1));
    // An edge that is half full welcomes without announcing.
    stand.world.queues.gate.hold();
    ann.send(&note("2")).await;
    ann.send(&note("3")).await;
    assert!(ann.before_pong().await.is_empty());
    stand.world.tables.add_user("bob");
    let mut bob = stand.connect().await;
    bob.hello(&support::token("bob")).await;
    bob.expect("welcome").await;
    assert!(bob.before_pong().await.is_empty());
    stand.world.queues.gate.release();
    ann.expect("accepted").await;
    assert!(stand.world.queues.announced("bob").is_empty());
}

#[tokio::test]
async fn each_message_gets_its_own_answer() {
    let stand = stand().await;
    let mut ann = stand.welcomed("ann").await;
    stand.world.queues.judge(|envelope| match &*envelope.id {
        "full" => Err(QueueError::Full),
        "share" => Err(QueueError::Share),
        "down" => Err(QueueError::Unavailable("x".to_owned())),
        "large" => Err(QueueError::TooLarge(1)),
        _ => Ok(()),
    });
    stand.world.queues.gate.hold();
    for id in ["a", "full", "b", "down", "large", "c", "share"] {
        ann.send(&note(id)).await;
    }
    stand.world.queues.gate.release();
    let mut seen = Vec::new();
    for _ in 0..7 {
        let frame = ann.frame().await;
        let why = frame["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(why.contains("of your messages"), frame["id"] == "share", "{frame}");
        let what = frame["error"]["code"].as_str().unwrap_or_else(|| frame["op"].as_str().unwrap());
        seen.push((
            frame["id"].as_str().unwrap().to_owned(),
            what.to_owned(),
            frame["error"]["retry"] == true,
        ));
    }
    seen.sort();
    let expected = [
        ("a", "accepted", false),
        ("b", "accepted", false),
        ("c", "accepted", false),
        ("down", "overloaded", true),
        ("full", "overloaded", true),
        ("large", "too_large", false),
        ("share", "overloaded", true),
    ];
    assert_eq!(seen, expected.map(|(id, what, retry)| (id.to_owned(), what.to_owned(), retry)));
}

#[tokio::test]
async fn messages_that_arrive_during_a_send_go_together_and_mids_rise() {
    let stand = stand_with(EdgeConfig { sends_in_flight: 1, ..config() }, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    stand.world.queues.gate.hold();
    ann.send(&note("0")).await;
    until("the first send is under way", || stand.world.queues.gate.waiting() == 1).await;
    for n in 1..=50 {
        ann.send(&note(&n.to_string())).await;
    }
    assert!(ann.before_pong().await.is_empty(), "all are read, none is accepted");
    stand.world.queues.gate.release();
    for n in 0..=50 {
        assert_eq!(ann.expect("accepted").await["id"], n.to_string());
    }
    assert_eq!(stand.world.queues.sizes(), [1, 50]);
    let mids: Vec<_> = stand.world.queues.sent().iter().map(|envelope| envelope.mid).collect();
    assert!(mids.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn more_unconfirmed_messages_than_the_bound_are_refused_and_room_comes_back() {
    let limits = EdgeConfig { unconfirmed_per_socket: 3, ..config() };
    for config in
        [limits, EdgeConfig { waiting_messages: 2, ..config() }, EdgeConfig { waiting_bytes: 1, ..config() }]
    {
        let most = config.waiting_bytes.min(config.waiting_messages).min(3);
        let stand = stand_with(config, World::default()).await;
        let mut ann = stand.welcomed("ann").await;
        stand.world.queues.gate.hold();
        for n in 0..=most {
            ann.send(&note(&n.to_string())).await;
        }
        let refused = ann.refused("overloaded").await;
        assert_eq!(refused["id"], most.to_string());
        assert_eq!(refused["error"]["retry"], true);
        stand.world.queues.gate.release();
        for _ in 0..most {
            ann.expect("accepted").await;
        }
        ann.send(&note("again")).await;
        assert_eq!(ann.expect("accepted").await["id"], "again");
        assert!(stand.world.queues.sent().iter().all(|e| *e.id != most.to_string()), "refused and queued");
    }
}

#[tokio::test]
async fn a_user_who_fills_an_edge_locks_nobody_out() {
    // Half of it is anybody's; of the rest a user gets a 64th, which is four messages or some bytes.
    let by_count = EdgeConfig { waiting_messages: 256, ..config() };
    let by_bytes = EdgeConfig { waiting_bytes: 64 * 1024, ..config() };
    for limits in [by_count, by_bytes] {
        let stand =
            stand_with(EdgeConfig { messages_per_second: 1000, burst: 1000, ..limits }, World::default())
                .await;
        let mut greedy = [stand.welcomed("greedy").await, stand.welcomed("greedy").await];
        let mut polite = Vec::new();
        for n in 0..20 {
            stand.world.tables.add_user(&format!("polite{n}"));
            polite.push(stand.welcomed(&format!("polite{n}")).await);
        }
        stand.world.queues.gate.hold();
        let mut refused = 0;
        for n in 0..400 {
            greedy[n % 2].send(&note(&n.to_string())).await;
        }
        for socket in &mut greedy {
            for frame in socket.before_pong().await {
                assert_eq!(frame["error"]["code"], "overloaded");
                let why = frame["error"]["message"].as_str().unwrap();
                assert!(why.contains("of your messages"), "the one who is refused hears why: {why}");
                refused += 1;
            }
        }
        assert!((64..=400 - 128).contains(&refused), "{refused} of the greedy user's 400");
        for socket in &mut polite {
            socket.send(&note("mine")).await;
            assert!(socket.before_pong().await.is_empty(), "who is polite is not refused");
        }
        stand.world.queues.gate.release();
        for socket in &mut polite {
            socket.expect("accepted").await;
        }
        let accepted = || stand.metrics.edge_accepted.get() == 400 - refused + 20;
        until("all that waited is accepted", accepted).await;
        greedy[1].send(&note("again")).await;
        until("what waited makes room", || stand.metrics.edge_accepted.get() == 400 - refused + 21).await;
    }
}

#[tokio::test]
async fn the_last_of_an_edges_room_is_for_what_keeps_people_safe() {
    let stand = stand_with(EdgeConfig { waiting_messages: 100, ..config() }, World::default()).await;
    let mut users = Vec::new();
    for n in 0..60 {
        stand.world.tables.add_user(&format!("user{n}"));
        users.push(stand.welcomed(&format!("user{n}")).await);
    }
    stand.world.queues.gate.hold();
    let mut taken = 0;
    let mut fill = async |users: &mut Vec<support::client::Client>, kind, up_to: usize| {
        while taken < up_to {
            // The first takes what is anybody's; of the rest each gets one.
            let at = taken.saturating_sub(49);
            users[at].send(&note_of(kind, "more")).await;
            assert!(users[at].before_pong().await.is_empty(), "{kind} is taken at {taken}");
            taken += 1;
        }
    };
    let refused = async |users: &mut Vec<support::client::Client>, kind, least_ms: u64| {
        let last = users.last_mut().unwrap();
        last.send(&note_of(kind, "one more")).await;
        let frame = last.before_pong().await.pop().unwrap_or_else(|| panic!("{kind} is taken"));
        assert_eq!(frame["error"]["code"], "overloaded");
        let wait = frame["error"]["retry_after_ms"].as_u64().unwrap();
        assert!((least_ms..=2 * least_ms).contains(&wait), "{kind}: {wait}");
    };
    fill(&mut users, "note.peek", 50).await;
    refused(&mut users, "note.peek", 1000).await;
    fill(&mut users, "note.add", 85).await;
    refused(&mut users, "note.peek", 3800).await;
    refused(&mut users, "note.add", 3800).await;
    fill(&mut users, "note.guard", 100).await;
    refused(&mut users, "note.guard", 5000).await;
    stand.world.queues.gate.release();
    until("all that waited is accepted", || stand.metrics.edge_accepted.get() == 100).await;
}

#[tokio::test]
async fn what_clients_do_not_send_or_send_too_fast_is_refused_and_not_queued() {
    let slow = EdgeConfig { messages_per_second: 1, burst: 3, ..config() };
    let stand = stand_with(slow, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    for ty in ["note.internal", "no.such"] {
        ann.send(&json!({"op": "send", "id": "x", "type": ty, "body": {}})).await;
        assert_eq!(ann.refused("unknown_type").await["id"], "x");
    }
    ann.send(&note("1")).await;
    ann.expect("accepted").await;
    ann.send(&note("2")).await;
    let refused = ann.refused("rate_limited").await;
    let wait = refused["error"]["retry_after_ms"].as_u64().unwrap();
    assert!(refused["id"] == "2" && (1..=1000).contains(&wait), "{refused}");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    ann.send(&note("2")).await;
    ann.expect("accepted").await;
    assert_eq!(stand.world.queues.sent().len(), 2);
}

#[tokio::test]
async fn a_message_over_the_queues_limit_is_too_large() {
    let stand = stand_with(EdgeConfig { frame_bytes: 1 << 20, ..config() }, World::default()).await;
    let mut ann = stand.welcomed("ann").await;
    let text = "x".repeat(300 * 1024);
    ann.send(&json!({"op": "send", "id": "1", "type": "note.add", "body": {"text": text}})).await;
    assert_eq!(ann.refused("too_large").await["id"], "1");
    assert!(stand.world.queues.sent().is_empty());
}

#[tokio::test]
async fn bad_frames_are_refused_and_a_fresh_token_is_checked() {
    let stand = stand().await;
    stand.world.tables.add_user("bob");
    let mut ann = stand.welcomed("ann").await;
    for text in ["", "[]", "{}", r#"{"op":"fly"}"#, r#"{"op":"hello","token":"x"}"#] {
        ann.text(text).await;
        ann.refused("bad_frame").await;
    }
    ann.send(&json!({"op": "auth", "token": "junk"})).await;
    ann.refused("unauthorized").await;
    ann.send(&json!({"op": "auth", "token": support::token("bob")})).await;
    ann.refused("forbidden").await;
    ann.send(&json!({"op": "auth", "token": support::token_until("ann", 4_000_000_000)})).await;
    assert_eq!(ann.expect("auth_ok").await["token_expires_at"], "2096-10-02T07:06:40.000Z");
    stand
        .world
        .queues
        .judge(|_| Err(QueueError::UnknownQueue(soundoff_common::ports::queues::QueueName::main())));
    ann.send(&note("1")).await;
    ann.refused("internal").await;
    ann.send(&json!({"op": "bye"})).await;
    assert_eq!(ann.see().await, Seen::Closed(1000, "bye".to_owned()));
}
