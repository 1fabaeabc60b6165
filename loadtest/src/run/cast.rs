//! The users who take part: they follow their friends and have written something before anything is measured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use soundoff_common::protocol::Handle;
use tokio::sync::watch;

use super::mix::{Kind, Mix};
use crate::client::{Client, Retries};
use crate::report::Progress;
use crate::server::Server;
use crate::turns::{Judge, Message, Tally, Turn, Turns};

/// How far a user's friends are from the user, in the circle of all users.
const FRIENDS: [u32; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// How many of the newest posts are liked and commented on.
const POSTS: usize = 4_096;

/// Sockets open at once during the preparation, and while the users connect.
const SOCKETS: usize = 64;

/// A post that can be liked.
#[derive(Debug, Clone)]
pub(super) struct Post {
    /// Its id.
    pub(super) id: String,
    /// Which user wrote it.
    pub(super) author: u32,
}

/// The newest posts of the run's users.
#[derive(Debug, Default)]
pub(super) struct Posts(Mutex<VecDeque<Post>>);

impl Posts {
    /// Adds a post.
    pub(super) fn add(&self, post: Post) {
        let mut posts = self.0.lock().expect("no thread panics while it holds the lock");
        if posts.len() == POSTS {
            posts.pop_front();
        }
        posts.push_back(post);
    }

    /// A random post that another user than `reader` has written.
    pub(super) fn pick(&self, roll: u64, reader: u32) -> Option<Post> {
        let posts = self.0.lock().expect("no thread panics while it holds the lock");
        let start = roll.checked_rem(posts.len() as u64)? as usize;
        let (before, after) = (posts.range(..start), posts.range(start..));
        after.chain(before).find(|post| post.author != reader).cloned()
    }
}

/// All users.
#[derive(Debug)]
pub(super) struct Cast {
    /// Their handles.
    pub(super) handles: Vec<Handle>,
    tokens: Vec<String>,
}

impl Cast {
    /// Asks the server to create those who do not exist yet.
    ///
    /// # Errors
    /// The server does not run, or the prefix does not give valid handles.
    pub(super) async fn create(server: &Server, prefix: &str, users: u32) -> Result<Self> {
        let handle = |n: u32| {
            let handle = format!("{prefix}{n:05}");
            handle
                .parse::<Handle>()
                .with_context(|| format!("{handle:?} is no handle: choose another --prefix"))
        };
        let handles = (0..users).map(handle).collect::<Result<Vec<_>>>()?;
        let progress = Progress::new("users", u64::from(users));
        let tokens = server.tokens(&handles, |done| progress.set(done as u64)).await?;
        progress.finish();
        Ok(Self { handles, tokens })
    }

    fn count(&self) -> u32 {
        self.handles.len() as u32
    }

    /// A random friend of a user.
    pub(super) fn friend(&self, user: u32, roll: u64) -> u32 {
        let friends = friends(user, self.count());
        friends[roll as usize % friends.len()]
    }

    /// A random other user.
    pub(super) fn stranger(&self, user: u32, roll: u64) -> u32 {
        let others = self.count() - 1;
        (user + 1 + (roll % u64::from(others)) as u32) % self.count()
    }

    /// Makes all of them follow their friends and write something, as far as the mix needs it. Repeating it changes
    /// nothing.
    ///
    /// # Errors
    /// The server refuses a message, or nothing moves any more.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        server: &Arc<Server>,
        mix: &Mix,
        stop: watch::Receiver<bool>,
    ) -> Result<Arc<Posts>> {
        let posts = Arc::new(Posts::default());
        let each = Each {
            posts: [Kind::Likes, Kind::Comments, Kind::Fetch].into_iter().any(|kind| mix.has(kind)),
            follows: mix.has(Kind::Fetch),
        };
        let per_user =
            usize::from(each.posts) + if each.follows { friends(0, self.count()).len() } else { 0 };
        if per_user == 0 {
            return Ok(posts);
        }
        let tally = Arc::new(Tally::new("preparing", per_user * self.handles.len()));
        let turns =
            Turns { server: server.clone(), sockets: SOCKETS, in_flight: 16, stop, retries: Arc::default() };
        let cast = self.clone();
        let all = (0..self.handles.len()).map(move |user| cast.turn(user as u32, each));
        Arc::new(turns).take(all, &tally, &collector(&posts)).await?;
        tally.progress.finish();
        let problems = tally.named();
        ensure!(problems.is_empty(), "cannot prepare the users: {}", problems.join("; "));
        Ok(posts)
    }

    fn turn(&self, user: u32, each: Each) -> Turn {
        let post = each.posts.then(|| Message {
            id: format!("run-post-{user}"),
            message_type: Kind::Posts.message_type(),
            body: json!({ "text": format!("Here is number {user}.") }),
        });
        let follow = |friend: u32| Message {
            id: format!("run-follow-{friend}"),
            message_type: Kind::Follows.message_type(),
            body: json!({ "user": self.handles[friend as usize] }),
        };
        let follows = friends(user, self.count()).into_iter().filter(|_| each.follows).map(follow);
        Turn {
            sender: self.handles[user as usize].clone(),
            token: self.tokens[user as usize].clone(),
            messages: post.into_iter().chain(follows).collect(),
        }
    }

    /// Opens everybody's socket.
    ///
    /// # Errors
    /// The server refuses a user, or allows less than the rate.
    pub(super) async fn connect(
        &self,
        server: &Arc<Server>,
        retries: &Arc<Retries>,
        rate: u32,
    ) -> Result<Vec<Client>> {
        let progress = Progress::new("connecting", u64::from(self.count()));
        let connecting =
            futures_util::stream::iter(self.handles.iter().zip(&self.tokens)).map(|(handle, token)| {
                let mut client = Client::new(server.clone(), token.clone(), retries.clone());
                let progress = &progress;
                async move {
                    let welcome = client.connected().await.map_err(|end| anyhow!("{handle}: {end}"))?;
                    progress.step();
                    progress.show();
                    anyhow::Ok((client, welcome.limits.messages_per_second))
                }
            });
        let connected: Vec<(Client, u32)> = connecting.buffered(SOCKETS).try_collect().await?;
        progress.finish();
        let allowed = connected.first().map_or(0, |(_, allowed)| *allowed);
        ensure!(
            u64::from(rate) <= u64::from(allowed) * u64::from(self.count()),
            "the server allows a user {allowed} messages a second: {rate} need at least {} --users",
            rate.div_ceil(allowed.max(1)),
        );
        Ok(connected.into_iter().map(|(client, _)| client).collect())
    }
}

/// What each user does in the preparation.
#[derive(Debug, Clone, Copy)]
struct Each {
    posts: bool,
    follows: bool,
}

/// The friends in a circle of users.
fn friends(user: u32, count: u32) -> Vec<u32> {
    let mut friends: Vec<u32> = FRIENDS.iter().map(|far| (user + far) % count).collect();
    friends.retain(|friend| *friend != user);
    friends.sort_unstable();
    friends.dedup();
    friends
}

/// Takes the ids of posts out of replies.
fn collector(posts: &Arc<Posts>) -> Judge {
    #[derive(Deserialize)]
    struct Posted {
        post: Post,
    }
    #[derive(Deserialize)]
    struct Post {
        id: String,
    }
    let posts = posts.clone();
    Arc::new(move |id: &str, body: &RawValue| {
        if let Some(user) = id.strip_prefix("run-post-") {
            let Posted { post } = serde_json::from_str(body.get()).context("it has no post")?;
            posts.add(super::cast::Post { id: post.id, author: user.parse()? });
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_their_own_friend_and_nobody_likes_their_own_posts() {
        for count in [2, 3, 9, 500] {
            for user in 0..count {
                let friends = friends(user, count);
                assert!(
                    !friends.is_empty() && !friends.contains(&user) && friends.iter().all(|f| *f < count)
                );
            }
        }
        let posts = Posts::default();
        assert!(posts.pick(7, 0).is_none());
        for n in 0..5_000 {
            posts.add(Post { id: n.to_string(), author: n % 2 });
        }
        let picked: Vec<Post> = (0..100).filter_map(|roll| posts.pick(roll * 77, 1)).collect();
        assert!(picked.len() == 100 && picked.iter().all(|post| post.author == 0 && post.id.len() > 2));
    }
}
