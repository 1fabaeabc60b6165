//! The laws of the Queues port on the embedded log.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::ports::queues::contract::{self, Harness};
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_embedded::queues::{EmbeddedQueues, Options};
use tempfile::TempDir;

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("queues")
    }

    fn open(&self) -> Arc<EmbeddedQueues> {
        let queues = [QueueName::new("alpha_q"), QueueName::new("beta_q")];
        // Small enough that every law meets rotation, compaction and bodies that are no more in memory.
        let options = Options { memory_bytes: 64, segment_bytes: 2048, ..Options::default() };
        EmbeddedQueues::open(&self.path(), &queues, options).expect("the log opens")
    }
}

#[async_trait]
impl Harness for Directory {
    async fn fresh(&self) -> Arc<dyn Queues> {
        self.open()
    }

    async fn restarted(&self, queues: Arc<dyn Queues>) -> Arc<dyn Queues> {
        assert_eq!(Arc::strong_count(&queues), 1, "the last handle: dropping it ends the writer");
        drop(queues);
        self.open()
    }
}

#[tokio::test]
async fn send_answers_per_entry() {
    contract::send_answers_per_entry(&Directory::new()).await;
}

#[tokio::test]
async fn sent_survives_a_restart() {
    contract::sent_survives_a_restart(&Directory::new()).await;
}

#[tokio::test]
async fn hidden_until_visibility_lapses() {
    contract::hidden_until_visibility_lapses(&Directory::new()).await;
}

#[tokio::test]
async fn receive_is_bounded() {
    contract::receive_is_bounded(&Directory::new()).await;
}

#[tokio::test]
async fn receive_wakes_at_once() {
    contract::receive_wakes_at_once(&Directory::new()).await;
}

#[tokio::test]
async fn receive_wakes_for_a_lapse() {
    contract::receive_wakes_for_a_lapse(&Directory::new()).await;
}

#[tokio::test]
async fn ack_is_for_good() {
    contract::ack_is_for_good(&Directory::new()).await;
}

#[tokio::test]
async fn ack_takes_stale_receipts() {
    contract::ack_takes_stale_receipts(&Directory::new()).await;
}

#[tokio::test]
async fn acked_stays_away_after_a_restart() {
    contract::acked_stays_away_after_a_restart(&Directory::new()).await;
}

#[tokio::test]
async fn extend_replaces_visibility() {
    contract::extend_replaces_visibility(&Directory::new()).await;
}

#[tokio::test]
async fn stale_extend_changes_nothing() {
    contract::stale_extend_changes_nothing(&Directory::new()).await;
}

#[tokio::test]
async fn attempts_are_counted() {
    contract::attempts_are_counted(&Directory::new()).await;
}

#[tokio::test]
async fn bury_moves_to_the_dead_letters() {
    contract::bury_moves_to_the_dead_letters(&Directory::new()).await;
}

#[tokio::test]
async fn redrive_brings_back() {
    contract::redrive_brings_back(&Directory::new()).await;
}

#[tokio::test]
async fn redriven_ignores_old_receipts() {
    contract::redriven_ignores_old_receipts(&Directory::new()).await;
}

#[tokio::test]
async fn unacked_is_visible_after_a_restart() {
    contract::unacked_is_visible_after_a_restart(&Directory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_receivers_share() {
    contract::many_receivers_share(&Directory::new()).await;
}

#[tokio::test]
async fn unknown_queues_are_refused() {
    contract::unknown_queues_are_refused(&Directory::new()).await;
}
