//! The parts of an item's score, and the weight of each.

use std::time::Duration;

/// The number of units in a score of 1. Parts are whole numbers of units, so that they sum to the score exactly, also
/// as doubles.
const UNITS: f64 = 1024.0;
/// The heaviest weight, so that sums stay far below the largest number.
const MOST_WEIGHT: f64 = 16.0;
/// The parts of smaller minutes, engagements and hundredths of affinity are looked up; those of larger ones are
/// computed.
const TABLE: usize = 4_096;

/// How items are ranked.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The score of a new post for being new.
    pub age: f64,
    /// The age at which that is half.
    pub half_life: Duration,
    /// The score of each doubling of the reader's interactions with the author.
    pub affinity: f64,
    /// The score of each doubling of likes and comments.
    pub popularity: f64,
    /// How many items of one author may follow each other.
    pub in_a_row: usize,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            age: 1.0,
            half_life: Duration::from_secs(6 * 3_600),
            affinity: 0.5,
            popularity: 0.25,
            in_a_row: 2,
        }
    }
}

impl Weights {
    /// Checks that ranking works with these weights.
    ///
    /// # Errors
    /// Names the first invalid weight.
    pub fn validate(&self) -> Result<(), String> {
        let weights = [("age", self.age), ("affinity", self.affinity), ("popularity", self.popularity)];
        for (name, weight) in weights {
            if !(0.0..=MOST_WEIGHT).contains(&weight) {
                return Err(format!("the weight of {name} must be from 0 to {MOST_WEIGHT}, not {weight}"));
            }
        }
        if self.half_life.is_zero() {
            return Err("the half-life of a post's age must be longer than nothing".to_owned());
        }
        if self.in_a_row == 0 {
            return Err("at least 1 item of an author must be allowed in a row".to_owned());
        }
        Ok(())
    }
}

/// The parts of a score, in units of 1/1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// For being new.
    pub age: u16,
    /// For how much the reader interacts with the author.
    pub affinity: u16,
    /// For likes and comments.
    pub popularity: u16,
}

impl Parts {
    /// The score: their sum, in units of 1/1024.
    #[must_use]
    pub fn score(self) -> u32 {
        u32::from(self.age) + u32::from(self.affinity) + u32::from(self.popularity)
    }
}

/// Units as a number, exactly.
#[must_use]
pub fn unit(units: u32) -> f64 {
    f64::from(units) / UNITS
}

/// Computes the parts of scores.
#[derive(Debug)]
pub struct Scorer {
    weights: Weights,
    ages: Vec<u16>,
    affinities: Vec<u16>,
    popularities: Vec<u16>,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and is never negative"
)]
fn part(value: f64) -> u16 {
    (UNITS * value).round() as u16
}

/// Parts that are not looked up: rare, and kept apart from the frequent ones.
impl Weights {
    #[expect(
        clippy::cast_precision_loss,
        reason = "minutes are exact in a double for longer than the age of the universe"
    )]
    #[cold]
    fn age_part(&self, minutes: u64) -> u16 {
        part(self.age * (-(minutes as f64) / (self.half_life.as_secs_f64() / 60.0)).exp2())
    }

    #[cold]
    fn affinity_part(&self, hundredths: u32) -> u16 {
        part(self.affinity * (1.0 + f64::from(hundredths) / 100.0).log2())
    }

    #[cold]
    fn popularity_part(&self, engagement: u32) -> u16 {
        part(self.popularity * (1.0 + f64::from(engagement)).log2())
    }
}

impl Scorer {
    /// A scorer of these weights, which should be valid ([`Weights::validate`]): with others, scores make no sense.
    #[must_use]
    pub fn new(weights: &Weights) -> Self {
        let numbers = || 0..u32::try_from(TABLE).unwrap_or(u32::MAX);
        Self {
            ages: numbers().map(|minutes| weights.age_part(u64::from(minutes))).collect(),
            affinities: numbers().map(|hundredths| weights.affinity_part(hundredths)).collect(),
            popularities: numbers().map(|engagement| weights.popularity_part(engagement)).collect(),
            weights: weights.clone(),
        }
    }

    /// The parts of a score: see [`Scorer::age`], [`Scorer::affinity`] and [`Scorer::popularity`].
    #[must_use]
    #[inline]
    pub fn parts(&self, age_ms: u64, affinity: u32, engagement: u32) -> Parts {
        Parts {
            age: self.age(age_ms),
            affinity: self.affinity(affinity),
            popularity: self.popularity(engagement),
        }
    }

    /// For a post that is `ms` milliseconds old.
    #[must_use]
    pub fn age(&self, ms: u64) -> u16 {
        let minutes = ms / 60_000;
        let known = usize::try_from(minutes).ok().and_then(|minutes| self.ages.get(minutes));
        known.copied().unwrap_or_else(|| self.weights.age_part(minutes))
    }

    /// For an author to whom the reader has an affinity of `hundredths` of a point.
    #[must_use]
    pub fn affinity(&self, hundredths: u32) -> u16 {
        let known = self.affinities.get(hundredths as usize);
        known.copied().unwrap_or_else(|| self.weights.affinity_part(hundredths))
    }

    /// For a post of this engagement: likes, and comments twice.
    #[must_use]
    pub fn popularity(&self, engagement: u32) -> u16 {
        let known = self.popularities.get(engagement as usize);
        known.copied().unwrap_or_else(|| self.weights.popularity_part(engagement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_documented() {
        let scorer = Scorer::new(&Weights::default());
        let hour = 3_600_000;
        for (ms, units) in
            [(0, 1024), (59_999, 1024), (60_000, 1022), (6 * hour, 512), (12 * hour, 256), (u64::MAX, 0)]
        {
            assert_eq!(scorer.age(ms), units, "{ms} ms");
        }
        for (hundredths, units) in [(0, 0), (100, 512), (300, 1024), (102_300, 5120), (u32::MAX, 12_982)] {
            assert_eq!(scorer.affinity(hundredths), units, "{hundredths}");
        }
        for (engagement, units) in
            [(0, 0), (1, 256), (3, 512), (1023, 2560), (65_535, 4096), (u32::MAX, 8192)]
        {
            assert_eq!(scorer.popularity(engagement), units, "{engagement}");
        }
        assert_eq!(unit(1024 + 1), 1.000_976_562_5);
    }

    #[test]
    fn parts_are_the_same_on_both_sides_of_a_tables_end() {
        let weights = Weights { half_life: Duration::from_secs(30 * 86_400), ..Weights::default() };
        let scorer = Scorer::new(&weights);
        for number in (TABLE as u32 - 3)..(TABLE as u32 + 3) {
            assert_eq!(scorer.age(60_000 * u64::from(number)), weights.age_part(u64::from(number)));
            assert_eq!(scorer.affinity(number), weights.affinity_part(number));
            assert_eq!(scorer.popularity(number), weights.popularity_part(number));
        }
    }

    #[test]
    fn an_invalid_weight_is_named() {
        let valid = Weights::default();
        assert_eq!(valid.validate(), Ok(()));
        for (bad, name) in [
            (Weights { age: f64::NAN, ..valid.clone() }, "age"),
            (Weights { affinity: -0.1, ..valid.clone() }, "affinity"),
            (Weights { popularity: 16.1, ..valid.clone() }, "popularity"),
            (Weights { half_life: Duration::ZERO, ..valid.clone() }, "half-life"),
            (Weights { in_a_row: 0, ..valid.clone() }, "in a row"),
        ] {
            assert!(bad.validate().unwrap_err().contains(name), "{bad:?}");
        }
    }
}
