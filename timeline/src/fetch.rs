//! `timeline.fetch`: replies with a page.

use async_trait::async_trait;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;

use crate::page::Fetch;
use crate::pager::Pager;

/// Replies with pages.
pub(crate) struct Fetching {
    pub(crate) pager: Pager,
    pub(crate) outward: Outward,
}

#[async_trait]
impl EnvelopeJob for Fetching {
    type Body = Fetch;

    async fn work(&self, envelope: &Envelope, asked: Fetch) -> Result<(), Failure> {
        let page = self.pager.page(&envelope.from, &asked).await?;
        self.outward.reply(envelope, &raw(&page)).await;
        Ok(())
    }

    fn answers(&self) -> Option<&Outward> {
        Some(&self.outward)
    }
}
