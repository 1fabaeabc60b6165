//! Laws 1 to 6 of the architecture, one after the other, on the real binary. Kills, edges and bounds have files of
//! their own.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use support::client::{Client, Next};
use support::{Server, UNPACED, seed, tokens};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_1_accepted_survives_a_kill_in_the_same_moment() {
    const BURST: usize = 50;
    for round in 0..8 {
        let mut server = Server::start(&[]);
        let tokens = tokens(&server.address, &["ann", "bob"]).await;
        let mut bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await;
        let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
        if round % 2 == 0 {
            // Nothing is worked on before the kill: everything that happens afterwards came from the queue.
            server.command(&["workers", "pause"]);
        }
        for n in 0..BURST {
            ann.submit_as(&n.to_string(), "dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
        }
        let first = ann.until(|frame| frame["op"] == "accepted").await.unwrap();
        server.kill();
        let mut accepted = BTreeSet::from([first["id"].as_str().unwrap().to_owned()]);
        while let Next::Frame(frame) = ann.next().await {
            if frame["op"] == "accepted" {
                accepted.insert(frame["id"].as_str().unwrap().to_owned());
            }
        }
        let mut seen = 0;
        while let Next::Frame(frame) = bob.next().await {
            seen = frame["seq"].as_u64().unwrap_or(seen);
        }
        server.restart();
        server.settled();
        let mut bob = Client::hello(&server.address, &tokens["bob"], Some("phone"), Some(0)).await;
        let mut texts = Vec::new();
        while texts.len() < usize::try_from(bob.head()).unwrap() {
            texts.push(bob.push("dm.received").await["body"]["message"]["text"].as_str().unwrap().to_owned());
        }
        let came: BTreeSet<String> = texts.iter().cloned().collect();
        assert_eq!(came.len(), texts.len(), "twice: {texts:?}");
        assert!(came.is_superset(&accepted), "accepted {accepted:?}, and there is {came:?}");
        assert!(texts.len() as u64 >= seen, "a push that was seen is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_2_one_id_is_one_effect_through_whichever_edges_it_comes() {
    let server = Server::start(&["--edges", "2"]);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut one = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut two = Client::hello(&server.address, &tokens["ann"], None, None).await;
    assert_ne!(
        one.welcome["session"].as_str().unwrap()[..26],
        two.welcome["session"].as_str().unwrap()[..26]
    );
    for n in 0..50 {
        let (id, body) = (format!("same-{n}"), json!({ "to": "bob", "text": n.to_string() }));
        one.submit_as(&id, "dm.send", body.clone()).await;
        two.submit_as(&id, "dm.send", body.clone()).await;
        one.submit_as(&id, "dm.send", body).await;
        let mut outcomes = vec![one.outcome(&id).await.unwrap(), two.outcome(&id).await.unwrap()];
        outcomes.push(one.outcome(&id).await.unwrap());
        let fresh = outcomes.iter().filter(|outcome| outcome["duplicate"] != true).count();
        assert_eq!(fresh, 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|o| o["ok"] == true && o["body"] == outcomes[0]["body"]), "{outcomes:?}");
    }
    let list = two.call("dm.list", json!({ "with": "bob", "limit": 100 })).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 50);
    assert_eq!(Client::hello(&server.address, &tokens["bob"], None, None).await.head(), 50, "pushes");

    // An id belongs to one message, and to one user.
    two.submit_as("same-0", "dm.send", json!({ "to": "bob", "text": "another" })).await;
    assert_eq!(two.outcome("same-0").await.unwrap()["error"]["code"], "conflict");
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    bob.submit_as("same-0", "post.create", json!({ "text": "mine" })).await;
    let outcome = bob.outcome("same-0").await.unwrap();
    assert!(outcome["ok"] == true && outcome["duplicate"].is_null(), "{outcome}");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_3_toggles_that_overtake_each_other_end_as_the_last_one_said() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    let mut turns = 0;
    for _ in 0..40 {
        let post = bob.call("post.create", json!({ "text": "toggle me" })).await["post"]["id"].take();
        // Like and unlike are in different queues: only the law puts them in order.
        let last = random.random_bool(0.5);
        let mut says: Vec<bool> = (0..random.random_range(1..8)).map(|_| random.random_bool(0.5)).collect();
        says.push(last);
        turns += says.len();
        let mut ids = Vec::new();
        for add in says {
            let (like, follow) =
                if add { ("like.add", "follow.add") } else { ("like.remove", "follow.remove") };
            ids.push(ann.submit(like, json!({ "post": post })).await);
            ids.push(ann.submit(follow, json!({ "user": "bob" })).await);
        }
        let mut mids = Vec::new();
        for id in &ids {
            assert_eq!(ann.outcome(id).await.unwrap()["ok"], true);
            let accepted = ann.until(|f| f["op"] == "accepted" && f["id"] == **id).await.unwrap();
            mids.push(accepted["mid"].as_str().unwrap().to_owned());
        }
        assert!(mids.is_sorted(), "mids do not rise in the order of sending: {mids:?}");
        let found = ann.call("post.get", json!({ "post": post })).await;
        assert_eq!((&found["liked"], &found["post"]["likes"]), (&json!(last), &json!(u64::from(last))));
        let followers = ann.call("follow.list", json!({ "user": "bob", "direction": "followers" })).await;
        assert_eq!(followers["items"], if last { json!(["ann"]) } else { json!([]) });
        let profile = ann.call("profile.get", json!({ "user": "bob" })).await;
        assert_eq!(profile["user"]["followers"], u64::from(last));
    }
    println!("{turns} turns of likes and follows");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_4_an_inbox_goes_on_from_every_cursor_without_a_gap() {
    let server = Server::start(&[&UNPACED[..], &["--edges", "2", "--sockets-per-user", "1000"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    // More entries than the edge reads at once.
    const SENT: u64 = 120;
    let mut ids = Vec::new();
    for n in 1..=SENT {
        ids.push(ann.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await);
        if ids.len() == 10 {
            for id in ids.drain(..) {
                assert_eq!(ann.outcome(&id).await.unwrap()["ok"], true);
            }
        }
    }
    for cursor in 0..=SENT {
        let mut bob = Client::hello(&server.address, &tokens["bob"], None, Some(cursor)).await;
        assert_eq!(bob.head(), SENT + cursor);
        for seq in cursor + 1..=SENT + cursor {
            assert_eq!(bob.at_once("push", "dm.received").await["seq"], seq, "from {cursor}");
        }
        // One that comes after everything that was read.
        ann.call("dm.send", json!({ "to": "bob", "text": "live" })).await;
        assert_eq!(bob.at_once("push", "dm.received").await["seq"], SENT + cursor + 1);
        ann.pending.clear();
    }
    let mut ahead = Client::hello(&server.address, &tokens["bob"], None, Some(u64::MAX)).await;
    let head = ahead.head();
    ann.call("dm.send", json!({ "to": "bob", "text": "to one who claims to know the future" })).await;
    assert_eq!(ahead.at_once("push", "dm.received").await["seq"], head + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_4_a_push_that_comes_while_its_reader_connects_is_not_missed() {
    let mut random = StdRng::seed_from_u64(seed());
    let server = Server::start(&[&UNPACED[..], &["--edges", "2", "--sockets-per-user", "1000"]].concat());
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    for seq in 1..=300_u64 {
        let delay = Duration::from_micros(random.random_range(0..20_000));
        let (address, token) = (server.address.clone(), tokens["bob"].clone());
        let connecting = tokio::spawn(async move {
            // Connects at various moments while the message is on its way.
            tokio::time::sleep(delay).await;
            let mut bob = Client::hello(&address, &token, Some("phone"), Some(seq - 1)).await;
            assert_eq!(bob.at_once("push", "dm.received").await["seq"], seq);
            bob.vanish(false);
        });
        ann.call("dm.send", json!({ "to": "bob", "text": seq.to_string() })).await;
        ann.pending.clear();
        connecting.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_4_a_push_that_comes_while_old_ones_are_still_read_is_not_missed() {
    // Whole pages as the edge reads them, so that the last one ends where the inbox ended when the reader came.
    const OLD: u64 = 500;
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    // More than the kernels buffer for a reader with a small window, so that the edge waits for it in the middle.
    let text = "€".repeat(4000);
    for _ in 0..OLD / 20 {
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(ann.submit("dm.send", json!({ "to": "bob", "text": text })).await);
        }
        for id in ids {
            assert_eq!(ann.outcome(&id).await.unwrap()["ok"], true);
        }
        ann.pending.clear();
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
    let mut bob = Client::hello_on(stream, &tokens["bob"], None, Some(0)).await.unwrap();
    ann.call("dm.send", json!({ "to": "bob", "text": "new" })).await;
    // When the reply has come, the push is at bob's edge.
    ann.call("profile.get", json!({})).await;
    for seq in 1..=OLD + 1 {
        assert_eq!(bob.at_once("push", "dm.received").await["seq"], seq);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_4_pushes_of_many_senders_come_in_order() {
    const EACH: u64 = 150;
    let server = Server::start(&[&UNPACED[..], &["--edges", "2"]].concat());
    let names = ["ann", "cat", "dan", "eve", "fay", "gus"];
    let tokens = tokens(&server.address, &[&names[..], &["bob"]].concat()).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, Some(0)).await;
    let mut senders = Vec::new();
    for name in names {
        let (address, token) = (server.address.clone(), tokens[name].clone());
        senders.push(tokio::spawn(async move {
            let mut client = Client::hello(&address, &token, None, None).await;
            let mut ids = Vec::new();
            for n in 0..EACH {
                ids.push(client.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await);
            }
            for id in ids {
                assert_eq!(client.outcome(&id).await.unwrap()["ok"], true);
            }
        }));
    }
    for seq in 1..=EACH * names.len() as u64 {
        assert_eq!(bob.at_once("push", "dm.received").await["seq"], seq);
    }
    for sender in senders {
        sender.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_5_the_end_of_an_old_socket_does_not_unregister_the_new_one() {
    for edges in ["1", "2"] {
        let server =
            Server::start(&[&UNPACED[..], &["--edges", edges, "--sockets-per-user", "1000"]].concat());
        let tokens = tokens(&server.address, &["ann", "bob"]).await;
        let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
        let mut old = Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await;
        for n in 0..150 {
            // The same device is back before its old socket is removed; the scheduler decides which comes first.
            let mut new = if n % 2 == 0 {
                old.vanish(n % 4 == 0);
                Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await
            } else {
                let new = Client::hello(&server.address, &tokens["bob"], Some("phone"), None).await;
                old.send(json!({ "op": "bye" })).await;
                old.closed().await;
                new
            };
            for _ in 0..2 {
                // An event is not stored: only a registered socket gets it.
                ann.call("typing", json!({ "to": "bob" })).await;
                new.at_once("event", "typing").await;
            }
            ann.pending.clear();
            old = new;
        }
    }
}
