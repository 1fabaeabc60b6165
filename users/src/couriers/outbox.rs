use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use serde::Serialize;
use soundoff_common::lock::lock;
use soundoff_common::ports::courier::{Courier, Notice, Undelivered};
use soundoff_common::protocol::{now_ms, rfc3339};

/// How many notices are kept; the oldest are removed first.
const KEPT: usize = 500;

/// What would have been sent, for a developer to read.
#[derive(Debug, Default)]
pub struct Outbox(Mutex<VecDeque<Sent>>);

/// One notice in the outbox.
#[derive(Clone, Serialize)]
pub struct Sent {
    /// When, RFC 3339.
    pub at: String,
    /// The notice.
    #[serde(flatten)]
    pub notice: Notice,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sent({})", self.at)
    }
}

impl Outbox {
    /// The newest notices, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Sent> {
        let kept = lock(&self.0);
        kept.iter().rev().cloned().collect()
    }
}

#[async_trait]
impl Courier for Outbox {
    async fn send(&self, notice: &Notice) -> Result<(), Undelivered> {
        let mut kept = lock(&self.0);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Sent { at: rfc3339(now_ms()), notice: notice.clone() });
        Ok(())
    }
}
