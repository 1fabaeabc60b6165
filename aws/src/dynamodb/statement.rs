//! One write in the terms of the engine.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use soundoff_common::ports::tables::{Action, Change, Condition, TableError, Write};

use super::expression::Places;
use super::retry::Partition;
use super::value::{self, Attributes};

/// One write, ready to be sent alone or in a transaction.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its index among the caller's writes.
    pub(super) index: usize,
    /// Where the item is.
    pub(super) partition: Partition,
    pub(super) table: String,
    pub(super) key: Attributes,
    pub(super) deed: Deed,
    /// The condition as an expression.
    pub(super) expression: Option<String>,
    pub(super) places: Places,
    /// The condition as the caller gave it, where the expression also demands that sums fit.
    pub(super) guarded: Option<Condition>,
}

/// What a statement does.
#[derive(Debug)]
pub(super) enum Deed {
    /// Puts the item; key included.
    Put(Attributes),
    /// Changes the item by an expression.
    Update(String),
    /// Deletes the item.
    Delete,
    /// Changes nothing.
    Check,
}

impl Statement {
    /// `None` for a check of a condition that always holds.
    pub(super) fn of(index: usize, table: String, write: Write) -> Result<Option<Self>, TableError> {
        let Write { table: of, key, action, condition } = write;
        let partition = Partition::of(of, &key.pk);
        let key = value::key(&key)?;
        let (mut places, mut clauses, mut guards) = (Places::default(), Vec::new(), Vec::new());
        places.condition(&condition, &mut clauses)?;
        let deed = match action {
            Action::Put(item) => {
                let mut attributes = value::attributes(item)?;
                attributes.extend(key.clone());
                Deed::Put(attributes)
            }
            Action::Update(changes) => Deed::Update(places.update(changes, &mut guards)?),
            Action::Delete => Deed::Delete,
            Action::Check if clauses.is_empty() => return Ok(None),
            Action::Check => Deed::Check,
        };
        let guarded = (!guards.is_empty()).then_some(condition);
        clauses.append(&mut guards);
        let expression = (!clauses.is_empty()).then(|| clauses.join(" AND "));
        Ok(Some(Self { index, partition, table, key, deed, expression, places, guarded }))
    }

    /// As part of a transaction.
    pub(super) fn part(self) -> Result<TransactWriteItem, TableError> {
        let Self { table, key, deed, expression, places, guarded, .. } = self;
        let (names, values) = (places.names(), places.values());
        // Only the old item shows whether the caller's condition failed or ours.
        let shown = guarded.map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
        let part = TransactWriteItem::builder();
        let part = match deed {
            Deed::Put(item) => part.put(
                Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(unbuilt)?,
            ),
            Deed::Update(update) => part.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .update_expression(update)
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .set_return_values_on_condition_check_failure(shown)
                    .build()
                    .map_err(unbuilt)?,
            ),
            Deed::Delete => part.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(unbuilt)?,
            ),
            Deed::Check => part.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .set_condition_expression(expression)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(unbuilt)?,
            ),
        };
        Ok(part.build())
    }
}

/// Whether a write adds to a number.
pub(super) fn adds(write: &Write) -> bool {
    let Action::Update(changes) = &write.action else { return false };
    changes.iter().any(|change| matches!(change, Change::Add(..)))
}

fn unbuilt(error: BuildError) -> TableError {
    TableError::Invalid(format!("dynamodb: {error}"))
}
