//! How values on the command line are read: each with its range or an example, which a refusal names.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use soundoff_common::model::gate::First;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// An hour, a day and a year in the units of flags.
pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
pub(super) const YEAR_S: u64 = 366 * 24 * 3_600;

/// Reads whole numbers of a range.
pub(super) fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| outside("whole number", &range))
    }
}

/// Reads numbers of a range, which may have decimals.
pub(super) fn decimal(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| outside("number", &range))
    }
}

fn outside<T: Display>(what: &str, range: &RangeInclusive<T>) -> String {
    format!("write a {what} from {} to {}", range.start(), range.end())
}

/// Reads a time: a whole number of seconds, minutes or hours.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let read = |(unit, seconds): (&str, u64)| {
        text.strip_suffix(unit)?.parse::<u64>().ok().and_then(|count| count.checked_mul(seconds))
    };
    let seconds = units.into_iter().find_map(read);
    seconds.map(Duration::from_secs).ok_or_else(|| "write a time such as 30s, 10m or 2h".to_owned())
}

/// Reads who is let in first.
pub(super) fn first(text: &str) -> Result<First, String> {
    let first = match text.split_once('=') {
        Some(("country", country)) => First::Country(country.to_owned()).checked().ok(),
        Some(("app", app)) => First::App(app.to_owned()).checked().ok(),
        _ => None,
    };
    first.ok_or_else(|| "write country=GB (two letters), app=ios or app=ios-5.2".to_owned())
}

/// Reads an address to listen on, for a process of a deployment.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let example =
        |port: &str| format!("write IP:PORT, such as 0.0.0.0:{port} (all interfaces) or 127.0.0.1:{port}");
    text.parse().map_err(|_| match port(text) {
        Some(_) => example(text),
        None => example("8080"),
    })
}

/// Reads the address at which others reach a process.
pub(super) fn reachable(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write the IP:PORT that others reach, such as 10.0.1.7:9090".to_owned())
}

/// Reads an address to listen on, for one machine: a port alone is that of the loopback address.
pub(super) fn local(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = port(text) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "write IP:PORT, such as 127.0.0.1:8080, or a port alone".to_owned())
}

/// The port, if that is all that a text is.
fn port(text: &str) -> Option<u16> {
    text.parse().ok()
}

/// Checks what to log. The filter's own reader takes any single word for the name of a module, and then logs nothing
/// else.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let help = "choose off, error, warn, info, debug or trace, or a filter such as warn,soundoff_edge=debug";
    // A span in brackets may have commas in it; such filters are for experts, and left to the reader.
    let words = text.split(',').map(str::trim).filter(|word| !word.contains('=') && !text.contains('['));
    if let Some(word) = words.into_iter().find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err())
    {
        return Err(format!("`{word}` is no level: {help}"));
    }
    EnvFilter::try_new(text).map_err(|_| format!("`{text}` is no filter: {help}"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_none_are_refused_with_an_example() {
        assert_eq!(local("8080").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(local("[::1]:1").unwrap().to_string(), "[::1]:1");
        for bad in ["localhost:8080", "127.0.0.1", "70000", "", ":8080"] {
            assert!(local(bad).unwrap_err().contains("127.0.0.1:8080"), "{bad}");
            assert!(address(bad).unwrap_err().contains("0.0.0.0:8080"), "{bad}");
            assert!(reachable(bad).unwrap_err().contains("10.0.1.7:9090"), "{bad}");
        }
        assert!(address("9091").unwrap_err().contains("127.0.0.1:9091"), "with the port that was meant");
        assert_eq!(address("0.0.0.0:9090").unwrap().port(), 9090);
    }

    #[test]
    fn times_and_the_first_are_read_or_refused_with_an_example() {
        assert_eq!(["30s", "10m", "2h", "0s"].map(|text| time(text).unwrap().as_secs()), [30, 600, 7_200, 0]);
        for bad in ["", "10", "m", "-1s", "1.5m", "1d", "99999999999999999999s", "9999999999999999999h"] {
            assert!(time(bad).unwrap_err().contains("10m"), "{bad}");
        }
        assert_eq!(first("country=gb").unwrap(), First::Country("GB".to_owned()));
        assert_eq!(first("app=ios-5.2").unwrap(), First::App("ios-5.2".to_owned()));
        for bad in ["GB", "country=GBR", "country=", "app=", "app=i os", "country=G1", "place=GB", ""] {
            assert!(first(bad).unwrap_err().contains("country=GB"), "{bad}");
        }
    }

    #[test]
    fn what_is_no_level_is_no_silent_off() {
        for good in
            ["off", "WARN", "trace", "warn,soundoff_edge=debug", "soundoff=info", "debug,[span{a=1}]=trace"]
        {
            assert_eq!(log_filter(good).unwrap(), good);
        }
        for bad in ["loud", "", "warn,", "soundoff_edge", "warn,soundoff_edge=loud", "verbose,soundoff=info"]
        {
            let said = log_filter(bad).unwrap_err();
            assert!(
                said.contains("error, warn, info") && said.contains("soundoff_edge=debug"),
                "{bad}: {said}"
            );
        }
    }
}
