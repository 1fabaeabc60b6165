//! Who sees what, as simple code: what people have said, and a rule for each door.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A post, and what decides who sees it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) author: String,
    pub(crate) audience: &'static str,
    pub(crate) state: &'static str,
    pub(crate) comments: Vec<String>,
}

/// What a user lets others see and do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) private: bool,
    pub(crate) dm_from: &'static str,
    pub(crate) comment_from: &'static str,
}

type Pair = (String, String);

/// All that people have said.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) posts: BTreeMap<String, Post>,
    pub(crate) follows: BTreeSet<Pair>,
    pub(crate) asked: BTreeSet<Pair>,
    pub(crate) close: BTreeSet<Pair>,
    pub(crate) blocks: BTreeSet<Pair>,
    pub(crate) settings: BTreeMap<String, Settings>,
}

fn pair(a: &str, b: &str) -> Pair {
    (a.to_owned(), b.to_owned())
}

impl World {
    pub(crate) fn follows(&self, a: &str, b: &str) -> bool {
        self.follows.contains(&pair(a, b))
    }

    pub(crate) fn blocked(&self, a: &str, b: &str) -> bool {
        self.blocks.contains(&pair(a, b)) || self.blocks.contains(&pair(b, a))
    }

    pub(crate) fn settings(&self, who: &str) -> Settings {
        let open = Settings { private: false, dm_from: "everyone", comment_from: "everyone" };
        self.settings.get(who).cloned().unwrap_or(open)
    }

    /// Whether a reader sees a post: one that they name, or one that is chosen for them.
    pub(crate) fn sees(&self, reader: &str, post: &str, chosen: bool) -> bool {
        let Post { author, state, .. } = &self.posts[post];
        if *state == "deleted" {
            return false;
        }
        if reader == author || (reader == "modmo" && !chosen) {
            return true;
        }
        self.sees_as_others(reader, post, chosen)
    }

    /// The same of one who is no moderator.
    pub(crate) fn sees_as_others(&self, reader: &str, post: &str, chosen: bool) -> bool {
        let Post { author, audience, state, .. } = &self.posts[post];
        if reader == author {
            return *state != "deleted";
        }
        let shown = *state == "shown" || (*state == "limited" && !chosen);
        let theirs = match *audience {
            "everyone" => self.opens(reader, author),
            "followers" => self.follows(reader, author),
            _ => self.close.contains(&pair(author, reader)),
        };
        shown && theirs && !self.blocked(reader, author)
    }

    /// Whether a reader sees what a user shows to everyone.
    pub(crate) fn opens(&self, reader: &str, user: &str) -> bool {
        reader == user
            || (!self.blocked(reader, user) && (!self.settings(user).private || self.follows(reader, user)))
    }

    /// Whether a user takes something of another.
    pub(crate) fn takes(&self, user: &str, of: &str, from: &str) -> bool {
        let (follower, followed) = (self.follows(of, user), self.follows(user, of));
        user == of
            || match from {
                "everyone" => true,
                "followers" => follower,
                "following" => followed,
                "mutuals" => follower && followed,
                _ => false,
            }
    }

    /// What `follow.add` answers.
    pub(crate) fn follow(&mut self, from: &str, to: &str) -> Result<&'static str, &'static str> {
        if self.blocked(from, to) {
            return Err("forbidden");
        }
        if self.settings(to).private && !self.follows(from, to) {
            self.asked.insert(pair(from, to));
            return Ok("requested");
        }
        self.asked.remove(&pair(from, to));
        self.follows.insert(pair(from, to));
        Ok("following")
    }

    pub(crate) fn unfollow(&mut self, from: &str, to: &str) {
        self.follows.remove(&pair(from, to));
        self.asked.remove(&pair(from, to));
    }

    pub(crate) fn block(&mut self, from: &str, to: &str) {
        self.unfollow(from, to);
        self.unfollow(to, from);
        self.blocks.insert(pair(from, to));
    }

    /// What `request.accept` answers.
    pub(crate) fn accept(&mut self, me: &str, who: &str) -> Result<&'static str, &'static str> {
        if self.follows(who, me) {
            return Ok("following");
        }
        if !self.asked.remove(&pair(who, me)) {
            return Err("not_found");
        }
        self.follows.insert(pair(who, me));
        Ok("following")
    }

    /// All who have asked follow a user who is private no longer.
    pub(crate) fn unlock(&mut self, me: &str) {
        let asked: Vec<Pair> = self.asked.iter().filter(|(_, to)| to == me).cloned().collect();
        for (from, to) in asked {
            self.asked.remove(&(from.clone(), to.clone()));
            self.follows.insert((from, to));
        }
    }

    /// What one says about a post: the code of its refusal, if it is refused.
    pub(crate) fn refusal(&self, who: &str, post: &str, act: &str) -> Option<&'static str> {
        let author = &self.posts[post].author;
        if self.posts[post].state == "deleted" {
            return Some("not_found");
        }
        if self.blocked(who, author) {
            return Some("forbidden");
        }
        if !self.sees_as_others(who, post, false) {
            return Some("not_found");
        }
        let comments = act == "comment.create";
        (comments && !self.takes(author, who, self.settings(author).comment_from)).then_some("forbidden")
    }

    /// The comments of a post that a reader sees, newest first.
    pub(crate) fn comments(&self, reader: &str, post: &str) -> Vec<Value> {
        let by = self.posts[post].comments.iter().rev();
        by.filter(|by| *by == reader || !self.blocked(reader, by)).map(|by| json!(by)).collect()
    }
}
