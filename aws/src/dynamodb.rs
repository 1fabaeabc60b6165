//! [`Tables`] on DynamoDB, or on an engine with the same protocol.
//!
//! Five tables, named `<prefix><name>`, with a text partition key `pk` and a text range key `sk`. On AWS Terraform
//! makes them; elsewhere
//! [`provision`] does.

mod client;
mod expression;
mod provision;
mod read;
mod retry;
mod statement;
mod value;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use soundoff_common::ports::tables::{Item, Key, Page, Query, Table, TableError, Tables, Write};

use crate::{Aws, Meter};
use client::{client, table_name};

pub use provision::provision;

/// The tables, on DynamoDB.
#[derive(Debug)]
pub struct DynamoTables {
    client: Client,
    meter: Meter,
    budgets: retry::Budgets,
    /// Each table's name, in the order of [`Table::ALL`].
    names: [String; Table::ALL.len()],
}

impl DynamoTables {
    /// Checks that all five tables exist and have our keys.
    ///
    /// # Errors
    /// When one does not, or the engine does not answer.
    pub async fn open(aws: &Aws, prefix: &str) -> anyhow::Result<Arc<Self>> {
        let client = client(aws);
        let names = Table::ALL.map(|table| table_name(prefix, table));
        futures_util::future::try_join_all(names.iter().map(|name| provision::look(&client, name))).await?;
        Ok(Arc::new(Self { client, meter: aws.meter().clone(), budgets: retry::Budgets::default(), names }))
    }

    fn table(&self, table: Table) -> &str {
        let [users, entities, relationships, inbox, dedupe] = &self.names;
        match table {
            Table::Users => users,
            Table::Entities => entities,
            Table::Relationships => relationships,
            Table::Inbox => inbox,
            Table::Dedupe => dedupe,
        }
    }

    fn table_named(&self, name: &str) -> Result<Table, TableError> {
        let ours = Table::ALL.into_iter().find(|table| self.table(*table) == name);
        ours.ok_or_else(|| {
            TableError::Corrupt("dynamodb: an answer about a table that was not asked for".to_owned())
        })
    }
}

#[async_trait]
impl Tables for DynamoTables {
    async fn get_many(&self, keys: &[(Table, Key)]) -> Result<Vec<Option<Item>>, TableError> {
        self.get_all(keys).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.write_all(writes).await
    }

    async fn query(&self, query: Query) -> Result<Page, TableError> {
        self.range(&query).await
    }

    async fn scan(
        &self,
        table: Table,
        segment: u32,
        segments: u32,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Item)>, TableError> {
        self.part(table, (segment, segments), after, limit).await
    }
}
