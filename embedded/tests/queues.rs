//! The laws of the Queues port on the embedded log.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use soundoff_common::ports::queues::contract::{self, Harness};
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_embedded::queues::{EmbeddedQueues, Options};
use tempfile::TempDir;

/// The directories of one engine: each restart continues in a new one.
struct Directory(TempDir, AtomicU32);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"), AtomicU32::new(0))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join(self.1.load(Ordering::Relaxed).to_string())
    }

    fn open(&self) -> Arc<dyn Queues> {
        let queues = [QueueName::new("alpha_q"), QueueName::new("beta_q")];
        // Small enough that every law is tested with rotation, compaction and bodies that are no longer in memory.
        let options = Options { memory_bytes: 64, segment_bytes: 2048, ..Options::default() };
        EmbeddedQueues::open(&self.path(), &queues, options).expect("the log opens")
    }
}

#[async_trait]
impl Harness for Directory {
    async fn fresh(&self) -> Arc<dyn Queues> {
        self.open()
    }

    /// Continues with the files as they are while the engine still runs: the state that `kill -9` leaves.
    async fn restarted(&self, queues: Arc<dyn Queues>) -> Arc<dyn Queues> {
        let from = self.path();
        self.1.fetch_add(1, Ordering::Relaxed);
        while copy(&from, &self.path()).is_err_and(|error| error.kind() == ErrorKind::NotFound) {}
        drop(queues);
        self.open()
    }
}

/// Copies the files, oldest first; fails with `NotFound` when the compaction removes one meanwhile.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to)?;
    let mut names =
        std::fs::read_dir(from)?.map(|file| Ok(file?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    names.iter().try_for_each(|name| std::fs::copy(from.join(name), to.join(name)).map(drop))
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
async fn one_batch_wakes_many_receivers() {
    contract::one_batch_wakes_many_receivers(&Directory::new()).await;
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
async fn given_back_counts_no_receive() {
    contract::given_back_counts_no_receive(&Directory::new()).await;
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

#[tokio::test]
async fn users_are_served_in_turn() {
    contract::users_are_served_in_turn(&Directory::new()).await;
}

#[tokio::test]
async fn what_comes_again_keeps_its_place() {
    contract::what_comes_again_keeps_its_place(&Directory::new()).await;
}
