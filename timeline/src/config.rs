//! What operators can choose.

use std::str::FromStr;
use std::time::Duration;

use crate::weights::Weights;

/// How timelines are computed.
#[derive(Debug, Clone)]
pub struct TimelineConfig {
    /// How often the users whose timeline is due are queued; zero: only when operators ask for it.
    pub interval: Duration,
    /// How often each user is due.
    pub tiers: Tiers,
    /// How items are ranked.
    pub weights: Weights,
    /// How old hints of relevance may be: counts of likes and comments, and whom friends follow.
    pub hints_age: Duration,
    /// How far the clocks of the machines that share the cache may be apart.
    pub clock_skew: Duration,
}

impl Default for TimelineConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            tiers: Tiers::default(),
            weights: Weights::default(),
            hints_age: Duration::from_secs(600),
            clock_skew: Duration::from_secs(1),
        }
    }
}

impl TimelineConfig {
    /// Checks what can be wrong.
    ///
    /// # Errors
    /// Names the first value that is invalid.
    pub fn validate(&self) -> Result<(), String> {
        self.weights.validate()
    }
}

/// One tier of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tier {
    /// Users who were seen within this time; `None`: all others.
    within_ms: Option<u64>,
    /// They are due at every `every`-th tick.
    every: u64,
}

/// How often users are due, such as `1d=1,7d=10,*=60`: users seen within a day at every tick, within a week at every
/// tenth, the others at every sixtieth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

impl Default for Tiers {
    fn default() -> Self {
        "1d=1,7d=10,*=60".parse().expect("the default is valid")
    }
}

impl Tiers {
    /// The tier of a user, 0 for the most active, and the number of ticks from one time that it is due to the next.
    pub(crate) fn of(&self, active_at: u64, now: u64) -> (usize, u64) {
        let idle = now.saturating_sub(active_at);
        let tiers = self.0.iter().enumerate();
        let mut tiers = tiers.filter(|(_, tier)| tier.within_ms.is_none_or(|within| idle <= within));
        tiers.next().map_or((self.0.len(), 1), |(at, tier)| (at, tier.every))
    }
}

impl FromStr for Tiers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example =
            "expected such as 1d=1,7d=10,*=60: seen within 1 day, every tick; …; the rest, every 60th";
        let tiers: Option<Vec<Tier>> = text.split(',').map(tier).collect();
        let tiers = tiers.ok_or(example)?;
        let times: Vec<u64> = tiers.iter().map(|tier| tier.within_ms.unwrap_or(u64::MAX)).collect();
        if times.last() != Some(&u64::MAX) || !times.is_sorted_by(|a, b| a < b) {
            return Err(format!("tiers rise in time and end with `*`; {example}"));
        }
        Ok(Self(tiers))
    }
}

fn tier(text: &str) -> Option<Tier> {
    let (within, every) = text.trim().split_once('=')?;
    let every = every.parse().ok().filter(|every| (1..=1_000_000).contains(every))?;
    if within == "*" {
        return Some(Tier { within_ms: None, every });
    }
    let unit = within.char_indices().next_back()?;
    let ms = match unit.1 {
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let count: u64 = within[..unit.0].parse().ok().filter(|count| (1..=10_000).contains(count))?;
    Some(Tier { within_ms: Some(count * ms), every })
}

#[cfg(test)]
mod tests {
    use super::Tiers;

    #[test]
    fn tiers_go_by_when_a_user_was_last_seen() {
        let tiers = Tiers::default();
        let (now, hour) = (1_700_000_000_000, 3_600_000);
        for (hours, expected) in [(0, (0, 1)), (24, (0, 1)), (25, (1, 10)), (7 * 24, (1, 10)), (169, (2, 60))]
        {
            assert_eq!(tiers.of(now - hours * hour, now), expected, "{hours} h");
        }
        assert_eq!(tiers.of(0, now), (2, 60), "never seen");
        assert_eq!(tiers.of(now + hour, now), (0, 1), "a clock that is behind");
    }

    #[test]
    fn an_invalid_list_of_tiers_is_refused_with_an_example() {
        for text in ["", "1d=1", "*=0", "7d=1,1d=2,*=3", "1x=1,*=2", "1d,*=2", "*=1,*=2", "é=1,*=2"] {
            let error = text.parse::<Tiers>().unwrap_err();
            assert!(error.contains("1d=1,7d=10,*=60"), "{text}: {error}");
        }
    }
}
