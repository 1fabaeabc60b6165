//! Whole numbers as JSON Schema has them.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// The largest number up to which each whole one is told from its neighbours.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads JSON. To JSON Schema `41.0` is an integer, and some languages write all their numbers so.
///
/// # Errors
/// As [`serde_json::from_str`].
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| again(text).ok_or(error))
}

/// Reads it once more, if there is a whole number that was written with a fraction.
#[cold]
fn again<T: DeserializeOwned>(text: &str) -> Option<T> {
    let mut value = serde_json::from_str(text).ok()?;
    make_whole(&mut value).then(|| serde_json::from_value(value).ok())?
}

/// Writes all whole numbers without a fraction; returns whether there were any.
fn make_whole(value: &mut Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT);
            whole.map(|float| *number = Number::from(float as i64)).is_some()
        }
        // All of them, not only the first.
        Value::Array(items) => items.iter_mut().filter_map(|item| make_whole(item).then_some(())).count() > 0,
        Value::Object(fields) => {
            fields.values_mut().filter_map(|item| make_whole(item).then_some(())).count() > 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: u16,
        #[serde(default)]
        ids: Vec<i64>,
    }

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction() {
        let page = |limit, ids: &[i64]| Some(Page { limit, ids: ids.to_vec() });
        for (text, expected) in [
            (r#"{"limit":5}"#, page(5, &[])),
            (r#"{"limit":5.0}"#, page(5, &[])),
            (r#"{"limit":5e0,"ids":[1.0,-2.0,3]}"#, page(5, &[1, -2, 3])),
            (r#"{"limit":0.5e1}"#, page(5, &[])),
            (r#"{"limit":-0.0}"#, page(0, &[])),
            (r#"{"limit":5.5}"#, None),
            (r#"{"limit":-5.0}"#, None),
            (r#"{"limit":65536.0}"#, None),
            (r#"{"limit":1e300}"#, None),
            (r#"{"limit":"5.0"}"#, None),
            (r#"{"limit":5.0,"more":1}"#, None),
            (r#"{"limit":5.0"#, None),
        ] {
            assert_eq!(read(text).ok(), expected, "{text}");
        }
        let error = read::<Page>(r#"{"limit":5.5}"#).unwrap_err().to_string();
        assert!(error.contains("5.5") && error.contains("u16"), "{error}");
    }
}
