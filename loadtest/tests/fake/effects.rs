//! What messages do to the fake's users, and what comes into their inboxes.

use std::collections::HashSet;

use serde_json::{Value, json};
use soundoff_common::protocol::{now_ms, rfc3339};
use tokio::sync::mpsc::UnboundedSender;

use super::{Seen, Session};

/// A user's inbox, and the sockets that get its entries.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    entries: Vec<Value>,
    sockets: Vec<UnboundedSender<Value>>,
}

impl Inbox {
    /// The newest entry's number.
    pub(super) fn cursor(&self) -> usize {
        self.entries.len()
    }

    /// The entries after one.
    pub(super) fn after(&self, cursor: usize) -> Vec<Value> {
        self.entries.iter().skip(cursor).cloned().collect()
    }

    /// From now on this socket gets new entries.
    pub(super) fn tell(&mut self, socket: UnboundedSender<Value>) {
        self.sockets.push(socket);
    }

    fn push(&mut self, push_type: &str, body: &Value) {
        let seq = self.entries.len() + 1;
        let push = json!({ "op": "push", "seq": seq, "type": push_type, "mid": "01J", "body": body });
        self.sockets.retain(|socket| socket.send(push.clone()).is_ok());
        self.entries.push(push);
    }
}

impl Session {
    /// Does what a message asks for, and returns the body of its reply.
    pub(super) fn effect(&self, seen: &mut Seen, frame: &Value, lie: bool) -> Value {
        let body = &frame["body"];
        let other = body["user"].as_str().unwrap_or_default();
        match frame["type"].as_str().unwrap() {
            "follow.add" => {
                if !lie {
                    seen.follows.entry(self.user.clone()).or_default().insert(other.to_owned());
                }
                json!({ "user": other })
            }
            "follow.remove" => {
                seen.follows.entry(self.user.clone()).or_default().remove(other);
                json!({ "user": other })
            }
            "timeline.fetch" => self.timeline(seen),
            "profile.get" => {
                let following = seen.follows.get(other).map_or(0, HashSet::len);
                let followers = seen.follows.values().filter(|follows| follows.contains(other)).count();
                let wrong = self.faults.wrong_profile;
                let wrong = wrong > 0 && seen.sends.is_multiple_of(wrong);
                let handle = if wrong { "nobody" } else { other };
                json!({ "user": { "handle": handle, "followers": followers, "following": following } })
            }
            "post.create" => {
                let id = format!("p{}", seen.authors.len());
                seen.authors.insert(id.clone(), self.user.clone());
                json!({ "post": self.post(&id, &body["text"]) })
            }
            "like.add" => json!({ "post": body["post"], "likes": 1 }),
            "comment.create" => {
                let author = seen.authors[body["post"].as_str().unwrap()].clone();
                let comment = json!({ "post": body["post"], "author": self.user, "text": body["text"] });
                let body = json!({ "comment": comment });
                seen.inboxes.entry(author).or_default().push("comment.created", &body);
                body
            }
            "dm.send" => self.dm(seen, body),
            _ => json!({}),
        }
    }

    /// A direct message. The faults decide how often and in which order it is pushed.
    fn dm(&self, seen: &mut Seen, body: &Value) -> Value {
        let dms = seen.types["dm.send"];
        let mut hits = |name, every: u64| {
            let hit = every > 0 && dms.is_multiple_of(every);
            *seen.faults.entry(name).or_default() += u64::from(hit);
            hit
        };
        let lost = hits("dm_lost", self.faults.dm_lost);
        let twice = hits("dm_twice", self.faults.dm_twice);
        let late = hits("dm_late", self.faults.dm_late);
        let to = body["to"].as_str().unwrap().to_owned();
        let message = json!({ "id": "1", "from": self.user, "to": to, "text": body["text"] });
        let reply = json!({ "message": message });
        let between = (self.user.clone(), to.clone());
        let held = if late { None } else { seen.held.remove(&between) };
        let inbox = seen.inboxes.entry(to).or_default();
        if late {
            seen.held.insert(between, reply.clone());
        } else if !lost {
            inbox.push("dm.received", &reply);
        }
        for again in twice.then(|| reply.clone()).into_iter().chain(held) {
            inbox.push("dm.received", &again);
        }
        seen.inboxes.entry(self.user.clone()).or_default().push("dm.sent", &reply);
        reply
    }

    fn post(&self, id: &str, text: &Value) -> Value {
        json!({ "id": id, "author": self.user, "text": text, "created_at": rfc3339(0), "likes": 0, "comments": 0 })
    }

    /// It is gathered at once when it was computed with other follows; that also computes it for the next time.
    fn timeline(&self, seen: &mut Seen) -> Value {
        let follows = seen.follows.get(&self.user).map_or(0, HashSet::len);
        let computed = seen.timelines.get(&self.user).filter(|(of, _)| *of == follows);
        let at = computed.map_or_else(now_ms, |(_, at)| *at);
        seen.timelines.insert(self.user.clone(), (follows, at));
        let fetches = seen.types["timeline.fetch"];
        let bad = self.faults.bad_page > 0 && fetches.is_multiple_of(self.faults.bad_page);
        *seen.faults.entry("bad_page").or_default() += u64::from(bad);
        let item = |n: usize| {
            let why = json!({ "age": if bad { 0.25 } else { 0.5 }, "affinity": 0.5, "popularity": 0 });
            json!({ "post": self.post(&n.to_string(), &json!("")), "score": 1, "why": why })
        };
        let items: Vec<Value> = (0..follows.min(20)).map(item).collect();
        json!({ "items": items, "next": null, "computed_at": rfc3339(at) })
    }
}
