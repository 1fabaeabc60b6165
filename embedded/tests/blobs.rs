//! Blobs as files, by the port's laws.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::blobs::contract::{self, Harness};
use soundoff_embedded::blobs::FileBlobs;
use soundoff_embedded::disk::Disk;
use tempfile::TempDir;

struct Local(TempDir);

impl Local {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }
}

#[async_trait]
impl Harness for Local {
    async fn open(&self) -> Arc<dyn Blobs> {
        Arc::new(FileBlobs::open(self.0.path(), &Disk::default()).unwrap())
    }

    async fn reopen(&self, _: Arc<dyn Blobs>) -> Arc<dyn Blobs> {
        self.open().await
    }
}

#[tokio::test]
async fn blobs_are_what_was_put() {
    contract::blobs_are_what_was_put(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_whole_while_replaced() {
    contract::a_blob_is_whole_while_replaced(&Local::new()).await;
}

#[tokio::test]
async fn ranges_answer_their_bytes() {
    contract::ranges_answer_their_bytes(&Local::new()).await;
}

#[tokio::test]
async fn parts_become_a_blob_when_finished() {
    contract::parts_become_a_blob_when_finished(&Local::new()).await;
}

#[tokio::test]
async fn sizes_are_what_get_answers() {
    contract::sizes_are_what_get_answers(&Local::new()).await;
}

#[tokio::test]
async fn delete_is_idempotent() {
    contract::delete_is_idempotent(&Local::new()).await;
}

#[tokio::test]
async fn invalid_ids_are_refused() {
    contract::invalid_ids_are_refused(&Local::new()).await;
}

#[tokio::test]
async fn what_a_kill_left_half_written_is_cleared_away() {
    let local = Local::new();
    local.open().await.put("kept", "x".into()).await.unwrap();
    let drafts = local.0.path().join("blobs/.drafts");
    assert_eq!(std::fs::read_dir(&drafts).unwrap().count(), 0, "a put leaves no draft");
    std::fs::write(drafts.join("half.tmp"), b"half").unwrap();
    let blobs = local.open().await;
    assert_eq!(std::fs::read_dir(&drafts).unwrap().count(), 0, "the draft is gone");
    assert_eq!(blobs.get("kept", None).await.unwrap().as_deref(), Some(&b"x"[..]), "the blob is not");
}
