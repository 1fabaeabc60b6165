//! How many messages of a type a user has sent today, counted in the transaction of what they did: so the limit holds on
//! all edges together, and a message that is sent again counts once.

use crate::model::holdings::{Holding, Of};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::handler::Failure;
use crate::pipeline::terms::Daily;
use crate::ports::tables::{Change, Condition, EXPIRES, Key, Table, Write};
use crate::protocol::{ErrorBody, ErrorCode};

crate::attributes! {
    /// The attributes of a day's count.
    pub(crate) mod attribute {
        COUNT = "n",
        EXPIRES = crate::ports::tables::EXPIRES,
    }
}

pub(crate) const HOLDING: Holding = Holding {
    kind: "count of a type in a day",
    table: Table::Dedupe,
    pk: "<h>",
    sk: "q#<type>#<day>",
    attributes: attribute::ALL,
    of: Of::User,
    summary: "How many messages of a type with a limit the user sent on a day (days since 1970, UTC). It is removed after 2 days.",
};

const DAY_S: u64 = 86_400;
/// A limit of more than so many is counted in steps: one message of a few counts for all of them. That is true to some
/// three in a hundred, and saves most of the writes.
const COUNTED_EACH: u32 = 1000;

/// For how many messages one counts.
fn step(most: u32) -> u32 {
    most.div_ceil(COUNTED_EACH).max(1)
}

/// Counts a message that came at `latest_s`, if its type has a limit a day and it is one that counts: which, nobody can
/// choose, and every run of it decides alike. The condition fails when the day is used up.
pub(crate) fn count(daily: &Daily, envelope: &Envelope, latest_s: u64) -> Option<Write> {
    let most = daily.most(&envelope.message_type)?;
    let step = step(most);
    let mid = envelope.mid.0;
    // The product spreads all bits of the id over those that are used.
    let mixed = ((mid >> 64) as u64 ^ mid as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    if !mixed.is_multiple_of(u64::from(step)) {
        return None;
    }
    let day = latest_s / DAY_S;
    let key = Key::new(envelope.from.as_str(), format!("q#{}#{day}", envelope.message_type));
    let changes = vec![
        Change::Add(attribute::COUNT, i64::from(step)),
        Change::Set(EXPIRES, ((day + 2) * DAY_S).into()),
    ];
    let room = Condition::Below(attribute::COUNT, most.into());
    Some(Write::update(Table::Dedupe, key, changes).when(room))
}

/// The refusal of a message for which the day has no room.
pub(crate) fn used_up(daily: &Daily, envelope: &Envelope, latest_s: u64) -> Failure {
    let most = daily.most(&envelope.message_type).unwrap_or_default();
    let message =
        format!("a user sends at most {most} {} a day; a day ends at 0:00 UTC", envelope.message_type);
    let left_s = DAY_S - latest_s % DAY_S;
    Failure::Reject(ErrorBody::new(ErrorCode::RateLimited, message).after(left_s * 1000))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use ulid::Ulid;

    use super::*;
    use crate::pipeline::terms::Terms;

    fn envelope(mid: Ulid) -> Envelope {
        let body = RawValue::from_string("{}".to_owned()).unwrap();
        let (id, message_type) = (String::new(), "note.add".to_owned());
        Envelope { mid, id, message_type, from: "ann".parse().unwrap(), origin: None, at: 0, body }
    }

    #[test]
    fn small_limits_are_counted_exactly_and_large_ones_in_steps() {
        for (most, least, greatest) in [(3, 3, 3), (1_000, 1_000, 1_000), (10_000, 8_500, 11_500)] {
            let daily = Daily::of([("note.add", Terms::USUAL.at_most(1, most))]);
            let mut counted = 0;
            let sent = (0..)
                .take_while(|n| {
                    let write = count(&daily, &envelope(Ulid::from_parts(1_790_000_000_000 + n, 7)), 90_000);
                    if write.is_some() {
                        counted += step(most);
                    }
                    counted <= most
                })
                .count();
            assert!((least..=greatest).contains(&sent), "{sent} of {most}");
        }
        assert!(count(&Daily::default(), &envelope(Ulid::nil()), 0).is_none());
    }

    #[test]
    fn a_refusal_says_when_the_day_ends() {
        let daily = Daily::of([("note.add", Terms::USUAL.at_most(1, 5))]);
        let Failure::Reject(error) = used_up(&daily, &envelope(Ulid::nil()), 2 * DAY_S - 60) else {
            panic!("it is a refusal")
        };
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::RateLimited, Some(60_000)));
    }
}
