//! Ids of posts, comments and messages: the `mid` of the message that made them, as text.

use ulid::Ulid;

/// The id that `text` spells. Only one spelling is valid: several spellings of one id would make several keys.
#[must_use]
pub fn parse(text: &str) -> Option<Ulid> {
    let id = Ulid::from_string(text).ok()?;
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_id_has_one_spelling() {
        let good = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(parse(good).unwrap().to_string(), good);
        let long = format!("{good}A");
        for bad in ["", "1", "x#y", &good.to_lowercase(), &long, "81ARZ3NDEKTSV4RRFFQ69G5FAV", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
