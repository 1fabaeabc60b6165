//! `post.fanout`, our own: tells the online followers of an author what has become of a post, one page of followers a message.
//!
//! A page is bounded and may be repeated; the next page is a message of its own, so that a celebrity's million followers hold up
//! nobody and a crash costs one page. What is told is what the tables say then: a post deleted meanwhile is not announced.

use futures_util::future::try_join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::catalog::Source;
use soundoff_common::handler::{Context, Event, Failure, Message, Outcome, Request, raw};
use soundoff_common::ports::tables::{Query, Table, TableError};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::follows::{self, Row};
use crate::people;
use crate::posts::{self, OnePost};

/// How many followers one message looks at.
const FOLLOWERS_AT_ONCE: usize = 500;

/// What has become of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    /// It is there: `post.created`.
    Created,
    /// It is gone: `post.deleted`.
    Deleted,
}

/// One page of a fan-out. The sender is the post's author.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PostFanout {
    /// What has become of the post.
    news: News,
    /// The post's id.
    post: String,
    /// Where in the author's followers the page before this one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

/// Nothing to say.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Nothing {}

impl PostFanout {
    /// The first page.
    pub(crate) fn starting(news: News, id: Ulid) -> Self {
        Self { news, post: id.to_string(), before: None }
    }
}

impl Message for PostFanout {
    const TYPE: &'static str = "post.fanout";
    const SUMMARY: &'static str = "Tells online followers of a post that is new or gone.";
    const QUEUE: Option<&'static str> = Some("fanout_q");
    const SOURCE: Source = Source::Internal;
    const ARCHIVED: bool = false;
    type Body = Self;
    type Reply = Nothing;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<Nothing>, Failure> {
        let (author, body) = (&request.from, &request.body);
        let id = posts::id(&body.post)?;
        // Newest first: followers who come while it runs are behind it, so it always ends.
        let partition = follows::followers(author);
        let mut query = Query::prefix(Table::Relationships, partition, follows::PREFIX, FOLLOWERS_AT_ONCE);
        query = query.newest_first();
        if let Some(before) = &body.before {
            query = query.below(before.as_str());
        }
        let post = cx.tables.get(Table::Entities, posts::key(id));
        let (post, page) = try_join(post, cx.tables.query(query)).await?;
        let Some(post) = posts::parse(post)? else { return Ok(Outcome::read(Nothing {})) };
        if post.author != *author || post.deleted != (body.news == News::Deleted) {
            return Ok(Outcome::read(Nothing {}));
        }
        let next = page.items.last().filter(|_| page.more).map(|(sk, _)| sk.clone());
        let followers: Result<Vec<Handle>, TableError> =
            page.items.into_iter().map(|(_, item)| Ok(item.parse::<Row>()?.who)).collect();
        let online = online(cx, author, followers?).await?;
        let mut outcome = Outcome::read(Nothing {});
        if !online.is_empty() {
            let event_type = match body.news {
                News::Created => "post.created",
                News::Deleted => "post.deleted",
            };
            let body = raw(&OnePost { post: post.shown(id) });
            outcome = outcome.event(Event { to: online, event_type, body });
        }
        if let Some(next) = next {
            let rest = Self { news: body.news, post: body.post.clone(), before: Some(next) };
            outcome = outcome.then(rest.follow_up());
        }
        Ok(outcome)
    }
}

/// Those of `followers` who have a socket and no block between them and the author.
async fn online(cx: &Context, author: &Handle, followers: Vec<Handle>) -> Result<Vec<Handle>, Failure> {
    if followers.is_empty() {
        return Ok(followers);
    }
    let sockets = cx.sessions.get_many(&followers).await?;
    let mut online: Vec<Handle> =
        followers.into_iter().zip(sockets).filter(|(_, s)| !s.is_empty()).map(|(who, _)| who).collect();
    let hidden = people::hidden(&*cx.tables, author, &online).await?;
    online.retain(|who| !hidden.contains(who));
    Ok(online)
}
