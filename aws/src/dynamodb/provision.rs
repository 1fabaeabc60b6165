//! Makes the tables where Terraform does not, and checks that they exist.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use soundoff_common::ports::tables::{EXPIRES, Table};
use tokio::time::Instant;

use super::client::{client, table_name};
use super::value::{PK, SK};
use crate::Aws;

/// How long a table may take to be made.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often to check whether it is ready.
const LOOK: Duration = Duration::from_millis(500);

/// Makes each of the five tables that is missing, paid by request and with `expires` as its time to live (`users` has
/// none), and waits until all are active. Tables that exist stay as they are.
///
/// # Errors
/// When the engine refuses, an existing table has other keys than ours, or one does not become active in time.
pub async fn provision(aws: &Aws, prefix: &str) -> anyhow::Result<()> {
    let client = client(aws);
    for table in Table::ALL {
        let name = table_name(prefix, table);
        make(&client, &name).await.with_context(|| format!("making the DynamoDB table {name}"))?;
    }
    for table in Table::ALL {
        let name = table_name(prefix, table);
        await_active(&client, &name).await?;
        if table != Table::Users {
            set_expiry(&client, &name).await.with_context(|| format!("setting the expiry of {name}"))?;
        }
    }
    Ok(())
}

/// Checks that a table exists and has our keys.
pub(super) async fn look(client: &Client, name: &str) -> anyhow::Result<()> {
    let table = describe(client, name).await?;
    let table = table.with_context(|| {
        format!(
            "there is no DynamoDB table {name}: make it with `soundoff provision`, or on AWS with Terraform"
        )
    })?;
    check_keys(&table, name)?;
    let status = table.table_status();
    // While a table is updated it serves as before.
    let serves = matches!(status, Some(TableStatus::Active | TableStatus::Updating));
    ensure!(
        serves,
        "the DynamoDB table {name} is not active but {}",
        status.map_or("unknown", |s| s.as_str())
    );
    Ok(())
}

async fn describe(client: &Client, name: &str) -> anyhow::Result<Option<TableDescription>> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking DynamoDB about the table {name}")),
    }
}

fn check_keys(table: &TableDescription, name: &str) -> anyhow::Result<()> {
    let keys = table.key_schema().iter().map(|key| (key.attribute_name(), key.key_type()));
    let keys: Vec<_> = keys.collect();
    let text = |attribute: &str| {
        let mut definitions = table.attribute_definitions().iter();
        definitions.any(|d| d.attribute_name() == attribute && *d.attribute_type() == ScalarAttributeType::S)
    };
    let ours = keys == [(PK, &KeyType::Hash), (SK, &KeyType::Range)] && text(PK) && text(SK);
    ensure!(ours, "the DynamoDB table {name} has other keys than `{PK}` and `{SK}`, both text");
    Ok(())
}

async fn make(client: &Client, name: &str) -> anyhow::Result<()> {
    if let Some(table) = describe(client, name).await? {
        return check_keys(&table, name);
    }
    let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (attribute, kind) in [(PK, KeyType::Hash), (SK, KeyType::Range)] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()?;
        let key = KeySchemaElement::builder().attribute_name(attribute).key_type(kind).build()?;
        request = request.attribute_definitions(definition).key_schema(key);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        // Another process was faster.
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn await_active(client: &Client, name: &str) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let table = describe(client, name).await?;
        let status = table.as_ref().and_then(TableDescription::table_status);
        if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("the DynamoDB table {name} has not become active within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn set_expiry(client: &Client, name: &str) -> anyhow::Result<()> {
    let answer = client.describe_time_to_live().table_name(name).send().await?;
    let set = answer.time_to_live_description;
    let status = set.as_ref().and_then(|set| set.time_to_live_status());
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        let attribute = set.as_ref().and_then(|set| set.attribute_name());
        ensure!(attribute == Some(EXPIRES), "its items expire by another attribute than `{EXPIRES}`");
        return Ok(());
    }
    let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES).build()?;
    client.update_time_to_live().table_name(name).time_to_live_specification(expiry).send().await?;
    Ok(())
}
