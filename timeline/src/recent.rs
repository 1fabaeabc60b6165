//! Notes what fan-outs report in the rings: new and deleted posts.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::model::ids;
use soundoff_common::model::posts::PostFanout;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::ports::cache::Cache;

use crate::name::Name;
use crate::rings::{self, Note};

/// Writes the rings.
pub(crate) struct Recent {
    cache: Arc<dyn Cache>,
}

impl Recent {
    pub(crate) fn new(cache: &Arc<dyn Cache>) -> Self {
        Self { cache: cache.clone() }
    }

    async fn note(&self, notes: Vec<Note>) -> Result<(), Failure> {
        Ok(rings::append(&*self.cache, &notes).await?)
    }
}

/// The note of a fan-out's first page; later pages are about the same post. What moderators decide is looked up when a
/// post is shown. A post in a group is on the group's list, and on no other.
fn noted(envelope: &Envelope, page: &PostFanout) -> Option<Note> {
    if page.before.is_some() || page.decided {
        return None;
    }
    let post = ids::parse(&page.post)?;
    let author = match &page.group {
        Some(group) => Name::group(ids::parse(group)?),
        None => Name::User(envelope.from.clone()),
    };
    Some(Note { author, post, news: page.news })
}

#[async_trait]
impl EnvelopeJob for Recent {
    type Body = PostFanout;

    async fn work(&self, envelope: &Envelope, page: PostFanout) -> Result<(), Failure> {
        self.note(noted(envelope, &page).into_iter().collect()).await
    }

    /// Many notes in one write of each ring.
    const TOGETHER: bool = true;

    async fn work_together(&self, batch: &[(Envelope, PostFanout)]) -> Option<Result<(), Failure>> {
        let notes = batch.iter().filter_map(|(envelope, page)| noted(envelope, page));
        Some(self.note(notes.collect()).await)
    }
}
