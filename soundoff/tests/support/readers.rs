//! People who read timelines over real sockets, and the model that says what they must see.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use ulid::Ulid;

use super::client::Client;
use super::model::{Item, Model};
use super::{Server, tokens};

/// Some users of one server, each on a socket, and their world's model.
pub(crate) struct Readers {
    pub(crate) names: Vec<String>,
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) model: Model,
}

/// A post's id as replies name it.
pub(crate) fn id(value: &Value) -> Ulid {
    Ulid::from_string(value.as_str().unwrap()).unwrap()
}

/// Milliseconds since 1970.
pub(crate) fn ms(time: &Value) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    time.timestamp_millis().try_into().unwrap()
}

/// An item of a page in the model's words; the parts must sum to the score.
fn item(item: &Value) -> Item {
    let unit = |value: &Value| {
        let units = value.as_f64().unwrap() * 1024.0;
        assert_eq!(units.fract(), 0.0, "not a multiple of 1/1024: {value}");
        units as u32
    };
    let why = &item["why"];
    let [age, affinity, popularity] =
        ["age", "affinity", "popularity"].map(|part| why[part].as_f64().unwrap());
    assert_eq!(age + affinity + popularity, item["score"].as_f64().unwrap(), "{item}");
    Item {
        post: id(&item["post"]["id"]),
        author: item["post"]["author"].as_str().unwrap().to_owned(),
        parts: ["age", "affinity", "popularity"].map(|part| unit(&why[part])),
    }
}

/// The items of a page in the model's words.
pub(crate) fn items(page: &Value) -> Vec<Item> {
    page["items"].as_array().unwrap().iter().map(item).collect()
}

/// Whether a page of a hundred is what a world's model says.
pub(crate) fn is_of(model: &Model, name: &str, page: &Value) -> bool {
    let mut list = model.first(name, ms(&page["computed_at"]));
    model.page(name, &mut list, 100) == items(page)
}

/// Reads a user's whole timeline while nothing happens, and compares it with the model; returns its number of items.
pub(crate) async fn hold(client: &mut Client, model: &Model, name: &str, limit: usize) -> usize {
    let mut page = client.call("timeline.fetch", json!({ "limit": limit })).await;
    let mut list = model.first(name, ms(&page["computed_at"]));
    let mut shown = 0;
    loop {
        assert_eq!(items(&page), model.page(name, &mut list, limit), "{name} after {shown} items");
        shown += items(&page).len();
        let Some(next) = page["next"].as_str() else { break };
        page = client.call("timeline.fetch", json!({ "limit": limit, "before": next })).await;
    }
    assert_eq!(list.rest, [], "{name}'s timeline ended early");
    shown
}

impl Readers {
    /// Connects `count` users whose names begin with `prefix`, and computes their timelines.
    pub(crate) async fn meet(server: &Server, prefix: &str, count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|n| format!("{prefix}{n:02}")).collect();
        let mut readers = Self::connect(server, &names).await;
        readers.compute(server, &names);
        readers
    }

    /// The same, and the first of them follows all others.
    pub(crate) async fn meet_a_follower(server: &Server, prefix: &str, count: usize) -> Self {
        let mut readers = Self::meet(server, prefix, count).await;
        let names = readers.names.clone();
        for to in &names[1..] {
            readers.follow(&names[0], to).await;
        }
        readers
    }

    /// Connects users who may exist already.
    pub(crate) async fn connect(server: &Server, names: &[String]) -> Self {
        let tokens = tokens(&server.address, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut clients = BTreeMap::new();
        for name in names {
            let client = Client::hello(&server.address, &tokens[name.as_str()], None, None).await;
            clients.insert(name.clone(), client);
        }
        Self { names: names.to_vec(), clients, model: Model::default() }
    }

    pub(crate) async fn call(&mut self, name: &str, message_type: &str, body: Value) -> Value {
        self.clients.get_mut(name).unwrap().call(message_type, body).await
    }

    /// Computes the timelines of some users, with the operators' command.
    pub(crate) fn compute(&mut self, server: &Server, names: &[String]) {
        server.settled();
        let mut command = vec!["timeline", "tick"];
        command.extend(names.iter().map(String::as_str));
        server.command(&command);
        server.settled();
        names.iter().for_each(|name| self.model.compute(name));
    }

    pub(crate) async fn post(&mut self, name: &str) -> Ulid {
        let reply = self.call(name, "post.create", json!({ "text": format!("of {name}") })).await;
        let post = id(&reply["post"]["id"]);
        self.model.posted(name, post);
        post
    }

    pub(crate) async fn follow(&mut self, from: &str, to: &str) {
        self.call(from, "follow.add", json!({ "user": to })).await;
        self.model.follow(from, to);
    }

    pub(crate) async fn delete(&mut self, post: Ulid) {
        let author = self.model.posts[&post].author.clone();
        self.call(&author, "post.delete", json!({ "post": post.to_string() })).await;
        self.model.posts.get_mut(&post).unwrap().deleted = true;
    }

    pub(crate) async fn like(&mut self, who: &str, post: Ulid) {
        self.call(who, "like.add", json!({ "post": post.to_string() })).await;
        self.model.like(who, post);
    }

    pub(crate) async fn comment(&mut self, who: &str, post: Ulid) {
        self.call(who, "comment.create", json!({ "post": post.to_string(), "text": "c" })).await;
        self.model.comment(who, post);
    }

    pub(crate) async fn block(&mut self, from: &str, to: &str) {
        self.call(from, "block.add", json!({ "user": to })).await;
        self.model.block(from, to);
    }

    /// Somebody does something at random.
    pub(crate) async fn act(&mut self, server: &Server, random: &mut StdRng) {
        let names = self.names.clone();
        let mut pair = names.choose_multiple(random, 2).cloned();
        let (who, other) = (pair.next().unwrap(), pair.next().unwrap());
        let seen: Vec<Ulid> =
            self.model.posts.keys().filter(|post| self.model.is_visible(&who, **post)).copied().collect();
        let post = seen.choose(random).copied();
        let apart = self.model.blocks.contains(&(who.clone(), other.clone()))
            || self.model.blocks.contains(&(other.clone(), who.clone()));
        match (random.random_range(0..100), post) {
            (0..40, _) => drop(self.post(&who).await),
            (40..50, Some(post)) => self.like(&who, post).await,
            (50..56, Some(post)) => self.comment(&who, post).await,
            (56..60, _) if !apart => {
                self.call(&who, "dm.send", json!({ "to": other, "text": "d" })).await;
                self.model.message(&who, &other);
            }
            (60..74, _) if !apart => self.follow(&who, &other).await,
            (74..78, _) => {
                self.call(&who, "follow.remove", json!({ "user": other })).await;
                self.model.unfollow(&who, &other);
            }
            (78..84, Some(post)) => self.delete(post).await,
            (84..86, _) => self.block(&who, &other).await,
            (86..88, _) => {
                self.call(&who, "block.remove", json!({ "user": other })).await;
                self.model.blocks.remove(&(who, other));
            }
            (88..94, _) => self.compute(server, &names),
            (94..97, _) => self.compute(server, &[who]),
            _ => {}
        }
    }

    /// Reads a user's whole timeline page by page, does `between` random things after each, and compares it with the
    /// model.
    pub(crate) async fn read(&mut self, server: &Server, name: &str, random: &mut StdRng, between: usize) {
        server.settled();
        let mut body = json!({ "limit": random.random_range(1..=40) });
        let page = self.call(name, "timeline.fetch", body.clone()).await;
        let computed = self.model.is_computed(name);
        let mut list = self.model.first(name, ms(&page["computed_at"]));
        if !computed {
            // This fetch asks for a computation, unless another did shortly before. Make sure of it, so that the model
            // knows.
            self.compute(server, &[name.to_owned()]);
        }
        let mut page = page;
        for number in 0.. {
            let expected = self.model.page(name, &mut list, body["limit"].as_u64().unwrap() as usize);
            assert_eq!(items(&page), expected, "page {number} of {name}, computed: {computed}");
            let Some(next) = page["next"].as_str() else { break };
            body = json!({ "limit": random.random_range(1..=40), "before": next });
            for _ in 0..between {
                self.act(server, random).await;
            }
            page = self.call(name, "timeline.fetch", body.clone()).await;
        }
        assert_eq!(list.rest, [], "{name}'s timeline ended early");
    }
}
