//! Conditions and changes as expressions. Every name and value is a placeholder, as many names are reserved words.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;
use soundoff_common::ports::tables::{Change, Condition, TableError, rules};

use super::value::{self, Attributes, MADE, PK, SK};

/// Names and values that expressions of one request share.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    names: HashMap<String, String>,
    values: Attributes,
}

impl Places {
    fn name(&mut self, stored: String) -> String {
        let place = format!("#a{}", self.names.len());
        self.names.insert(place.clone(), stored);
        place
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let place = format!(":v{}", self.values.len());
        self.values.insert(place.clone(), value);
        place
    }

    /// The names; `None` when there are none, as engines refuse an empty map.
    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    /// The values, likewise.
    pub(super) fn values(&self) -> Option<Attributes> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// Adds a condition to `clauses`; adds nothing for one that always holds.
    pub(super) fn condition(
        &mut self,
        condition: &Condition,
        clauses: &mut Vec<String>,
    ) -> Result<(), TableError> {
        match condition {
            Condition::Always => {}
            Condition::Exists => clauses.push(format!("attribute_exists({})", self.name(PK.to_owned()))),
            Condition::Missing => {
                clauses.push(format!("attribute_not_exists({})", self.name(PK.to_owned())));
            }
            Condition::Equals(name, expected) => {
                let name = self.name(value::stored_name(name));
                clauses.push(format!("{name} = {}", self.value(value::attribute(expected.clone())?)));
            }
            Condition::Absent(name) => {
                clauses.push(format!("attribute_not_exists({})", self.name(value::stored_name(name))));
            }
            Condition::Below(name, most) => {
                let name = self.name(value::stored_name(name));
                let most = self.value(value::attribute((*most).into())?);
                clauses.push(format!("(attribute_not_exists({name}) OR {name} < {most})"));
            }
            Condition::All(all) => {
                for condition in all {
                    self.condition(condition, clauses)?;
                }
            }
        }
        Ok(())
    }

    /// The expression of an update; adds to `guards` what must hold for it to be valid.
    pub(super) fn update(
        &mut self,
        changes: Vec<Change>,
        guards: &mut Vec<String>,
    ) -> Result<String, TableError> {
        let (mut set, mut add, mut remove) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = HashSet::new();
        let mut bytes = 0;
        for change in changes {
            let (Change::Set(attribute, _) | Change::Add(attribute, _) | Change::Remove(attribute)) = change;
            if !changed.insert(attribute) {
                return Err(TableError::Invalid(format!("two changes of {attribute}")));
            }
            let name = self.name(value::stored_name(attribute));
            match change {
                Change::Set(_, new) => {
                    bytes += value::json_bytes(&new)?;
                    set.push(format!("{name} = {}", self.value(value::attribute(new)?)));
                }
                Change::Add(_, delta) => {
                    guards.push(self.addable(&name, delta));
                    add.push(format!("{name} {}", self.value(AttributeValue::N(delta.to_string()))));
                }
                Change::Remove(_) => remove.push(name),
            }
        }
        rules::size(bytes)?;
        if set.is_empty() && add.is_empty() {
            // Law: an update makes the item, even one that only removes.
            let made = self.name(MADE.to_owned());
            set.push(format!("{made} = {}", self.value(AttributeValue::Bool(true))));
        }
        let parts = [("SET", set), ("ADD", add), ("REMOVE", remove)];
        let parts = parts.into_iter().filter(|(_, terms)| !terms.is_empty());
        Ok(parts.map(|(verb, terms)| format!("{verb} {}", terms.join(", "))).collect::<Vec<_>>().join(" "))
    }

    /// The condition that an attribute is absent, or a whole number whose sum with `delta` fits 64 bits. The engine
    /// itself allows 38 digits.
    fn addable(&mut self, name: &str, delta: i64) -> String {
        let least = i128::from(i64::MIN) - i128::from(delta.min(0));
        let most = i128::from(u64::MAX) - i128::from(delta.max(0));
        let least = self.value(AttributeValue::N(least.to_string()));
        let most = self.value(AttributeValue::N(most.to_string()));
        format!("(attribute_not_exists({name}) OR {name} BETWEEN {least} AND {most})")
    }

    /// The key condition of a partition's range, both ends included.
    pub(super) fn range(&mut self, pk: &str, low: Option<String>, high: Option<String>) -> String {
        let pk_name = self.name(PK.to_owned());
        let partition = format!("{pk_name} = {}", self.value(AttributeValue::S(pk.to_owned())));
        let mut bound = |text| self.value(AttributeValue::S(text));
        let terms = match (low.map(&mut bound), high.map(&mut bound)) {
            (None, None) => return partition,
            (Some(low), None) => format!(">= {low}"),
            (None, Some(high)) => format!("<= {high}"),
            (Some(low), Some(high)) => format!("BETWEEN {low} AND {high}"),
        };
        format!("{partition} AND {} {terms}", self.name(SK.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_are_all_joined_and_what_always_holds_is_left_out() {
        use Condition::{Absent, All, Always, Equals, Exists};
        let mut places = Places::default();
        let mut clauses = Vec::new();
        let all = All(vec![Always, All(vec![]), Exists, All(vec![Absent("name"), Equals("pk", json!(1))])]);
        places.condition(&all, &mut clauses).unwrap();
        assert_eq!(
            clauses,
            ["attribute_exists(#a0)", "attribute_not_exists(#a1)", "#a2 = :v0"],
            "reserved words and our own names go by placeholders"
        );
        let names = places.names().unwrap();
        assert_eq!((&*names["#a0"], &*names["#a1"], &*names["#a2"]), ("pk", "name", "~pk"));
    }

    #[test]
    fn sums_are_kept_within_64_bits() {
        for (delta, least, most) in [
            (1, "-9223372036854775808", "18446744073709551614"),
            (-1, "-9223372036854775807", "18446744073709551615"),
            (i64::MIN, "0", "18446744073709551615"),
        ] {
            let mut places = Places::default();
            let mut guards = Vec::new();
            let update = places.update(vec![Change::Add("n", delta)], &mut guards).unwrap();
            assert_eq!((update.as_str(), guards.len()), ("ADD #a0 :v2", 1));
            let values = places.values().unwrap();
            assert_eq!(values[":v0"], AttributeValue::N(least.to_owned()));
            assert_eq!(values[":v1"], AttributeValue::N(most.to_owned()));
        }
    }

    #[test]
    fn an_update_has_each_attribute_once_and_never_sets_nothing() {
        let twice = vec![Change::Set("a", json!(1)), Change::Remove("a")];
        let refused = Places::default().update(twice, &mut Vec::new());
        assert!(matches!(refused, Err(TableError::Invalid(_))));
        let removal = Places::default().update(vec![Change::Remove("a")], &mut Vec::new()).unwrap();
        assert_eq!(removal, "SET #a1 = :v0 REMOVE #a0");
    }
}
