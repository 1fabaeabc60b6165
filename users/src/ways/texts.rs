//! Which texts are sent: each costs money, and numbers that earn with every text are easy to rent.

use std::str::FromStr;

use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::ports::tables::{Change, Condition, EXPIRES, Key, Table, Write};

use crate::ways::meter::DAY_MS;
use crate::ways::phone;

pub(crate) const HOLDING: Holding = Holding {
    kind: "texts of a day",
    table: Table::Entities,
    pk: "texts#<day>",
    sk: "sent",
    attributes: &[SENT, EXPIRES],
    of: Of::Nobody,
    summary: "How many texts were sent on a day (UTC), counted in days since 1970.",
};
const SENT: &str = "sent";

/// What may be spent on texts.
#[derive(Debug, Clone)]
pub struct TextsConfig {
    /// Where they may go.
    pub places: Vec<TextPlace>,
    /// How many are sent in a day, by all processes together.
    pub per_day: u64,
}

impl TextsConfig {
    /// Whether texts may go to a number (E.164).
    pub(crate) fn allows(&self, number: &str) -> bool {
        self.places.iter().any(|place| match place {
            TextPlace::Anywhere => true,
            TextPlace::Prefix(prefix) => number.starts_with(prefix.as_str()),
            TextPlace::Country(country) => phone::country(number).as_deref() == Some(country),
        })
    }
}

/// Where texts may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPlace {
    /// To every number.
    Anywhere,
    /// To numbers that begin like this.
    Prefix(String),
    /// To numbers of a country (ISO 3166), which may share its code with others.
    Country(String),
}

impl FromStr for TextPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        if text == "all" {
            return Ok(TextPlace::Anywhere);
        }
        if (1..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.as_bytes()[0] != b'0'
        {
            return Ok(TextPlace::Prefix(text.to_owned()));
        }
        if phone::is_country(text) {
            return Ok(TextPlace::Country(text.to_owned()));
        }
        Err(format!("{text} is none of: a prefix such as +44, a country such as GB, `all`"))
    }
}

/// Counts a text of today, if one may still be sent.
pub(crate) fn one_more(per_day: u64, now: u64) -> Write {
    let day = now / DAY_MS;
    let change = vec![Change::Add(SENT, 1), Change::Set(EXPIRES, ((day + 2) * DAY_MS / 1000).into())];
    let key = Key::new(format!("texts#{day}"), "sent");
    Write::update(Table::Entities, key, change).when(Condition::Below(SENT, per_day))
}

/// How long it is until tomorrow, in seconds.
pub(crate) fn tomorrow_s(now: u64) -> u64 {
    (DAY_MS - now % DAY_MS).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(places: &[&str], number: &str) -> bool {
        let places = places.iter().map(|place| place.parse().unwrap()).collect();
        TextsConfig { places, per_day: 1 }.allows(number)
    }

    #[test]
    fn texts_go_where_they_may_and_nowhere_else() {
        for (places, number, may) in [
            (&["+44"][..], "+442079460018", true),
            (&["+44"], "+491701234567", false),
            (&["+44", "+49"], "+491701234567", true),
            (&["+4917"], "+491701234567", true),
            (&["+4917"], "+4930123456", false),
            (&["GB"], "+442079460018", true),
            (&["GB"], "+447797123456", false),
            (&["JE"], "+447797123456", true),
            (&["US"], "+12125550123", true),
            (&["US"], "+18765550123", false),
            (&["US", "CA"], "+14165550123", true),
            (&["+44", "DE"], "+881612345678", false),
            (&["all"], "+881612345678", true),
            (&[], "+442079460018", false),
        ] {
            assert_eq!(allows(places, number), may, "{places:?} {number}");
        }
        for bad in ["", "44", "+", "+044", "gb", "GBR", "ZZ", "+44 20", "ALL", "+4477777777777777"] {
            let error = bad.parse::<TextPlace>().unwrap_err();
            assert!(error.contains("+44") && error.contains("GB"), "{error}");
        }
    }

    #[test]
    fn a_day_ends_at_midnight() {
        assert_eq!(
            [tomorrow_s(0), tomorrow_s(1), tomorrow_s(DAY_MS - 1), tomorrow_s(DAY_MS)],
            [86_400, 86_400, 1, 86_400]
        );
        assert_ne!(one_more(1, DAY_MS - 1).key, one_more(1, DAY_MS).key);
    }
}
