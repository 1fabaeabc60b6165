//! The client, and the names of the tables.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::{Client, Config};
use soundoff_common::ports::tables::Table;

use crate::Aws;

/// A client that makes each request once: see [`super::retry`].
pub(super) fn client(aws: &Aws) -> Client {
    let config: Config = aws.dynamodb().config().to_builder().retry_config(RetryConfig::disabled()).build();
    Client::from_conf(config)
}

pub(super) fn table_name(prefix: &str, table: Table) -> String {
    format!("{prefix}{}", table.name())
}
