//! Taking a post down for good, by its author.

use soundoff_common::model::posts::News;
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, FollowUp, Request};
use soundoff_common::pipeline::purge;
use soundoff_common::ports::tables::{Change, Table, TableError, Write};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::posts::attached;
use crate::posts::post::{self, OnePost, Stored};

/// A post that a message takes down.
pub(crate) struct Takedown {
    id: Ulid,
    post: Stored,
    /// Whether the message has taken it down before: its first run was cut off after the commit, and followers may not
    /// know yet.
    is_done: bool,
    /// The media that nobody can open any more, who could before.
    shut: Vec<Ulid>,
}

/// The messages that may follow.
pub(crate) const CAUSES: &[&str] = &[post::FANOUT, purge::PURGE];

impl Takedown {
    /// The post that a body names, unless another message has taken it down.
    pub(crate) async fn of<B>(cx: &Context, request: &Request<B>, text: &str) -> Result<Self, Failure> {
        let id = post::id(text)?;
        let found = cx.tables.get(Table::Entities, post::key(id)).await?;
        let post = post::parse(found)?.ok_or_else(post::no_such_post)?;
        let is_done = post.deleted_by == Some(request.mid);
        if post.deleted && !is_done {
            return Err(post::no_such_post());
        }
        Ok(Self { id, post, is_done, shut: Vec::new() })
    }

    pub(crate) fn author(&self) -> &Handle {
        &self.post.author
    }

    /// The writes that make it a tombstone and remove it from every list; none when that is done.
    pub(crate) async fn writes<B>(
        &mut self,
        cx: &Context,
        request: &Request<B>,
    ) -> Result<Vec<Write>, TableError> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let tombstone = vec![
            Change::Set(post::attribute::DELETED, true.into()),
            Change::Set(post::attribute::DELETED_BY, request.mid.to_string().into()),
            Change::Remove(post::attribute::TEXT),
            Change::Remove(post::attribute::MEDIA),
            Change::Remove(post::attribute::REASON),
        ];
        let mut writes = vec![
            Write::update(Table::Entities, post::key(self.id), tombstone).when(self.post.as_decided()),
            Write::delete(Table::Entities, post::listed(&self.post, self.id)),
        ];
        writes.extend(post::counted(&self.post, -1));
        let was_open = self.post.is_open();
        let (released, shut) = attached::released(cx, self.author(), &self.post.media, was_open).await?;
        writes.extend(released);
        self.shut = shut;
        Ok(writes)
    }

    /// The messages that announce it: to those who may have seen it and are online, and to caches of its pictures. Known
    /// after [`Self::writes`]. If the first run was cut off after the commit, the pictures are named by their collector.
    pub(crate) fn news(&self, cx: &Context) -> Vec<FollowUp> {
        let mut news = vec![post::tell_others(&self.post, News::Deleted, self.id)];
        news.extend(purge::of_media(cx, self.author(), &self.shut));
        news
    }

    /// The reply to the sender.
    pub(crate) fn reply(self, cx: &Context) -> OnePost {
        OnePost { post: sight::own(self.post, self.id, false, &cx.pictures) }
    }
}
