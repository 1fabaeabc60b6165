//! `media.purge`: caches in front forget pictures that are not shown to everybody any more.
//!
//! A cache keeps what everybody may see for as long as `max-age` says. When a picture is hidden or deleted, or its owner
//! becomes private, an operator's caches are told at once, by a hook that the operator names. A cache takes a purge as
//! often as it comes, so nothing here must happen exactly once.

use std::sync::Arc;

use anyhow::anyhow;
use async_trait::async_trait;
use soundoff_common::model::media::urls;
use soundoff_common::model::{ids, posts};
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::purge::{MediaPurge, PURGE};
use soundoff_common::pipeline::worker::{Outward, Own};
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::tables::{Query, Table, TableError, Tables};
use soundoff_common::protocol::{ErrorCode, Handle, now_ms};
use ulid::Ulid;

/// How many posts of an owner are looked up at once.
const POSTS: usize = 50;

/// Tells the operator's caches what to forget.
#[async_trait]
pub trait Purger: std::fmt::Debug + Send + Sync + 'static {
    /// Has all caches in front forget what they keep of these paths on the server.
    ///
    /// # Errors
    /// Why it was not done: it is tried again.
    async fn purge(&self, urls: &[String]) -> anyhow::Result<()>;
}

/// The job.
pub(crate) struct Purge {
    tables: Arc<dyn Tables>,
    outward: Outward,
    purger: Option<Arc<dyn Purger>>,
}

/// The media of one page of posts.
struct Page {
    media: Vec<Ulid>,
    /// The last post of the page, if there are more.
    last: Option<String>,
}

impl Purge {
    pub(crate) fn new(purger: Option<Arc<dyn Purger>>, world: &World) -> Self {
        Self { tables: world.tables.clone(), outward: world.outward.clone(), purger }
    }

    async fn page(&self, owner: &Handle, before: Option<&str>) -> Result<Page, TableError> {
        let mut rows = Query::prefix(Table::Entities, posts::list_partition(owner), "", POSTS).newest_first();
        if let Some(before) = before {
            rows = rows.below(before);
        }
        let found = self.tables.query(rows).await?;
        let listed = found.items.iter().filter_map(|(sk, _)| ids::parse(sk));
        let keys: Vec<_> = listed.map(|id| (Table::Entities, posts::key(id))).collect();
        let items = if keys.is_empty() { Vec::new() } else { self.tables.get_many(&keys).await? };
        let mut media = Vec::new();
        for item in items {
            let attached = posts::parse(item)?.map(|post| post.media).unwrap_or_default();
            media.extend(attached.iter().map(|attached| attached.id));
        }
        let last = found.items.last().filter(|_| found.more).map(|(sk, _)| sk.clone());
        Ok(Page { media, last })
    }
}

#[async_trait]
impl EnvelopeJob for Purge {
    type Body = MediaPurge;

    async fn work(&self, envelope: &Envelope, body: MediaPurge) -> Result<(), Failure> {
        // The operator has taken the hook away since: then there is nothing to tell.
        let Some(purger) = &self.purger else { return Ok(()) };
        let owner = &envelope.from;
        let page = match body {
            MediaPurge::Media(texts) => {
                let parsed: Option<Vec<_>> = texts.iter().map(|text| ids::parse(text)).collect();
                let media = parsed.ok_or_else(|| Failure::reject(ErrorCode::BadMessage, "not an id"))?;
                Page { media, last: None }
            }
            MediaPurge::Posts(before) => self.page(owner, before.as_deref()).await?,
        };
        if !page.media.is_empty() {
            let urls: Vec<_> = page.media.into_iter().flat_map(urls).collect();
            let purged = purger.purge(&urls).await;
            purged.map_err(|error| {
                Failure::Retry(anyhow!("caches cannot be told to forget pictures: {error:#}"))
            })?;
        }
        let Some(last) = page.last else { return Ok(()) };
        let body = raw(&MediaPurge::Posts(Some(last)));
        let next = Own { message_type: PURGE, about: owner.clone(), user: Some(owner.clone()), body };
        self.outward.queue(vec![next], now_ms()).await
    }
}
