//! Law 14: what may not be seen is seen through no door. Random people with random relations, settings, posts and
//! decisions of a moderator; what everybody reads through every door is compared with a small model, over kills of the
//! server.

#[path = "sight/world.rs"]
mod model;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use model::{Post, Settings, World};
use rand::prelude::IndexedRandom as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use support::client::Client;
use support::web::{post as ask, sign_in};
use support::{Server, UNPACED, is_long, seed};

const PEOPLE: [&str; 6] = ["anna", "bert", "cora", "dave", "emma", "modmo"];
const FROM: [&str; 5] = ["everyone", "followers", "following", "mutuals", "nobody"];

struct Play {
    server: Server,
    sessions: BTreeMap<&'static str, Value>,
    clients: BTreeMap<&'static str, Client>,
    world: World,
    random: StdRng,
}

impl Play {
    async fn begin(random: StdRng) -> Self {
        let server = Server::start(&UNPACED);
        let mut sessions = BTreeMap::new();
        for who in PEOPLE {
            sessions.insert(who, sign_in(&server, who).await);
        }
        server.command(&["users", "role", "modmo", "moderator"]);
        let mut play = Self { server, sessions, clients: BTreeMap::new(), world: World::default(), random };
        play.connect().await;
        play
    }

    async fn connect(&mut self) {
        for who in PEOPLE {
            let session = self.sessions.get_mut(who).unwrap();
            let body = json!({ "refresh_token": session["refresh_token"] });
            *session = ask(&self.server.address, "/v1/auth/refresh", &body).await.json();
            let client = Client::hello(&self.server.address, &session["access_token"], None, None).await;
            self.clients.insert(who, client);
        }
    }

    fn two(&mut self) -> (&'static str, &'static str) {
        let mut two = PEOPLE.choose_multiple(&mut self.random, 2);
        (two.next().unwrap(), two.next().unwrap())
    }

    fn some_post(&mut self) -> Option<String> {
        let posts: Vec<&String> = self.world.posts.keys().collect();
        posts.choose(&mut self.random).map(|id| (*id).clone())
    }

    /// The reply, or the code of the refusal.
    async fn say(&mut self, who: &str, message_type: &str, body: Value) -> Result<Value, String> {
        let client = self.clients.get_mut(who).unwrap();
        let id = client.submit(message_type, body).await;
        let outcome = client.outcome(&id).await.unwrap();
        match outcome["ok"] == true {
            true => Ok(outcome["body"].clone()),
            false => Err(outcome["error"]["code"].as_str().unwrap().to_owned()),
        }
    }

    async fn relate(&mut self) {
        let (me, other) = self.two();
        let about = json!({ "user": other });
        match self.random.random_range(0..12) {
            0..4 => {
                let got = self.say(me, "follow.add", about).await.map(|reply| reply["state"].clone());
                let due = self.world.follow(me, other).map(|state| json!(state)).map_err(str::to_owned);
                assert_eq!(got, due, "{me} follows {other}");
            }
            4 => {
                self.say(me, "follow.remove", about).await.unwrap();
                self.world.unfollow(me, other);
            }
            5..7 => {
                let got = self.say(me, "request.accept", about).await.map(|reply| reply["state"].clone());
                let due = self.world.accept(me, other).map(|state| json!(state)).map_err(str::to_owned);
                assert_eq!(got, due, "{me} accepts {other}");
            }
            7 => {
                self.say(me, "request.reject", about).await.unwrap();
                self.world.unfollow(other, me);
            }
            8 => {
                let got = self.say(me, "close.add", about).await;
                assert_eq!(got.is_ok(), !self.world.blocked(me, other), "{me}'s close {other}");
                if got.is_ok() {
                    self.world.close.insert((me.to_owned(), other.to_owned()));
                }
            }
            9 => {
                self.say(me, "close.remove", about).await.unwrap();
                self.world.close.remove(&(me.to_owned(), other.to_owned()));
            }
            10 => {
                self.say(me, "block.add", about).await.unwrap();
                self.world.block(me, other);
            }
            _ => {
                self.say(me, "block.remove", about).await.unwrap();
                self.world.blocks.remove(&(me.to_owned(), other.to_owned()));
            }
        }
    }

    async fn set(&mut self) {
        let (me, _) = self.two();
        let mut settings: Settings = self.world.settings(me);
        let body = match self.random.random_range(0..4) {
            0 => {
                settings.dm_from = FROM.choose(&mut self.random).unwrap();
                json!({ "dm_from": settings.dm_from })
            }
            1 => {
                settings.comment_from = FROM.choose(&mut self.random).unwrap();
                json!({ "comment_from": settings.comment_from })
            }
            _ => {
                settings.private = !settings.private;
                json!({ "private": settings.private })
            }
        };
        self.say(me, "privacy.update", body).await.unwrap();
        self.world.settings.insert(me.to_owned(), settings.clone());
        if !settings.private {
            // Requests are accepted behind the reply.
            self.server.settled();
            self.world.unlock(me);
        }
    }

    async fn publish(&mut self) {
        let (me, other) = self.two();
        let Some(post) = self.some_post().filter(|_| self.random.random_bool(0.7)) else {
            let audience = *["everyone", "followers", "close"].choose(&mut self.random).unwrap();
            let body = json!({ "text": format!("of {me}"), "audience": audience });
            let made = self.say(me, "post.create", body).await.unwrap();
            let id = made["post"]["id"].as_str().unwrap().to_owned();
            let post = Post { author: me.to_owned(), audience, state: "shown", comments: Vec::new() };
            self.world.posts.insert(id, post);
            return;
        };
        let about = json!({ "post": post, "text": "x" });
        match self.random.random_range(0..8) {
            0..3 => {
                let act = if self.random.random_bool(0.5) { "like.add" } else { "comment.create" };
                let got = self.say(me, act, about).await;
                let due = self.world.refusal(me, &post, act);
                assert_eq!(got.clone().err().as_deref(), due, "{me} {act} {:?}", self.world.posts[&post]);
                if got.is_ok() && act == "comment.create" {
                    self.world.posts.get_mut(&post).unwrap().comments.push(me.to_owned());
                }
            }
            3 => {
                let author = self.world.posts[&post].author.clone();
                let got = self.say(&author, "post.delete", about).await;
                assert_eq!(got.is_ok(), self.world.posts[&post].state != "deleted");
                self.world.posts.get_mut(&post).unwrap().state = "deleted";
            }
            4..6 => {
                let state = *["hidden", "held", "limited", "shown"].choose(&mut self.random).unwrap();
                let (message_type, body) = match state {
                    "shown" => ("post.restore", json!({ "post": post })),
                    state => ("post.remove", json!({ "post": post, "state": state })),
                };
                let got = self.say("modmo", message_type, body).await;
                let known = self.world.posts.get_mut(&post).unwrap();
                assert_eq!(got.is_ok(), known.state != "deleted", "{known:?}");
                if got.is_ok() {
                    known.state = state;
                }
            }
            _ => {
                let got = self.say(me, "dm.send", json!({ "to": other, "text": "psst" })).await;
                let from = self.world.settings(other).dm_from;
                let due = !self.world.blocked(me, other) && self.world.takes(other, me, from);
                assert_eq!(got.is_ok(), due, "{me} writes to {other}");
            }
        }
    }

    /// What somebody reads through every door.
    async fn read(&mut self, reader: &'static str) {
        let posts: Vec<String> = self.world.posts.keys().cloned().collect();
        for post in &posts {
            let about = format!("{reader}: {post} {:?}", self.world.posts[post]);
            let sees = self.world.sees(reader, post, false);
            let got = self.say(reader, "post.get", json!({ "post": post })).await;
            assert_eq!(got.err(), (!sees).then(|| "not_found".to_owned()), "{about}");
            let got = self.say(reader, "comment.list", json!({ "post": post, "limit": 100 })).await;
            let by = got.map(|list| {
                list["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["author"].clone())
                    .collect::<Vec<_>>()
            });
            let due = sees.then(|| self.world.comments(reader, post)).ok_or_else(|| "not_found".to_owned());
            assert_eq!(by, due, "comments: {about}");
        }
        for user in PEOPLE {
            let got = self.say(reader, "post.list", json!({ "user": user, "limit": 100 })).await;
            let due = match self.world.opens(reader, user) {
                true => Ok(posts
                    .iter()
                    .rev()
                    .filter(|post| {
                        self.world.posts[*post].author == user && self.world.sees(reader, post, true)
                    })
                    .map(|post| json!(post))
                    .collect::<Vec<_>>()),
                false if self.world.blocked(reader, user) => Err("not_found".to_owned()),
                false => Err("forbidden".to_owned()),
            };
            let ids = |list: Value| {
                list["items"].as_array().unwrap().iter().map(|post| post["id"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(got.map(ids), due, "{reader} lists {user}");
            let online = self.say(reader, "presence.get", json!({ "users": [user] })).await.unwrap();
            assert_eq!(online["online"] == json!([user]), self.world.opens(reader, user), "{reader}, {user}");
            let got =
                self.say(reader, "follow.list", json!({ "user": user, "direction": "followers" })).await;
            assert_eq!(got.is_ok(), self.world.opens(reader, user), "{reader} lists who follows {user}");
        }
        self.timeline(reader).await;
    }

    /// The timeline: whom they follow and themselves, all of it, and of others nothing that they may not see.
    async fn timeline(&mut self, reader: &'static str) {
        self.server.settled();
        let mut shown = BTreeSet::new();
        let mut body = json!({ "limit": 100 });
        loop {
            let page = self.say(reader, "timeline.fetch", body.clone()).await.unwrap();
            for item in page["items"].as_array().unwrap() {
                let post = item["post"]["id"].as_str().unwrap().to_owned();
                let about = format!("{reader}'s timeline: {:?}", self.world.posts[&post]);
                assert!(self.world.sees(reader, &post, true), "{about}");
                assert!(shown.insert(post), "twice: {about}");
            }
            if page["next"].is_null() {
                break;
            }
            body["before"] = page["next"].clone();
        }
        let due = self.world.posts.iter().filter(|(id, post)| {
            let theirs = post.author == reader || self.world.follows(reader, &post.author);
            theirs && self.world.sees(reader, id, true)
        });
        let missing: Vec<_> = due.filter(|(id, _)| !shown.contains(*id)).collect();
        assert!(missing.is_empty(), "{reader}'s timeline lacks {missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn law_14_what_may_not_be_seen_is_seen_through_no_door() {
    let mut random = StdRng::seed_from_u64(seed());
    let (rounds, steps) = if is_long() { (40, 30) } else { (4, 25) };
    let kill = random.random_range(0..rounds);
    let mut play = Play::begin(random).await;
    for round in 0..rounds {
        for _ in 0..steps {
            // A day has room for some posts only.
            match play.random.random_range(0..10) {
                0..4 => play.relate().await,
                4..6 => play.set().await,
                _ => play.publish().await,
            }
        }
        if round == kill || is_long() && round % 8 == 7 {
            play.server.settled();
            play.server.kill();
            play.server.restart();
            play.connect().await;
        }
        for reader in PEOPLE {
            play.read(reader).await;
        }
    }
    play.server.settled();
}
