//! Law 10: nobody takes the queues from anybody else, neither their room nor their turn.

mod support;

use serde_json::{Value, json};
use support::client::Client;
use support::{Server, UNPACED, tokens};

/// What a greedy user has queued before the others come.
const BACKLOG: usize = 400;

/// A socket whose hello has been worked on: nothing of it is on the queues any more.
async fn rested(server: &Server, token: &Value, inbox: Option<u64>) -> Client {
    let mut client = Client::hello(&server.address, token, None, inbox).await;
    client.event("timeline").await;
    client
}

/// Sends a dm to bob; returns its id when it is accepted, or else why not.
async fn dm(from: &mut Client, text: &str) -> Result<String, String> {
    let id = from.submit("dm.send", json!({ "to": "bob", "text": text })).await;
    let answer = from.until(|frame| frame["id"] == *id).await.unwrap();
    if answer["op"] == "accepted" {
        return Ok(id);
    }
    assert_eq!(answer["error"]["code"], "overloaded");
    Err(answer["error"]["message"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_a_backlog_of_one_user_comes_after_one_message_of_each_other() {
    let server = Server::start(&[&UNPACED[..], &["--slots", "1"]].concat());
    let polite: Vec<String> = (0..5).map(|n| format!("polite{n}")).collect();
    let names: Vec<&str> = ["greedy", "bob"].into_iter().chain(polite.iter().map(String::as_str)).collect();
    let tokens = tokens(&server.address, &names).await;
    let mut greedy = rested(&server, &tokens["greedy"], None).await;
    let mut bob = rested(&server, &tokens["bob"], Some(0)).await;
    let mut others = Vec::new();
    for name in &polite {
        others.push(rested(&server, &tokens[name], None).await);
    }
    server.command(&["workers", "pause"]);
    let mut ids = Vec::new();
    for n in 0..BACKLOG {
        ids.push(greedy.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await);
    }
    for id in &ids {
        greedy.until(|frame| frame["op"] == "accepted" && frame["id"] == **id).await.unwrap();
    }
    for other in &mut others {
        dm(other, "polite").await.unwrap();
    }
    server.command(&["workers", "resume"]);
    // Bob's inbox has them in the order in which one slot worked on them.
    let mut served = Vec::new();
    while served.len() < BACKLOG + others.len() {
        let push = bob.push("dm.received").await;
        served.push(push["body"]["message"]["from"].as_str().unwrap_or_else(|| panic!("{push}")).to_owned());
    }
    let last = served.iter().rposition(|from| from != "greedy").unwrap();
    let before = served[..last].iter().filter(|from| *from == "greedy").count();
    // One in the turn, and those that were in a slot before the others had passed the router.
    assert!(before <= 60, "{before} of the greedy user's {BACKLOG} before the last of the others");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_10_who_fills_the_queues_is_refused_and_nobody_else() {
    let server = Server::start(&[&UNPACED[..], &["--queue-bytes", "400000"]].concat());
    let polite: Vec<String> = (0..20).map(|n| format!("polite{n}")).collect();
    let names: Vec<&str> = ["greedy", "bob"].into_iter().chain(polite.iter().map(String::as_str)).collect();
    let tokens = tokens(&server.address, &names).await;
    let mut greedy = rested(&server, &tokens["greedy"], None).await;
    let mut others = Vec::new();
    for name in &polite {
        others.push(rested(&server, &tokens[name], None).await);
    }
    server.command(&["workers", "pause"]);
    let text = "x".repeat(2000);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for _ in 0..300 {
        match dm(&mut greedy, &text).await {
            Ok(id) => accepted.push(id),
            Err(why) => {
                assert!(why.contains("of your messages"), "{why}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && accepted.len() > 40, "{refused} refused, {} accepted", accepted.len());
    let mut wanted = Vec::new();
    for _ in 0..2 {
        for (at, other) in others.iter_mut().enumerate() {
            wanted.push((at, dm(other, "polite").await.expect("who is polite is not refused")));
        }
    }
    assert!(dm(&mut greedy, &text).await.is_err(), "the greedy user still is");
    server.command(&["workers", "resume"]);
    for (at, id) in wanted {
        assert_eq!(others[at].outcome(&id).await.unwrap()["ok"], true);
    }
    for id in accepted {
        assert_eq!(greedy.outcome(&id).await.unwrap()["ok"], true);
    }
    server.settled();
    dm(&mut greedy, &text).await.expect("there is room again");
}
