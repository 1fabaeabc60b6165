//! Maintenance: the gate is closed, and opened little by little.

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use soundoff_common::model::gate::{self, First, Gate, Mode, REASON_BYTES};
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::now_ms;

/// The longest time that an order may name, in seconds: a week.
const LONGEST_S: u64 = 7 * 86_400;

/// What an operator wants of the gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Close {
        reason: String,
        /// How long it takes, in seconds, as far as that is known.
        #[serde(default)]
        for_s: Option<u64>,
    },
    Open {
        /// How long it takes until all are let in, in seconds; 0: at once.
        #[serde(default)]
        over_s: u64,
        #[serde(default)]
        first: Vec<First>,
    },
}

/// Sets the gate, if that is the order; returns how it stands.
///
/// # Errors
/// An order that makes no sense, in words; or the tables do not answer.
pub(super) async fn obey(tables: &dyn Tables, order: Option<Order>) -> anyhow::Result<Gate> {
    if let Some(order) = order {
        gate::set(tables, &gate_of(order, now_ms())?).await?;
    }
    Ok(gate::read(tables).await?)
}

fn gate_of(order: Order, now: u64) -> anyhow::Result<Gate> {
    let within = |seconds: u64| {
        anyhow::ensure!(seconds <= LONGEST_S, "at most a week, {LONGEST_S} s");
        Ok(())
    };
    Ok(match order {
        Order::Close { reason, for_s } => {
            let plain = |letter: char| !letter.is_control() && !['"', '\\'].contains(&letter);
            let fits = reason.len() <= REASON_BYTES && reason.chars().all(plain);
            anyhow::ensure!(fits, "a reason has at most {REASON_BYTES} bytes, and no quotes");
            for_s.map_or(Ok(()), within)?;
            let until = for_s.map(|seconds| now + seconds * 1000);
            Gate { mode: Mode::Closed, since: now, reason, until, ..Gate::default() }
        }
        Order::Open { over_s: 0, .. } => Gate { since: now, ..Gate::default() },
        Order::Open { over_s, first } => {
            within(over_s)?;
            let first = first.into_iter().map(First::checked).collect::<Result<_, _>>();
            let first = first.map_err(anyhow::Error::msg)?;
            let (over_ms, salt) = (over_s * 1000, rand::rng().random::<u32>().into());
            let reason = "people are let in little by little".to_owned();
            Gate { mode: Mode::Opening, since: now, reason, over_ms, first, salt, ..Gate::default() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_make_no_sense_are_refused_in_words() {
        let close = |reason: &str, for_s| gate_of(Order::Close { reason: reason.to_owned(), for_s }, 1000);
        assert_eq!(close("new disks", Some(60)).unwrap().until, Some(61_000));
        assert_eq!(close("", None).unwrap().mode, Mode::Closed);
        for bad in [&*"x".repeat(REASON_BYTES + 1), "a \"quote\"", "two\nlines", "a \\"] {
            assert!(close(bad, None).unwrap_err().to_string().contains("64 bytes"), "{bad}");
        }
        assert!(close("", Some(LONGEST_S + 1)).unwrap_err().to_string().contains("a week"));
        let open = |over_s| gate_of(Order::Open { over_s, first: Vec::new() }, 1000);
        assert!(open(u64::MAX).is_err());
        for (bad, why) in
            [(First::Country("GBR".to_owned()), "two letters"), (First::App("i s".to_owned()), "ios-5.2")]
        {
            let error = gate_of(Order::Open { over_s: 9, first: vec![bad] }, 1000).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!((open(0).unwrap().mode, open(1).unwrap().over_ms), (Mode::Open, 1000));
    }
}
