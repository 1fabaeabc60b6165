//! Law 14: what may not be seen is seen through no door. Who somebody is to an author, what the author lets people see,
//! and what moderators have decided, against every type that shows or touches a post: each cell of the matrix by a rule
//! of its own, and the types from the catalog.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use soundoff_common::model::accounts::{self, attribute};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::ports::tables::{Change, Table, Tables as _, Write};
use soundoff_common::protocol::ErrorCode;

use crate::testing::world::{World, reply, user};

/// Who somebody is to the author, anna. The name is their handle.
const RELATIONS: [&str; 9] =
    ["stranger", "follower", "asking", "close", "mutual", "blocked", "blocking", "modmo", "anna"];
const AUDIENCES: [&str; 3] = ["everyone", "followers", "close"];
const STATES: [&str; 5] = ["shown", "limited", "held", "hidden", "deleted"];

/// A post, by what decides who sees it.
#[derive(Debug, Clone)]
struct Cell {
    id: String,
    audience: &'static str,
    state: &'static str,
}

/// Everybody, and a post of each kind, each with a comment of a stranger's and one of the blocked user's.
async fn everybody(private: bool) -> (World, Vec<Cell>) {
    let mut people = RELATIONS.to_vec();
    people.push("carol");
    let world = World::with(&people).await;
    let role = vec![Change::Set(attribute::ROLE, "moderator".into())];
    world.tables.write(vec![Write::update(Table::Users, accounts::key(&user("modmo")), role)]).await.unwrap();
    let anna = || json!({ "user": "anna" });
    for who in ["follower", "mutual"] {
        world.ok(who, "follow.add", anna()).await;
    }
    world.ok("anna", "follow.add", json!({ "user": "mutual" })).await;
    world.ok("anna", "close.add", json!({ "user": "close" })).await;
    let mut cells = Vec::new();
    for audience in AUDIENCES {
        for state in STATES {
            let body = json!({ "text": format!("{audience} {state}"), "audience": audience });
            let made = world.ok("anna", "post.create", body).await;
            let id = made["post"]["id"].as_str().unwrap().to_owned();
            let comment = json!({ "post": id, "text": "mine" });
            world.ok("anna", "comment.create", comment.clone()).await;
            if audience == "everyone" {
                world.ok("blocked", "comment.create", comment.clone()).await;
                world.ok("carol", "comment.create", comment).await;
            }
            cells.push(Cell { id, audience, state });
        }
    }
    for Cell { id, state, .. } in &cells {
        match *state {
            "shown" => {}
            "deleted" => drop(world.ok("anna", "post.delete", json!({ "post": id })).await),
            state => {
                let body = json!({ "post": id, "state": state, "reason": "why not" });
                world.ok("modmo", "post.remove", body).await;
            }
        }
    }
    if private {
        // Late: what was public is hidden at once.
        world.ok("anna", "privacy.update", json!({ "private": true })).await;
        let asked = world.ok("asking", "follow.add", anna()).await;
        assert_eq!(asked["state"], "requested");
    }
    world.ok("anna", "block.add", json!({ "user": "blocked" })).await;
    world.ok("blocking", "block.add", anna()).await;
    for who in RELATIONS {
        world.online(who).await;
    }
    world.audit();
    (world, cells)
}

/// Whether somebody sees a post, as its author would explain it.
fn sees(who: &str, private: bool, cell: &Cell, is_chosen_for_them: bool) -> bool {
    let Cell { audience, state, .. } = cell;
    if *state == "deleted" {
        return false;
    }
    if who == "anna" || (who == "modmo" && !is_chosen_for_them) {
        return true;
    }
    let is_open = *state == "shown" || (*state == "limited" && !is_chosen_for_them);
    let follows = who == "follower" || who == "mutual";
    let is_theirs = match *audience {
        "everyone" => follows || !private,
        "followers" => follows,
        _ => who == "close",
    };
    is_open && is_theirs && who != "blocked" && who != "blocking"
}

/// The whole list of a type, page by page; `None` when it is refused.
async fn all(world: &World, who: &str, message_type: &str, mut body: Value) -> Option<Vec<Value>> {
    let mut items = Vec::new();
    loop {
        let message = world.message(who, message_type, &body);
        let page = match world.run(&message).await {
            Ok(done) => reply(&done),
            Err(Failure::Reject(_)) => return None,
            Err(failure) => panic!("{who} {message_type}: {failure}"),
        };
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        assert!(items.len() < 1_000, "a list without end");
        if page["next"].is_null() {
            return Some(items);
        }
        body["before"] = page["next"].clone();
    }
}

async fn answer(world: &World, who: &str, message_type: &str, body: Value) -> Result<Value, ErrorCode> {
    match world.run(&world.message(who, message_type, &body)).await {
        Ok(done) => Ok(reply(&done)),
        Err(Failure::Reject(error)) => Err(error.code),
        Err(failure) => panic!("{who} {message_type}: {failure}"),
    }
}

/// What somebody sees of one post through each door that names it. Returns how many cells were judged.
async fn by_its_id(world: &World, who: &str, private: bool, cell: &Cell) -> usize {
    let about = format!("{who}, private: {private}, {cell:?}");
    let body = || json!({ "post": cell.id, "text": "x" });
    let (by_link, across) = (sees(who, private, cell, false), who == "blocked" || who == "blocking");
    // To moderate is no act upon a post.
    let acts = sees(if who == "modmo" { "stranger" } else { who }, private, cell, false);
    let got = answer(world, who, "post.get", body()).await;
    assert_eq!(got.is_ok(), by_link, "post.get: {about}: {got:?}");
    if let Ok(got) = got {
        let is_told = matches!(cell.state, "held" | "hidden") || (who == "anna" && cell.state == "limited");
        assert_eq!(got["post"]["reason"].is_string(), is_told, "the reason: {about}: {got}");
        assert_eq!(got["post"]["text"], format!("{} {}", cell.audience, cell.state), "all of it: {about}");
    }
    let comments = all(world, who, "comment.list", json!({ "post": cell.id, "limit": 2 })).await;
    assert_eq!(comments.is_some(), by_link, "comment.list: {about}");
    for comment in comments.iter().flatten() {
        let by = comment["author"].as_str().unwrap();
        assert!(!(who == "anna" && by == "blocked"), "a comment across a block: {about}");
    }
    let refusal = if across && cell.state != "deleted" { ErrorCode::Forbidden } else { ErrorCode::NotFound };
    for message_type in ["like.add", "comment.create"] {
        let before = world.tables.all();
        let done = answer(world, who, message_type, body()).await;
        let expected = if acts { Ok(()) } else { Err(refusal) };
        assert_eq!(done.map(drop), expected, "{message_type}: {about}");
        assert!(acts || before == world.tables.all(), "refused and done: {message_type}: {about}");
    }
    let taken = answer(world, who, "like.remove", body()).await;
    let expected = if acts { Ok(true) } else { Err(ErrorCode::NotFound) };
    assert_eq!(taken.map(|taken| taken["likes"].is_number()), expected, "like.remove: {about}");
    5
}

#[tokio::test]
async fn every_relation_sees_through_every_door_what_it_should_and_nothing_else() {
    let mut cells_judged = 0;
    for private in [false, true] {
        let (world, cells) = everybody(private).await;
        for who in RELATIONS {
            for cell in &cells {
                cells_judged += by_its_id(&world, who, private, cell).await;
            }
            let follows = matches!(who, "follower" | "mutual" | "anna");
            let across = matches!(who, "blocked" | "blocking");
            let opens = !across && (follows || !private);
            let list = all(&world, who, "post.list", json!({ "user": "anna", "limit": 2 })).await;
            assert_eq!(list.is_some(), opens, "post.list: {who}, private: {private}");
            let listed: BTreeSet<&str> =
                list.iter().flatten().map(|post| post["id"].as_str().unwrap()).collect();
            for cell in &cells {
                let expected = opens && sees(who, private, cell, true);
                assert_eq!(listed.contains(&*cell.id), expected, "post.list: {who}, {private}, {cell:?}");
                cells_judged += 1;
            }
            for direction in ["followers", "following"] {
                let body = json!({ "user": "anna", "direction": direction });
                let list = all(&world, who, "follow.list", body).await;
                assert_eq!(list.is_some(), opens, "follow.list: {who}, private: {private}");
                cells_judged += 1;
            }
            let profile = answer(&world, who, "profile.get", json!({ "user": "anna" })).await;
            assert_eq!(profile.is_ok(), !across, "profile.get: {who}");
            let online = world.ok(who, "presence.get", json!({ "users": ["anna"] })).await;
            assert_eq!(online["online"] == json!(["anna"]), opens, "presence.get: {who}, {private}");
            cells_judged += 2;
        }
        cells_judged += announced(&world, private, &cells).await;
        world.audit();
    }
    assert!(cells_judged > 1_500, "{cells_judged} cells");
}

/// Live events: who hears of a post is who would find it on a list.
async fn announced(world: &World, private: bool, cells: &[Cell]) -> usize {
    for cell in cells {
        let gone = cell.state != "shown";
        for news in ["created", "deleted"] {
            let body = json!({ "news": news, "post": cell.id });
            let mut message = world.message("anna", "post.fanout", &body);
            message.id = String::new();
            let done = world.run(&message).await.unwrap();
            let heard: BTreeSet<String> =
                done.events.iter().flat_map(|event| &event.to).map(ToString::to_string).collect();
            let was = Cell { state: "shown", ..cell.clone() };
            for who in ["follower", "mutual"] {
                let expected = (news == "deleted") == gone && sees(who, private, &was, true);
                assert_eq!(heard.contains(who), expected, "{news}: {who}, {private}, {cell:?}");
            }
            assert!(heard.iter().all(|who| who == "follower" || who == "mutual"), "{heard:?}");
            for event in &done.events {
                let post: Value = serde_json::from_str(event.body.get()).unwrap();
                assert_eq!(post["post"]["text"] == "", gone, "{post}");
                assert!(post["post"]["reason"].is_null() && post["post"]["state"].is_null(), "{post}");
            }
        }
    }
    4 * cells.len()
}

/// What is shown: the names of schemas.
const SHOWN: [&str; 5] = ["Post", "Comment", "Profile", "DirectMessage", "Handle"];

/// Every type that shows somebody something, and why nobody sees through it what they may not.
const DOORS: &[(&str, &str)] = &[
    ("post.get", "matrix"),
    ("post.list", "matrix"),
    ("post.fanout", "matrix"),
    ("comment.list", "matrix"),
    ("comment.create", "matrix"),
    ("like.add", "matrix"),
    ("follow.list", "matrix"),
    ("profile.get", "matrix"),
    ("presence.get", "matrix"),
    ("dm.send", "the sender's words, to who takes them: scenarios/private.rs"),
    ("dm.list", "the sender's conversation, across no block: scenarios/privacy.rs"),
    ("typing", "to who takes messages: scenarios/private.rs"),
    ("post.create", "the sender's own"),
    ("post.delete", "the sender's own"),
    ("profile.update", "the sender's own"),
    ("post.remove", "for moderators"),
    ("post.restore", "for moderators"),
    ("follow.add", "names whom the sender named, and tells them of the sender: scenarios/private.rs"),
    ("follow.remove", "names whom the sender named"),
    ("block.add", "names whom the sender named"),
    ("block.remove", "names whom the sender named"),
    ("close.add", "names whom the sender named"),
    ("close.remove", "names whom the sender named"),
    ("close.list", "the sender's own list, without users across a block: scenarios/private.rs"),
    ("request.list", "who asked the sender, without users across a block: scenarios/private.rs"),
    ("request.accept", "names whom the sender named, and tells them of the sender"),
    ("request.reject", "names whom the sender named"),
    ("request.settle", "tells those who asked"),
    ("group.posts", "scenarios/groups.rs"),
    ("group.members", "scenarios/groups.rs"),
    ("group.join", "names the sender, and tells moderators of them: scenarios/groups.rs"),
    ("group.leave", "names the sender"),
    ("group.invite", "names whom the sender named, and tells them of the sender: scenarios/groups.rs"),
    ("group.answer", "names whom the sender named, and tells them of the sender: scenarios/groups.rs"),
    ("group.bar", "names whom the sender named"),
    ("group.role", "names whom the sender named, and tells them of the sender: scenarios/groups.rs"),
    ("group.hide", "for the group's moderators: scenarios/groups.rs"),
    ("group.show", "for the group's moderators: scenarios/groups.rs"),
];

#[test]
fn every_type_that_shows_something_is_a_door_that_is_watched() {
    let mut shows = BTreeSet::new();
    for row in crate::feature().rows {
        let mut generator = schemars::SchemaGenerator::default();
        (row.spec.reply_schema)(&mut generator);
        row.spec.tells.iter().for_each(|told| drop((told.body_schema)(&mut generator)));
        if generator.definitions().keys().any(|name| SHOWN.contains(&name.as_str())) {
            shows.insert(row.spec.message_type);
        }
    }
    let watched: BTreeSet<&str> = DOORS.iter().map(|(message_type, _)| *message_type).collect();
    let unwatched: Vec<_> = shows.difference(&watched).collect();
    assert!(
        unwatched.is_empty(),
        "{unwatched:?} show posts, comments or people: put each through common/src/model/sight, add it to the matrix \
         of this file (or say in DOORS why it needs none)"
    );
    let gone: Vec<_> = watched.difference(&shows).collect();
    assert!(gone.is_empty(), "{gone:?} show nothing any more: take them out of DOORS");
}
