//! Phone numbers in their one spelling, E.164.

use phonenumber::Metadata;
use phonenumber::metadata::{DATABASE, Descriptor};
use soundoff_common::invisible::is_invisible;

use crate::ways::spelling::{Spelled, digit, is_dash, narrow};

/// How many digits a number has (E.164); shorter ones are services of one network.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// More characters than any number has, however it is written.
const MAX_TYPED: usize = 100;

/// Reads a number as somebody typed or pasted it; the error says what to do. A zero that is dialled only within the
/// country, often written `(0)`, is no part of it.
pub(crate) fn read(typed: &str) -> Result<Spelled, &'static str> {
    let dialled = dialled(typed)?;
    let value = international(&dialled)
        .ok_or("`phone` is no number of its country's plan; look for a missing or a mistyped digit")?;
    let mut former: Vec<String> = as_before(typed).into_iter().chain(with_trunk(&value)).collect();
    former.retain(|spelling| *spelling != value && international(spelling).as_ref() == Some(&value));
    former.dedup();
    Ok(Spelled { value, former })
}

/// A plus and digits, without what people and phones write between them.
fn dialled(typed: &str) -> Result<String, &'static str> {
    const NO_NUMBER: &str = "`phone` is a number with its country, such as +491701234567";
    let mut dialled = String::new();
    for c in typed.chars().take(MAX_TYPED + 1) {
        let c = narrow(c);
        match digit(c) {
            Some(digit) => dialled.push(digit),
            None if matches!(c, '+' | '\u{FE62}') && dialled.is_empty() => dialled.push('+'),
            None if matches!(c, '.' | '/' | '(' | ')') || is_dash(c) => {}
            None if c.is_whitespace() || is_invisible(c) => {}
            None => return Err(NO_NUMBER),
        }
    }
    // `00` is a plus in many countries, but not in all: who writes it means a number of their own country's.
    if !dialled.starts_with('+') || typed.chars().count() > MAX_TYPED {
        return Err(NO_NUMBER);
    }
    Ok(dialled)
}

/// A number in E.164, if its country's plan may have it. Plans get new ranges before we know of them, so that of a
/// number that is in none its length alone is judged.
fn international(dialled: &str) -> Option<String> {
    let (code, typed, plans) = parts(dialled)?;
    let without_trunk = trunk(&plans).and_then(|trunk| typed.strip_prefix(trunk)).map(str::to_owned);
    // The library knows the rules of more than a prefix, such as those of Argentina's mobile phones.
    let reread = phonenumber::parse(None, dialled).ok().map(|number| number.national().to_string());
    let readings: Vec<String> =
        [Some(typed.to_owned()), reread, without_trunk].into_iter().flatten().collect();
    let first = |fits: fn(&Metadata, &str) -> bool| {
        readings.iter().find(|national| plans.iter().any(|plan| fits(plan, national)))
    };
    let national = first(is_listed).or_else(|| first(is_possible))?;
    let digits = code.to_string().len() + national.len();
    DIGITS.contains(&digits).then(|| format!("+{code}{national}"))
}

/// A number's country code, its other digits, and the plans of the countries that share the code.
fn parts(dialled: &str) -> Option<(u16, &str, Vec<&'static Metadata>)> {
    let digits = dialled.strip_prefix('+')?;
    // More digits than a number has, with a prefix twice: nothing that the library has to read.
    if digits.len() > DIGITS.end() + 4 {
        return None;
    }
    (1..=3).find_map(|length| {
        let (code, national) = digits.split_at_checked(length)?;
        let code: u16 = code.parse().ok()?;
        Some((code, national, DATABASE.by_code(&code)?))
    })
}

/// What is dialled before a number within its country.
fn trunk<'a>(plans: &[&'a Metadata]) -> Option<&'a str> {
    plans.iter().find_map(|plan| plan.national_prefix())
}

/// Whether a plan has a range with this number.
fn is_listed(plan: &Metadata, national: &str) -> bool {
    ranges(plan).any(|range| range.is_match(national))
}

/// Whether a plan has numbers of this length.
fn is_possible(plan: &Metadata, national: &str) -> bool {
    ranges(plan).flat_map(Descriptor::possible_length).any(|length| usize::from(*length) == national.len())
}

/// The ranges of numbers that may belong to somebody. What the data say of a plan in general has no lengths.
fn ranges(plan: &Metadata) -> impl Iterator<Item = &Descriptor> {
    let all = plan.descriptors();
    let common = [all.fixed_line(), all.mobile(), all.voip(), all.personal_number(), all.pager()];
    let of_firms = [all.toll_free(), all.shared_cost(), all.premium_rate(), all.uan(), all.voicemail()];
    common.into_iter().chain(of_firms).flatten()
}

/// How version 0.1.0 stored a number that was typed like this.
fn as_before(typed: &str) -> Option<String> {
    let value: String = typed.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let digits = value.strip_prefix('+')?;
    let valid = DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (valid && !digits.starts_with('0')).then_some(value)
}

/// How version 0.1.0 stored a number that was typed with the prefix of calls within its country.
fn with_trunk(value: &str) -> Option<String> {
    let (code, national, plans) = parts(value)?;
    Some(format!("+{code}{}{national}", trunk(&plans)?))
}

/// The country of a number (ISO 3166), if a plan lists it.
pub(crate) fn country(value: &str) -> Option<String> {
    let number = phonenumber::parse(None, value).ok()?;
    number.country().id().map(|id| id.as_ref().to_owned())
}

/// Whether a text names a country that has a plan.
pub(crate) fn is_country(text: &str) -> bool {
    text.parse::<phonenumber::country::Id>().is_ok() && DATABASE.by_id(text).is_some()
}

#[cfg(test)]
#[path = "phone_tests.rs"]
mod tests;
