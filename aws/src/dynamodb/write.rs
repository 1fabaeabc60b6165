//! Writes: what is sent, and what happens when an answer is lost.
//!
//! | call | sent as | lost answer |
//! |---|---|---|
//! | a lone check | `GetItem`, checked here | asked again |
//! | a lone put, deletion or update that adds nothing, without a condition | itself | made again: twice has the effect of once |
//! | the same with a condition | itself | [`Unavailable`](TableError::Unavailable): a second try would see its own effect. The caller decides again |
//! | a lone update that adds; several writes | a transaction with a token | made again: the engine knows the token for ten minutes, and does it once |
//!
//! A transaction costs twice the units, so a lone conditional write is not sent as one. A caller that gets
//! `Unavailable` and then repeats a write that adds may add twice. Only a condition that the first write makes false,
//! such as that of a dedupe record, prevents this.
//!
//! When a transaction is cancelled, the first reason in the order of the writes is returned: with a conflict before it,
//! a failed condition might not be the first that fails. The parts of a transaction hold at most 4 MB in total.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConsumedCapacity, ReturnConsumedCapacity, TransactWriteItem,
};
use soundoff_common::ports::tables::{Action, Condition, TableError, Write, rules};
use ulid::Ulid;

use super::retry::{Fault, Pace, Twice, fault, quoteless};
use super::statement::{Deed, Statement, adds};
use super::{DynamoTables, value};
use crate::prices;

/// The write units of a transaction for each started kilobyte of each item, done or cancelled.
const TRANSACTION_UNITS: f64 = 2.0;

impl DynamoTables {
    pub(super) async fn write_all(&self, mut writes: Vec<Write>) -> Result<(), TableError> {
        rules::transaction(&writes)?;
        if let [Write { action: Action::Check, .. }] = writes.as_slice() {
            return match writes.pop() {
                Some(write) => self.check(write).await,
                None => Ok(()),
            };
        }
        let transacted = writes.iter().any(adds);
        let mut statements = Vec::with_capacity(writes.len());
        for (index, write) in writes.into_iter().enumerate() {
            let table = self.table(write.table).to_owned();
            statements.extend(Statement::of(index, table, write)?);
        }
        match statements.as_slice() {
            [] => Ok(()),
            [one] if !transacted && !matches!(one.deed, Deed::Check) => self.alone(one).await,
            _ => self.together(statements).await,
        }
    }

    /// Nothing is written, so a strongly consistent read does the same, and is ten times cheaper.
    async fn check(&self, write: Write) -> Result<(), TableError> {
        // A condition that is invalid for the engine is invalid here too.
        let Some(_) = Statement::of(0, String::new(), write.clone())? else { return Ok(()) };
        let item = self.get_one(write.table, &write.key).await?;
        if write.condition.holds(item.as_ref()) {
            return Ok(());
        }
        Err(TableError::ConditionFailed { index: 0 })
    }

    async fn alone(&self, statement: &Statement) -> Result<(), TableError> {
        let twice = if statement.expression.is_none() { Twice::IsOnce } else { Twice::IsNot };
        Pace::run(&self.budgets, vec![statement.partition], twice, || async {
            let consumed = match &statement.deed {
                Deed::Put(item) => self.put(statement, item).await?,
                Deed::Update(update) => self.update(statement, update).await?,
                Deed::Delete | Deed::Check => self.delete(statement).await?,
            };
            self.bill_writes(consumed.as_slice());
            Ok(())
        })
        .await
    }

    async fn put(
        &self,
        statement: &Statement,
        item: &value::Attributes,
    ) -> Result<Option<ConsumedCapacity>, Fault> {
        let request = (self.client.put_item().table_name(&statement.table).set_item(Some(item.clone())))
            .set_condition_expression(statement.expression.clone())
            .set_expression_attribute_names(statement.places.names())
            .set_expression_attribute_values(statement.places.values())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(|e| self.refusal("PutItem", statement, &e))?;
        Ok(answer.consumed_capacity)
    }

    async fn update(&self, statement: &Statement, update: &str) -> Result<Option<ConsumedCapacity>, Fault> {
        let request = (self.client.update_item().table_name(&statement.table))
            .set_key(Some(statement.key.clone()))
            .update_expression(update)
            .set_condition_expression(statement.expression.clone())
            .set_expression_attribute_names(statement.places.names())
            .set_expression_attribute_values(statement.places.values())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(|e| self.refusal("UpdateItem", statement, &e))?;
        Ok(answer.consumed_capacity)
    }

    async fn delete(&self, statement: &Statement) -> Result<Option<ConsumedCapacity>, Fault> {
        let request = (self.client.delete_item().table_name(&statement.table))
            .set_key(Some(statement.key.clone()))
            .set_condition_expression(statement.expression.clone())
            .set_expression_attribute_names(statement.places.names())
            .set_expression_attribute_values(statement.places.values())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(|e| self.refusal("DeleteItem", statement, &e))?;
        Ok(answer.consumed_capacity)
    }

    fn refusal<E>(&self, action: &str, statement: &Statement, error: &SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        if error.code() == Some("ConditionalCheckFailedException") {
            // The engine does not report the units; an item of up to a kilobyte takes one.
            self.meter.bill(prices::DYNAMODB_WRITE, 1.0);
            return Fault::Final(TableError::ConditionFailed { index: statement.index });
        }
        fault(action, error)
    }

    async fn together(&self, statements: Vec<Statement>) -> Result<(), TableError> {
        let mut parts = Vec::with_capacity(statements.len());
        let mut judges = Vec::with_capacity(statements.len());
        let about = statements.iter().map(|statement| statement.partition).collect();
        for statement in statements {
            let guarded = statement.guarded.clone();
            judges.push(Judge { index: statement.index, guarded });
            parts.push(statement.part()?);
        }
        let token = Ulid::generate().to_string();
        Pace::run(&self.budgets, about, Twice::IsOnce, || self.transact(&token, &parts, &judges)).await
    }

    async fn transact(
        &self,
        token: &str,
        parts: &[TransactWriteItem],
        judges: &[Judge],
    ) -> Result<(), Fault> {
        let request = (self.client.transact_write_items())
            .set_transact_items(Some(parts.to_vec()))
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match request.send().await {
            Ok(answer) => {
                self.bill_writes(answer.consumed_capacity());
                Ok(())
            }
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    #[expect(clippy::cast_precision_loss, reason = "100 at most")]
                    self.meter.bill(prices::DYNAMODB_WRITE, TRANSACTION_UNITS * parts.len() as f64);
                    Err(verdict(cancelled.cancellation_reasons(), judges))
                }
                _ => Err(fault("TransactWriteItems", &error)),
            },
        }
    }

    fn bill_writes<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units = consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.meter.bill(prices::DYNAMODB_WRITE, units);
    }
}

/// What is needed to interpret the cancellation of a part.
#[derive(Debug)]
struct Judge {
    index: usize,
    guarded: Option<Condition>,
}

/// The first real reason of a cancelled transaction.
fn verdict(reasons: &[CancellationReason], judges: &[Judge]) -> Fault {
    for (part, (reason, judge)) in reasons.iter().zip(judges).enumerate() {
        let code = reason.code().unwrap_or("None");
        return match code {
            "None" => continue,
            "ConditionalCheckFailed" => Fault::Final(failed(reason, judge)),
            "TransactionConflict" => Fault::Final(TableError::Conflict),
            "ValidationError" | "ItemCollectionSizeLimitExceeded" => {
                let said = quoteless(reason.message().unwrap_or_default());
                Fault::Final(TableError::Invalid(format!("write {}: {said}", judge.index)))
            }
            "ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded" => {
                Fault::Throttled { why: format!("dynamodb: TransactWriteItems: {code}"), part: Some(part) }
            }
            other => Fault::Final(TableError::Unavailable(format!("dynamodb: TransactWriteItems: {other}"))),
        };
    }
    Fault::Final(TableError::Unavailable("dynamodb: TransactWriteItems: cancelled for no reason".to_owned()))
}

/// Decides which condition failed: the caller's, or ours that the attribute is a number and the sum fits.
fn failed(reason: &CancellationReason, judge: &Judge) -> TableError {
    let index = judge.index;
    let Some(condition) = &judge.guarded else { return TableError::ConditionFailed { index } };
    let shown: HashMap<_, _> = reason.item().cloned().unwrap_or_default();
    // Without an item there is no attribute that could not be added to.
    if shown.is_empty() {
        return TableError::ConditionFailed { index };
    }
    match value::item(shown) {
        Ok(item) if condition.holds(Some(&item)) => TableError::Invalid(format!(
            "write {index} adds to an attribute that is no whole number, or the sum does not fit 64 bits"
        )),
        Ok(_) => TableError::ConditionFailed { index },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::tables::Condition::{Always, Exists, Missing};

    use super::*;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    fn judges() -> Vec<Judge> {
        // Write 1 was a check without a condition and is no part.
        [0, 2, 3].map(|index| Judge { index, guarded: None }).into()
    }

    #[test]
    fn the_first_reason_is_the_answer() {
        use TableError::{ConditionFailed, Conflict};
        for (codes, expected) in [
            (["None", "ConditionalCheckFailed", "ConditionalCheckFailed"], ConditionFailed { index: 2 }),
            (["None", "ConditionalCheckFailed", "TransactionConflict"], ConditionFailed { index: 2 }),
            (["None", "TransactionConflict", "ConditionalCheckFailed"], Conflict),
            (["ConditionalCheckFailed", "None", "ThrottlingError"], ConditionFailed { index: 0 }),
        ] {
            let verdict = verdict(&reasons(&codes), &judges());
            assert!(matches!(&verdict, Fault::Final(error) if *error == expected), "{codes:?}: {verdict:?}");
        }
        let busy = verdict(&reasons(&["None", "ThrottlingError", "None"]), &judges());
        assert!(matches!(busy, Fault::Throttled { part: Some(1), .. }), "{busy:?}");
        let none = verdict(&[], &judges());
        assert!(matches!(none, Fault::Final(TableError::Unavailable(_))), "{none:?}");
    }

    #[test]
    fn a_failed_guard_is_no_failed_condition() {
        let text = aws_sdk_dynamodb::types::AttributeValue::S("text".to_owned());
        let shown = CancellationReason::builder().item("n", text).build();
        let hidden = CancellationReason::builder().build();
        let judge = |condition| Judge { index: 7, guarded: Some(condition) };
        for condition in [Always, Exists] {
            assert!(matches!(failed(&shown, &judge(condition)), TableError::Invalid(_)));
        }
        assert_eq!(failed(&shown, &judge(Missing)), TableError::ConditionFailed { index: 7 });
        assert_eq!(failed(&hidden, &judge(Exists)), TableError::ConditionFailed { index: 7 });
    }
}
