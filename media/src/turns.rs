//! Whose turn it is: few pictures of one user are in the check's queue at once, so that nobody's stand before others'.
//!
//! Of a medium whose turn has not come no message is on the queue. Who ends a turn looks afterwards who has one now, and
//! queues the messages for those; who waits has looked after its own row was there. So one of the two sees the other.

use std::sync::Arc;

use soundoff_common::model::media::{self, State, Stored};
use soundoff_common::model::media_checks::{AT_ONCE, turn_key, turn_of, turns, turns_before};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::worker::Outward;
use soundoff_common::ports::tables::{Item, Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, now_ms};
use ulid::Ulid;

use crate::items;
use crate::messages::ask_for_check;

/// After this time it is looked whether somebody who has its turn is still there, in milliseconds.
const STALE_MS: u64 = 60_000;

/// The turns of all users.
pub(crate) struct Turns {
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) outward: Outward,
}

impl Turns {
    /// Queues the check of a medium if its turn has come. Otherwise that is done when another turn ends.
    pub(crate) async fn ask(&self, id: Ulid, stored: &Stored) -> Result<(), Failure> {
        if self.has(id, stored).await? {
            ask_for_check(&self.outward, id, &stored.owner).await
        } else {
            Ok(())
        }
    }

    /// Whether the turn of a medium has come.
    pub(crate) async fn has(&self, id: Ulid, stored: &Stored) -> Result<bool, Failure> {
        // None in media of 0.1.0.
        let Some(since) = stored.turn else { return Ok(true) };
        let before = self.tables.query(turns_before(&stored.owner, since, id)).await?.items;
        if before.len() < AT_ONCE {
            return Ok(true);
        }
        let mut is_free = false;
        for (sk, _) in &before {
            is_free |= self.frees(&stored.owner, sk).await?;
        }
        Ok(is_free)
    }

    /// Looks after a turn that has lasted long: returns whether it is over. The process that had it may have died.
    async fn frees(&self, owner: &Handle, sk: &str) -> Result<bool, Failure> {
        let Some((id, since)) = turn_of(sk).filter(|(_, since)| now_ms() > since + STALE_MS) else {
            return Ok(false);
        };
        match items::read(&*self.tables, id).await?.filter(|stored| stored.state == State::Checking) {
            // Its message was perhaps never queued.
            Some(Stored { check: None, .. }) => {
                ask_for_check(&self.outward, id, owner).await?;
                Ok(false)
            }
            _ => {
                self.end(owner, id, since).await?;
                Ok(true)
            }
        }
    }

    /// Lets a medium whose bytes are not there take no turn from others.
    pub(crate) async fn pass_on(&self, id: Ulid, stored: &Stored) -> Result<(), Failure> {
        let Some(since) = stored.turn else { return Ok(()) };
        self.end(&stored.owner, id, since).await?;
        self.next(&stored.owner).await
    }

    async fn end(&self, owner: &Handle, id: Ulid, since: u64) -> Result<(), TableError> {
        self.tables.write(vec![Write::delete(Table::Entities, turn_key(owner, since, id))]).await
    }

    /// Asks for the check of all media of a user whose turn has come and that nobody checks yet. Some may be asked for
    /// twice: the first message does it.
    pub(crate) async fn next(&self, owner: &Handle) -> Result<(), Failure> {
        loop {
            let rows = self.tables.query(turns(owner)).await?.items;
            let rows: Vec<(Ulid, u64)> = rows.iter().filter_map(|(sk, _)| turn_of(sk)).collect();
            if rows.is_empty() {
                return Ok(());
            }
            let keys: Vec<_> = rows.iter().map(|(id, _)| (Table::Entities, media::key(*id))).collect();
            let mut is_free = false;
            for ((id, since), found) in rows.into_iter().zip(self.tables.get_many(&keys).await?) {
                let stored: Option<Stored> = found.map(Item::parse).transpose()?;
                match stored.filter(|stored| stored.state == State::Checking) {
                    Some(Stored { check: None, .. }) => ask_for_check(&self.outward, id, owner).await?,
                    Some(_) => {}
                    // Left over by a process of 0.1.0, which knows no turns.
                    None => {
                        self.end(owner, id, since).await?;
                        is_free = true;
                    }
                }
            }
            if !is_free {
                return Ok(());
            }
        }
    }
}
