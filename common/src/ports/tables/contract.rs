//! The suite of [`Tables`](super::Tables): functions for each law, for every adapter.
//!
//! Each test works in partitions of its own, so that all may run at once against one shared engine.

use std::sync::Arc;

use async_trait::async_trait;
use ulid::Ulid;

use super::{Item, Key, Table, Tables, Write};

mod model;
mod reads;
mod writes;

pub use model::random_operations_agree_with_a_model;
pub use reads::{
    get_many_answers_in_order, partitions_are_apart, query_bounds_and_limits, query_orders_by_bytes,
    reads_refuse_invalid_calls, scan_answers_everything_once, writes_are_seen_at_once,
};
pub use writes::{
    changes_do_what_they_say, compare_and_set_has_one_winner, conditions_hold_as_they_say,
    handed_over_writes_are_judged_in_order, increments_add_up, invalid_writes_change_nothing,
    survives_reopening, transactions_are_all_or_nothing, unexpired_items_stay,
};

/// How a test gets the adapter.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The tables. They may hold other tests' items.
    async fn open(&self) -> Arc<dyn Tables>;

    /// The same data through a new adapter, as after a restart.
    async fn reopen(&self, tables: Arc<dyn Tables>) -> Arc<dyn Tables>;
}

fn partition(name: &str) -> String {
    format!("{name}-{}", Ulid::generate())
}

fn numbered(n: u64) -> Item {
    Item::new().with("n", n)
}

async fn put(tables: &dyn Tables, table: Table, pk: &str, sk: &str, item: Item) {
    tables.write(vec![Write::put(table, Key::new(pk, sk), item)]).await.expect("law 1: a valid put is Ok");
}

async fn get(tables: &dyn Tables, table: Table, pk: &str, sk: &str) -> Option<Item> {
    tables.get(table, Key::new(pk, sk)).await.expect("a valid get is Ok")
}
