//! A flash crowd: several times as many people as usual, from one moment on, for a while.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result, ensure};

/// A flash crowd, such as `19:30+10x5`: five times as many people for ten minutes from 19:30 on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spike {
    from: f64,
    seconds: f64,
    times: f64,
}

impl Spike {
    /// The factor by which more people come at a second of the day.
    pub(crate) fn times(&self, second: f64) -> f64 {
        let inside = second >= self.from && second < self.from + self.seconds;
        if inside { self.times } else { 1.0 }
    }
}

impl fmt::Display for Spike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, minutes) = (clock_text(self.from as u32), self.seconds / 60.0);
        write!(f, "from {from} on, for {minutes} min, {} times as many", self.times)
    }
}

impl FromStr for Spike {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (time, rest) = text.split_once('+')?;
            let (minutes, times) = rest.split_once('x')?;
            Some((clock(time).ok()?, minutes.parse::<f64>().ok()?, times.parse::<f64>().ok()?))
        };
        let (from, minutes, times) = read().with_context(|| {
            format!("{text:?} should look like 19:30+10x5: from when, minutes, times as many")
        })?;
        ensure!(
            minutes > 0.0 && (1.0..=1000.0).contains(&times),
            "{text}: minutes must be above 0, and times between 1 and 1000"
        );
        Ok(Self { from: f64::from(from), seconds: minutes * 60.0, times })
    }
}

/// A second of the day in the format that [`clock`] reads.
pub(crate) fn clock_text(second: u32) -> String {
    format!("{:02}:{:02}", second / 3600, second / 60 % 60)
}

/// Seconds of the day at a time such as `19:30`.
///
/// # Errors
/// It is no such time.
pub(crate) fn clock(text: &str) -> Result<u32> {
    let read = || {
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)
    };
    read().with_context(|| format!("{text:?} should look like 19:30"))
}

#[cfg(test)]
mod tests {
    use super::{Spike, clock};

    #[test]
    fn it_has_an_effect_only_in_its_time() {
        let spike: Spike = "19:30+10x5".parse().unwrap();
        let at = |text: &str| spike.times(f64::from(clock(text).unwrap()));
        assert_eq!(spike.to_string(), "from 19:30 on, for 10 min, 5 times as many");
        assert_eq!([at("19:29"), at("19:30"), at("19:39"), at("19:40")], [1.0, 5.0, 5.0, 1.0]);
        for wrong in ["19:30", "25:00+1x2", "19:30+0x2", "19:30+1x0.5", "19:30+1y2"] {
            assert!(wrong.parse::<Spike>().is_err(), "{wrong}");
        }
    }
}
