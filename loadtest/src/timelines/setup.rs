//! The users who take part: authors who have posted, and groups of readers who follow the first 10, 1,000, … of them.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use soundoff_common::protocol::{Handle, now_ms};
use tokio::sync::watch;

use super::args::TimelinesArgs;
use crate::report::Progress;
use crate::server::Server;
use crate::turns::{Judge, Message, Tally, Turn, Turns, any_reply};

/// Messages per socket that may wait for their reply.
const IN_FLIGHT: usize = 8;

/// A user who can say hello.
#[derive(Debug, Clone)]
pub(super) struct User {
    /// Their handle.
    pub(super) handle: Handle,
    /// Their token.
    pub(super) token: String,
}

/// Readers who follow the same number of authors.
#[derive(Debug)]
struct Group {
    follows: u32,
    readers: Vec<User>,
}

/// All who take part.
#[derive(Debug)]
pub(super) struct Cast {
    /// Those who post.
    pub(super) authors: Vec<User>,
    /// The account that is followed and unfollowed to make a computed timeline useless.
    pub(super) extra: Handle,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct ProfileReply {
    user: Profile,
}

#[derive(Deserialize)]
struct Profile {
    following: u32,
}

impl Cast {
    /// Creates the users that do not exist. `follows` must rise.
    ///
    /// # Errors
    /// The prefix does not give valid handles, or the server gives no tokens.
    pub(super) async fn create(args: &TimelinesArgs, server: &Server) -> Result<Self> {
        let handle = |rest: String| {
            let handle = format!("{}{rest}", args.prefix);
            handle
                .parse::<Handle>()
                .with_context(|| format!("{handle:?} is no handle: choose another --prefix"))
        };
        let most = *args.follows.last().context("--follows names no group")?;
        let mut names: Vec<String> = (0..most).map(|n| format!("a{n:05}")).collect();
        for follows in &args.follows {
            names.extend((0..args.readers).map(|n| format!("r{follows}_{n:02}")));
        }
        names.push("extra".to_owned());
        let handles = names.into_iter().map(handle).collect::<Result<Vec<_>>>()?;
        let creating = Progress::new("users", handles.len() as u64);
        let tokens = server.tokens(&handles, |done| creating.set(done as u64)).await?;
        creating.finish();
        let mut users = handles.into_iter().zip(tokens).map(|(handle, token)| User { handle, token });
        let authors = users.by_ref().take(most as usize).collect();
        let group = |follows: &u32| Group {
            follows: *follows,
            readers: users.by_ref().take(args.readers as usize).collect(),
        };
        let groups = args.follows.iter().map(group).collect();
        let extra = users.next().context("one more was named")?.handle;
        Ok(Self { authors, extra, groups })
    }

    /// The readers with the index of their group, the groups in turn.
    pub(super) fn seats(&self) -> Vec<(usize, &User)> {
        let readers = self.groups.iter().map(|group| group.readers.len()).max().unwrap_or(0);
        let row = |n: usize| self.groups.iter().enumerate().map(move |(at, group)| (at, &group.readers[n]));
        (0..readers).flat_map(row).collect()
    }

    /// Makes the authors post and the readers follow, and reads back that they do.
    ///
    /// # Errors
    /// A message is refused, nothing moves any more, or a reader follows a wrong number of accounts at the end.
    pub(super) async fn prepare(
        &self,
        args: &TimelinesArgs,
        server: &Arc<Server>,
        stop: &watch::Receiver<bool>,
    ) -> Result<()> {
        let turns = Arc::new(Turns {
            server: server.clone(),
            sockets: args.sockets as usize,
            in_flight: IN_FLIGHT,
            stop: stop.clone(),
            retries: Arc::default(),
        });
        if !args.skip_setup {
            all(&turns, "posts", self.posts(args.posts), &any_reply()).await?;
        }
        all(&turns, "follows", self.follows(!args.skip_setup), &any_reply()).await?;
        let judge: Judge = Arc::new(judge);
        all(&turns, "read back", self.reads(), &judge).await.with_context(|| {
            let way_out =
                if args.skip_setup { "run it once without --skip-setup" } else { "choose another --prefix" };
            format!("the readers do not follow whom they must: {way_out}")
        })
    }

    fn posts(&self, posts: u32) -> Vec<Turn> {
        let turn = |author: &User| {
            let messages = (1..=posts).map(|n| Message {
                id: format!("timelines:post:{n}"),
                message_type: "post.create",
                body: json!({ "text": format!("Post {n} of {}", author.handle) }),
            });
            author.turn(messages.collect())
        };
        self.authors.iter().map(turn).collect()
    }

    /// Turns of the readers who follow authors. All of them unfollow the extra account, which an earlier run may have
    /// left followed.
    fn follows(&self, all: bool) -> Vec<Turn> {
        let stamp = now_ms();
        let readers =
            self.groups.iter().rev().flat_map(|group| group.readers.iter().map(|r| (group.follows, r)));
        let turn = |(follows, reader): (u32, &User)| {
            let authors = self.authors.iter().take(if all { follows as usize } else { 0 });
            let mut messages: Vec<Message> = authors
                .map(|author| Message {
                    id: format!("timelines:follow:{}", author.handle),
                    message_type: "follow.add",
                    body: json!({ "user": author.handle }),
                })
                .collect();
            messages.push(Message {
                id: format!("timelines:{stamp:x}:extra"),
                message_type: "follow.remove",
                body: json!({ "user": self.extra }),
            });
            reader.turn(messages)
        };
        readers.map(turn).collect()
    }

    fn reads(&self) -> Vec<Turn> {
        let stamp = now_ms();
        let readers = self.groups.iter().flat_map(|group| group.readers.iter().map(|r| (group.follows, r)));
        let turn = |(follows, reader): (u32, &User)| {
            let id = format!("timelines:{stamp:x}:{follows}");
            let body = json!({ "user": reader.handle });
            reader.turn(vec![Message { id, message_type: "profile.get", body }])
        };
        readers.map(turn).collect()
    }
}

impl User {
    fn turn(&self, messages: Vec<Message>) -> Turn {
        Turn { sender: self.handle.clone(), token: self.token.clone(), messages }
    }
}

/// Takes everybody's turn of one phase.
async fn all(turns: &Arc<Turns>, what: &'static str, list: Vec<Turn>, judge: &Judge) -> Result<()> {
    let messages = list.iter().map(|turn| turn.messages.len()).sum();
    let tally = Arc::new(Tally::new(what, messages));
    turns.take(list.into_iter(), &tally, judge).await?;
    tally.progress.finish();
    if tally.problems() > 0 {
        bail!("{} of {messages} {what} failed\n{}", tally.problems(), tally.named().join("\n"));
    }
    Ok(())
}

/// Compares how many a reader follows with the number that the message's id ends with.
fn judge(id: &str, body: &RawValue) -> Result<()> {
    let reply: ProfileReply = serde_json::from_str(body.get()).context("its profile cannot be read")?;
    let expected = id.rsplit(':').next().unwrap_or_default();
    let following = reply.user.following.to_string();
    ensure!(following == expected, "follows {following} accounts, not {expected}");
    Ok(())
}
