//! The limits of types that an operator sets.

use clap::Args;
use soundoff_common::pipeline::terms::Limited;

/// How many messages of a type a user may send.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// How many messages of a type a user may send in a minute (on one edge) and in a day, instead of what the type
    /// declares: `post.create=60/2000`; `dm.send=-/500` has no limit a minute. `off` takes all such limits away. Every
    /// process of a deployment must have the same.
    #[arg(long, env = "SOUNDOFF_TYPE_LIMITS", value_name = "TYPE=MINUTE/DAY", value_delimiter = ',', value_parser = limited)]
    pub(crate) type_limits: Vec<Limited>,
}

fn limited(text: &str) -> Result<Limited, String> {
    if text == "off" {
        return Ok(Limited { message_type: None, per_minute: None, per_day: None });
    }
    let help = || "write TYPE=MINUTE/DAY, such as post.create=60/2000 or dm.send=-/500, or off".to_owned();
    let number = |text: &str| match text {
        "-" => Ok(None),
        _ => text.parse().ok().filter(|number| *number > 0).map(Some).ok_or_else(help),
    };
    let (message_type, limits) = text.split_once('=').ok_or_else(help)?;
    let (per_minute, per_day) = limits.split_once('/').ok_or_else(help)?;
    let (per_minute, per_day) = (number(per_minute)?, number(per_day)?);
    Ok(Limited { message_type: Some(message_type.to_owned()), per_minute, per_day })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_what_is_none_is_refused_with_an_example() {
        let read = limited("dm.send=-/500").unwrap();
        let expected =
            Limited { message_type: Some("dm.send".to_owned()), per_minute: None, per_day: Some(500) };
        assert_eq!(read, expected);
        assert_eq!(limited("off").unwrap().message_type, None);
        for bad in
            ["", "dm.send", "dm.send=5", "dm.send=0/5", "dm.send=5/0", "dm.send=a/b", "dm.send=/", "on"]
        {
            assert!(limited(bad).unwrap_err().contains("post.create=60/2000"), "{bad}");
        }
    }
}
