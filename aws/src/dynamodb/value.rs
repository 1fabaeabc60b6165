//! Items as attributes, and back: each JSON value comes back equal.
//!
//! Whole numbers are N. Fractions are a set of one number, NS: a whole float would come back from N as an integer. So
//! every N is a number that can be added to. Attributes with the names of the key's parts get a `~` in front.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};
use soundoff_common::ports::tables::{Item, Key, TableError, rules};

/// The partition key's attribute.
pub(super) const PK: &str = "pk";
/// The range key's attribute.
pub(super) const SK: &str = "sk";
/// An attribute that means nothing: engines make no item for an update that sets none.
pub(super) const MADE: &str = "~";

/// Attributes by name.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The name under which an attribute is stored.
pub(super) fn stored_name(name: &str) -> String {
    if is_taken(name) { format!("~{name}") } else { name.to_owned() }
}

/// Whether a name, without the `~`s in front, is one of ours.
fn is_taken(name: &str) -> bool {
    let stem = name.trim_start_matches('~');
    stem == PK || stem == SK || (stem.is_empty() && !name.is_empty())
}

/// A key's attributes.
pub(super) fn key(key: &Key) -> Result<Attributes, TableError> {
    rules::key(key)?;
    let part = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
    Ok(HashMap::from([part(PK, &key.pk), part(SK, &key.sk)]))
}

/// The key among an item's attributes.
pub(super) fn key_of(attributes: &Attributes) -> Result<Key, TableError> {
    let part = |name: &str| match attributes.get(name) {
        Some(AttributeValue::S(text)) => Ok(text.clone()),
        _ => Err(TableError::Corrupt(format!("an item without a {name}"))),
    };
    Ok(Key::new(part(PK)?, part(SK)?))
}

/// An item's attributes, without its key.
pub(super) fn attributes(item: Item) -> Result<Attributes, TableError> {
    rules::size(json_bytes(&item)?)?;
    item.0.into_iter().map(|(name, value)| Ok((stored_name(&name), attribute(value)?))).collect()
}

/// The item of its attributes.
pub(super) fn item(attributes: Attributes) -> Result<Item, TableError> {
    let mut map = Map::new();
    for (name, stored) in attributes {
        if name == PK || name == SK || name == MADE {
            continue;
        }
        let name = if is_taken(&name) { name[1..].to_owned() } else { name };
        map.insert(name, value(stored)?);
    }
    Ok(Item(map))
}

/// One value.
pub(super) fn attribute(value: Value) -> Result<AttributeValue, TableError> {
    Ok(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(yes) => AttributeValue::Bool(yes),
        Value::String(text) => AttributeValue::S(text),
        Value::Number(number) if number.is_f64() => AttributeValue::Ns(vec![fraction(&number)?]),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Array(values) => {
            AttributeValue::L(values.into_iter().map(attribute).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let entries = map.into_iter().map(|(name, value)| Ok((name, attribute(value)?)));
            AttributeValue::M(entries.collect::<Result<_, TableError>>()?)
        }
    })
}

/// A fraction's digits. The engine keeps 38 of them, more than a float needs, but has a smaller range of exponents.
fn fraction(number: &Number) -> Result<String, TableError> {
    let float = number.as_f64().unwrap_or(f64::NAN);
    let fits = float == 0.0 || (1e-130..1e126).contains(&float.abs());
    fits.then(|| format!("{float:e}"))
        .ok_or_else(|| TableError::Invalid(format!("{number} is no number that DynamoDB can store")))
}

fn value(attribute: AttributeValue) -> Result<Value, TableError> {
    Ok(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(yes) => Value::Bool(yes),
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(digits) => {
            let whole =
                digits.parse::<i64>().map(Number::from).or_else(|_| digits.parse::<u64>().map(Number::from));
            whole.map(Value::Number).map_err(|_| corrupt("a number that is not whole"))?
        }
        AttributeValue::Ns(digits) => match digits.as_slice() {
            [one] => (one.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number))
                .ok_or_else(|| corrupt("a fraction that cannot be read"))?,
            _ => return Err(corrupt("a set of numbers")),
        },
        AttributeValue::L(values) => Value::Array(values.into_iter().map(value).collect::<Result<_, _>>()?),
        AttributeValue::M(map) => {
            let entries = map.into_iter().map(|(name, stored)| Ok((name, value(stored)?)));
            Value::Object(entries.collect::<Result<_, TableError>>()?)
        }
        _ => return Err(corrupt("a value of a kind we do not write")),
    })
}

fn corrupt(what: &str) -> TableError {
    TableError::Corrupt(format!("dynamodb: {what}"))
}

/// How long a value is as JSON.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> Result<usize, TableError> {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value)
        .map_err(|e| TableError::Invalid(format!("the item is not storable: {e}")))?;
    Ok(count.0)
}

/// Counts the bytes that are written to it.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back_equal() {
        let all = json!({
            "most": u64::MAX, "least": i64::MIN, "zero": 0, "half": 1.5, "whole": 1.0, "tiny": 1e-100, "minus": -0.1, "none": null,
            "empty": "", "text": "é\u{1F600}", "yes": true, "list": [1, 1.0, "1", [], {}], "map": {"pk": 1, "~": {"a": [null]}},
            "pk": "p", "sk": 2, "~pk": 3, "~~sk": 4, "~": 5, "~~": 6, "~pkx": 7,
        });
        let Value::Object(map) = all else { panic!("an object") };
        let stored = attributes(Item(map.clone())).unwrap();
        assert!(!stored.contains_key(PK) && !stored.contains_key(SK) && !stored.contains_key(MADE));
        assert_eq!(item(stored).unwrap(), Item(map));
    }

    #[test]
    fn what_the_key_and_we_add_is_no_part_of_the_item() {
        let mut stored = key(&Key::new("p", "s")).unwrap();
        stored.insert(MADE.to_owned(), AttributeValue::Bool(true));
        assert_eq!(item(stored).unwrap(), Item::new());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for value in [json!(1e300), json!(1e-200), json!([1e126])] {
            assert!(matches!(attribute(value), Err(TableError::Invalid(_))));
        }
        let large = Item::new().with("a", "x".repeat(rules::MAX_ITEM_BYTES));
        assert!(matches!(attributes(large), Err(TableError::Invalid(_))));
        let foreign =
            [AttributeValue::N("1.5".into()), AttributeValue::Ss(vec![]), AttributeValue::Ns(vec![])];
        for stored in foreign {
            assert!(matches!(value(stored), Err(TableError::Corrupt(_))));
        }
    }
}
