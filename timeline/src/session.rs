//! `user_session`: a user has said hello, gets the first page, and counts as active.

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::IgnoredAny;
use soundoff_common::model::accounts;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::job::EnvelopeJob;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::tables::{Change, Condition, Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, is_ahead};

use crate::page::Fetch;
use crate::pager::Pager;

/// How far `active_at` may be behind before it is written, in milliseconds.
const ACTIVE_MS: u64 = 600_000;

/// Welcomes users.
pub(crate) struct Session {
    pub(crate) pager: Pager,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) outward: Outward,
}

impl Session {
    /// Notes in the account that the user was active at `at`, in milliseconds since 1970.
    async fn note_active(&self, user: &Handle, at: u64) -> Result<(), TableError> {
        let account = self.tables.get(Table::Users, accounts::key(user)).await?;
        let active_at =
            account.and_then(|account| account.number(accounts::attribute::ACTIVE_AT)).unwrap_or(0);
        if at <= active_at + ACTIVE_MS && !is_ahead(active_at, at) {
            return Ok(());
        }
        let change = vec![Change::Set(accounts::attribute::ACTIVE_AT, at.into())];
        let write = Write::update(Table::Users, accounts::key(user), change).when(Condition::Exists);
        match self.tables.write(vec![write]).await {
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => Ok(()),
            written => written,
        }
    }
}

#[async_trait]
impl EnvelopeJob for Session {
    /// The body says nothing: any is taken.
    type Body = IgnoredAny;

    async fn work(&self, envelope: &Envelope, _: IgnoredAny) -> Result<(), Failure> {
        let page = self.pager.page(&envelope.from, &Fetch::default()).await?;
        self.note_active(&envelope.from, envelope.at).await?;
        self.outward.event(envelope, "timeline", &raw(&page)).await;
        Ok(())
    }
}
