//! The embedded tables, by the port's laws.

use std::sync::Arc;

use async_trait::async_trait;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::tables::contract::{self, Harness};
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use tempfile::TempDir;

struct Local(TempDir);

impl Local {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }
}

#[async_trait]
impl Harness for Local {
    async fn open(&self) -> Arc<dyn Tables> {
        EmbeddedTables::open(self.0.path(), &TableOptions::default()).unwrap()
    }

    async fn reopen(&self, tables: Arc<dyn Tables>) -> Arc<dyn Tables> {
        drop(tables);
        self.open().await
    }
}

#[tokio::test]
async fn survives_reopening() {
    contract::survives_reopening(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_add_up() {
    contract::increments_add_up(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_and_set_has_one_winner() {
    contract::compare_and_set_has_one_winner(&Local::new()).await;
}

#[tokio::test]
async fn transactions_are_all_or_nothing() {
    contract::transactions_are_all_or_nothing(&Local::new()).await;
}

#[tokio::test]
async fn conditions_hold_as_they_say() {
    contract::conditions_hold_as_they_say(&Local::new()).await;
}

#[tokio::test]
async fn changes_do_what_they_say() {
    contract::changes_do_what_they_say(&Local::new()).await;
}

#[tokio::test]
async fn invalid_writes_change_nothing() {
    contract::invalid_writes_change_nothing(&Local::new()).await;
}

#[tokio::test]
async fn unexpired_items_stay() {
    contract::unexpired_items_stay(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_seen_at_once() {
    contract::writes_are_seen_at_once(&Local::new()).await;
}

#[tokio::test]
async fn get_many_answers_in_order() {
    contract::get_many_answers_in_order(&Local::new()).await;
}

#[tokio::test]
async fn query_orders_by_bytes() {
    contract::query_orders_by_bytes(&Local::new()).await;
}

#[tokio::test]
async fn query_bounds_and_limits() {
    contract::query_bounds_and_limits(&Local::new()).await;
}

#[tokio::test]
async fn partitions_are_apart() {
    contract::partitions_are_apart(&Local::new()).await;
}

#[tokio::test]
async fn reads_refuse_invalid_calls() {
    contract::reads_refuse_invalid_calls(&Local::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scan_answers_everything_once() {
    contract::scan_answers_everything_once(&Local::new()).await;
}

#[tokio::test]
async fn random_operations_agree_with_a_model() {
    for seed in [1, 20_261_122] {
        contract::random_operations_agree_with_a_model(&Local::new(), seed).await;
    }
}

#[tokio::test]
async fn handed_over_writes_are_judged_in_order() {
    contract::handed_over_writes_are_judged_in_order(&Local::new()).await;
}
