//! How timelines are computed and ranked: flags and environment.

use std::time::Duration;

use clap::Args;
use soundoff_timeline::weights::Weights;
use soundoff_timeline::{Tiers, TimelineConfig};

use super::values::{DAY_MS, decimal, whole};

/// The bound of [`Weights::validate`].
const HEAVIEST: f64 = 16.0;
/// More posts of one author than a timeline has in all, so that it means no limit.
const MOST_IN_A_ROW: u64 = 10_000;

/// How timelines are computed and ranked (docs/timelines.md).
#[derive(Debug, Args)]
#[command(next_help_heading = "Timelines")]
pub(crate) struct TimelineArgs {
    /// How often to look for users whose timeline is due, in milliseconds; 0 means only on `soundoff timeline tick`.
    #[arg(long, env = "SOUNDOFF_TIMELINE_INTERVAL_MS", default_value_t = 60_000, value_parser = whole::<u64>(0..=DAY_MS))]
    timeline_interval_ms: u64,
    /// How often timelines are due. The default: of users seen within a day at every tick, within a week at every
    /// tenth, of all others at every sixtieth.
    #[arg(long, env = "SOUNDOFF_TIMELINE_TIERS", default_value = "1d=1,7d=10,*=60")]
    timeline_tiers: Tiers,
    /// How old data that only hint at relevance may be, in milliseconds: counts of likes and comments, and whom friends
    /// follow.
    #[arg(long, env = "SOUNDOFF_TIMELINE_HINTS_AGE_MS", default_value_t = 600_000, value_parser = whole::<u64>(0..=7 * DAY_MS))]
    timeline_hints_age_ms: u64,
    /// The score of a new post for being new, 0 to 16.
    #[arg(long, env = "SOUNDOFF_TIMELINE_AGE_WEIGHT", default_value_t = 1.0, value_parser = decimal(0.0..=HEAVIEST))]
    timeline_age_weight: f64,
    /// After how many minutes that score has fallen to half.
    #[arg(long, env = "SOUNDOFF_TIMELINE_HALF_LIFE_MIN", default_value_t = 360, value_parser = whole::<u64>(1..=u64::MAX))]
    timeline_half_life_min: u64,
    /// The score for each doubling of a reader's interactions with the author, 0 to 16.
    #[arg(long, env = "SOUNDOFF_TIMELINE_AFFINITY_WEIGHT", default_value_t = 0.5, value_parser = decimal(0.0..=HEAVIEST))]
    timeline_affinity_weight: f64,
    /// The score for each doubling of likes and comments, 0 to 16.
    #[arg(long, env = "SOUNDOFF_TIMELINE_POPULARITY_WEIGHT", default_value_t = 0.25, value_parser = decimal(0.0..=HEAVIEST))]
    timeline_popularity_weight: f64,
    /// How many posts of one author may follow each other.
    #[arg(long, env = "SOUNDOFF_TIMELINE_IN_A_ROW", default_value_t = 2, value_parser = whole::<usize>(1..=MOST_IN_A_ROW))]
    timeline_in_a_row: usize,
}

impl TimelineArgs {
    /// The configuration of timelines; `clock_skew` is how far the clocks of their processes may be apart. Refuses
    /// weights that make no sense.
    pub(crate) fn config(&self, clock_skew: Duration) -> anyhow::Result<TimelineConfig> {
        let config = TimelineConfig {
            interval: Duration::from_millis(self.timeline_interval_ms),
            tiers: self.timeline_tiers.clone(),
            weights: Weights {
                age: self.timeline_age_weight,
                half_life: Duration::from_secs(self.timeline_half_life_min.saturating_mul(60)),
                affinity: self.timeline_affinity_weight,
                popularity: self.timeline_popularity_weight,
                in_a_row: self.timeline_in_a_row,
            },
            hints_age: Duration::from_millis(self.timeline_hints_age_ms),
            clock_skew,
        };
        config.validate().map_err(anyhow::Error::msg)?;
        Ok(config)
    }
}
