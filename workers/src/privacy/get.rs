//! `privacy.get`: what the sender lets others see and do.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::Table;

use crate::privacy::settings::OnePrivacy;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PrivacyGet {}

impl MessageType for PrivacyGet {
    const TYPE: &'static str = "privacy.get";
    const SUMMARY: &'static str = "What the sender lets others see and do.";
    const READS: bool = true;
    type Body = Self;
    type Reply = OnePrivacy;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePrivacy>, Failure> {
        let found = cx.tables.get(Table::Relationships, privacy::key(&request.from)).await?;
        Ok(Outcome::read(OnePrivacy::of(Privacy::parse(found)?)))
    }
}
