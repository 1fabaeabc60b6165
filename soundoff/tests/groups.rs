//! Groups over real sockets: what members see, and what nobody else does.

mod support;

use serde_json::{Value, json};
use support::client::Client;
use support::{Server, UNPACED, tokens};

/// What of somebody's frames is about posts or groups.
fn about_groups(client: &Client) -> Vec<String> {
    let frames = client.pending.iter().filter(|frame| frame["op"] == "push" || frame["op"] == "event");
    let types = frames.map(|frame| frame["type"].as_str().unwrap().to_owned());
    types.filter(|kind| kind.starts_with("group.") || kind.starts_with("post.")).collect()
}

#[tokio::test]
async fn a_secret_groups_members_hear_of_its_posts_and_nobody_else_of_anything() {
    let server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob", "cat", "dan"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    let mut cat = Client::hello(&server.address, &tokens["cat"], None, None).await;
    let mut dan = Client::hello(&server.address, &tokens["dan"], None, None).await;
    let new = json!({ "name": "Quiet Chess", "sight": "secret", "entry": "invite" });
    let group = ann.call("group.create", new).await["group"]["id"].take();
    // Cat follows the author and is no member; dan is a member whom ann blocks later.
    for follower in [&mut bob, &mut cat] {
        follower.call("follow.add", json!({ "user": "ann" })).await;
    }
    for member in ["bob", "dan"] {
        ann.call("group.invite", json!({ "group": group, "user": member })).await;
    }
    for member in [&mut bob, &mut dan] {
        let invited = member.push("group.invited").await;
        assert_eq!(invited["body"], json!({ "group": group, "by": "ann" }), "no name in what is kept");
        assert_eq!(member.call("group.join", json!({ "group": group })).await["state"], "in");
        assert_eq!(ann.push("group.joined").await["body"]["group"], group);
    }
    ann.call("block.add", json!({ "user": "dan" })).await;
    let made = ann.call("post.create", json!({ "text": "e4", "group": group })).await;
    let heard = bob.event("post.created").await;
    assert_eq!(
        (&heard["body"]["post"]["id"], &heard["body"]["post"]["group"]),
        (&made["post"]["id"], &group)
    );
    server.settled();
    for (outsider, refusal) in [(&mut cat, "not_found"), (&mut dan, "forbidden")] {
        let post = json!({ "post": made["post"]["id"] });
        assert_eq!(outsider.refused("post.get", post.clone()).await, "not_found");
        assert_eq!(outsider.refused("like.add", post).await, refusal);
        assert_eq!(about_groups(outsider), [] as [&str; 0]);
    }
    for (message_type, more) in [
        ("group.get", json!({})),
        ("group.join", json!({})),
        ("group.members", json!({})),
        ("group.posts", json!({})),
        ("post.create", json!({ "text": "d4" })),
        ("group.invite", json!({ "user": "bob" })),
    ] {
        let mut body = more;
        body["group"] = group.clone();
        assert_eq!(cat.refused(message_type, body).await, "not_found", "{message_type}");
    }
    assert_eq!(cat.call("group.find", json!({ "name": "quiet" })).await, json!({ "groups": [] }));
    assert_eq!(cat.list("post.list", json!({ "user": "ann" })).await, [] as [Value; 0]);
    // From the reply on, who is barred sees nothing and hears of nothing.
    ann.call("group.bar", json!({ "group": group, "user": "bob" })).await;
    assert_eq!(bob.refused("group.posts", json!({ "group": group })).await, "not_found");
    assert_eq!(bob.refused("post.get", json!({ "post": made["post"]["id"] })).await, "not_found");
    ann.call("post.create", json!({ "text": "Nf3", "group": group })).await;
    server.settled();
    bob.call("presence.get", json!({ "users": [] })).await;
    assert_eq!(about_groups(&bob), [] as [&str; 0], "{:?}", bob.pending);
    // A deleted group is cleared away, and its authors keep their posts.
    ann.call("group.delete", json!({ "group": group })).await;
    server.settled();
    assert_eq!(ann.refused("group.get", json!({ "group": group })).await, "not_found");
    assert_eq!(ann.call("group.list", json!({})).await["items"], json!([]));
    assert_eq!(ann.call("post.get", json!({ "post": made["post"]["id"] })).await["post"]["text"], "e4");
}

/// The posts of somebody's whole timeline; none may come twice.
async fn timeline(client: &mut Client) -> Vec<Value> {
    let page = client.call("timeline.fetch", json!({ "limit": 100 })).await;
    assert!(page["next"].is_null(), "{page}");
    let posts = page["items"].as_array().unwrap().iter().map(|item| item["post"]["text"].clone());
    let mut posts: Vec<Value> = posts.collect();
    posts.sort_by_key(Value::to_string);
    posts
}

async fn say(client: &mut Client, text: &str, group: Option<&Value>) -> Value {
    client.call("post.create", json!({ "text": text, "group": group })).await["post"]["id"].take()
}

/// What was computed and what is repaired is the same: a group is one more author, for who is in it and nobody else.
#[tokio::test]
async fn a_groups_posts_are_on_the_timelines_of_its_members_and_on_no_others() {
    let server = Server::start(&[&UNPACED[..], &["--timeline-interval-ms", "0"]].concat());
    let names = ["ann", "bob", "cat", "dan"];
    let tokens = tokens(&server.address, &names).await;
    let mut clients = Vec::new();
    for name in names {
        clients.push(Client::hello(&server.address, &tokens[name], None, None).await);
    }
    let [ann, bob, cat, dan] = &mut clients[..] else { unreachable!("four of them") };
    // The group is public, so that it is not for what one may see that a post does not come.
    let new = json!({ "name": "Chess", "sight": "public", "entry": "open" });
    let group = ann.call("group.create", new).await["group"]["id"].take();
    let body = json!({ "group": group });
    // Bob follows the author and is in, cat only follows, dan is only in.
    for follower in [&mut *bob, &mut *cat] {
        follower.call("follow.add", json!({ "user": "ann" })).await;
    }
    for member in [&mut *bob, &mut *dan] {
        member.call("group.join", body.clone()).await;
    }
    let compute = || {
        server.settled();
        server.command(&["timeline", "tick", "ann", "bob", "cat", "dan"]);
        server.settled();
    };
    say(ann, "a1", None).await;
    let first = say(ann, "g1", Some(&group)).await;
    // Gathered at once, computed before, and repaired by what is new since.
    for round in ["gathered", "computed"] {
        if round == "computed" {
            compute();
        }
        server.settled();
        assert_eq!(timeline(ann).await, ["a1", "g1"], "{round}");
        assert_eq!(timeline(bob).await, ["a1", "g1"], "{round}");
        assert_eq!(timeline(cat).await, ["a1"], "{round}: whom they follow, in a group that they are not in");
        assert_eq!(timeline(dan).await, ["g1"], "{round}");
    }
    say(ann, "a2", None).await;
    say(bob, "g2", Some(&group)).await;
    server.settled();
    assert_eq!(timeline(ann).await, ["a1", "a2", "g1", "g2"]);
    assert_eq!(timeline(bob).await, ["a1", "a2", "g1", "g2"]);
    assert_eq!(timeline(cat).await, ["a1", "a2"]);
    assert_eq!(timeline(dan).await, ["g1", "g2"]);
    compute();
    // Who leaves is out from the reply on, though the group is public; who comes back reads it all.
    let page = dan.call("timeline.fetch", json!({ "limit": 1 })).await;
    dan.call("group.leave", body.clone()).await;
    let later = json!({ "limit": 1, "before": page["next"] });
    assert_eq!(dan.call("timeline.fetch", later).await["items"], json!([]), "a page of a list from before");
    assert_eq!(timeline(dan).await, [] as [&str; 0]);
    dan.call("group.join", body.clone()).await;
    assert_eq!(timeline(dan).await, ["g1", "g2"]);
    cat.call("group.join", body.clone()).await;
    assert_eq!(timeline(cat).await, ["a1", "a2", "g1", "g2"]);
    compute();
    // Across a block, taken down in the group, deleted, barred: each counts at the fetch.
    dan.call("block.add", json!({ "user": "bob" })).await;
    assert_eq!(timeline(dan).await, ["g1"]);
    ann.call("group.bar", json!({ "group": group, "user": "cat" })).await;
    assert_eq!(timeline(cat).await, ["a1", "a2"]);
    ann.call("group.hide", json!({ "group": group, "post": first })).await;
    assert_eq!(timeline(bob).await, ["a1", "a2", "g2"]);
    ann.call("group.show", json!({ "group": group, "post": first })).await;
    assert_eq!(timeline(bob).await, ["a1", "a2", "g1", "g2"]);
    ann.call("post.delete", json!({ "post": first })).await;
    assert_eq!(timeline(bob).await, ["a1", "a2", "g2"]);
    ann.call("group.delete", body).await;
    assert_eq!(timeline(dan).await, [] as [&str; 0]);
    compute();
    assert_eq!(timeline(ann).await, ["a1", "a2"]);
    assert_eq!(timeline(bob).await, ["a1", "a2"], "their own post, too, is on no list any more");
}
