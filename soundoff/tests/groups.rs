//! Groups over real sockets: what members see, and what nobody else does.

mod support;

use serde_json::json;
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
    assert_eq!(cat.list("post.list", json!({ "user": "ann" })).await, [] as [serde_json::Value; 0]);
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
