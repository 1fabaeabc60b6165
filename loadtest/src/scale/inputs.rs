//! The two files that say what messages take and what people do.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::terraform::Row;
use super::time::Millis;

const SERVICE: &str = include_str!("service.toml");
const BEHAVIOUR: &str = include_str!("behaviour.toml");

/// What messages take, and how it was measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Where the figures come from.
    pub(crate) source: Source,
    /// An edge's share of a message.
    pub(crate) edge: Edge,
    /// The router's.
    pub(crate) router: Router,
    /// What managed services take.
    pub(crate) aws: Aws,
    /// For queues and types without figures of their own.
    defaults: Defaults,
    /// By MessageType.
    types: BTreeMap<String, Type>,
    /// How timelines are scheduled.
    pub(crate) timelines: Timelines,
}

/// Where figures come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// The machine.
    pub(crate) machine: String,
    /// When.
    pub(crate) date: String,
    /// By which command.
    pub(crate) command: String,
}

/// An edge's share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edge {
    /// From frame to `accepted`.
    pub(crate) message_us: f64,
    /// A delivery to a socket.
    pub(crate) reply_us: f64,
    /// Memory of a socket.
    pub(crate) socket_kb: f64,
    /// Memory without sockets.
    pub(crate) base_mb: f64,
    /// How many sockets it accepts.
    pub(crate) max_sockets: f64,
}

/// The router's share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Router {
    /// Of a message.
    pub(crate) message_us: f64,
}

/// What managed services take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aws {
    /// How fast a vCPU is, where 1 is the core that was measured on.
    pub(crate) vcpu_speed: f64,
    /// A send and a receive.
    pub(crate) hop_ms: Millis,
    /// A call to the tables.
    pub(crate) table_ms: Millis,
    /// A call to the archive.
    pub(crate) archive_ms: Millis,
    /// The way back to the client.
    pub(crate) reply_ms: Millis,
    /// Processor time of one request.
    pub(crate) call_us: f64,
    /// The least time from a process's send to a queue to its next, unless an SQS message is full before.
    pub(crate) send_every_ms: f64,
    /// An envelope's size.
    pub(crate) envelope_bytes: f64,
    /// From the decision to start a task to its first receive.
    pub(crate) task_start_s: f64,
    /// Until an alarm knows a minute's figure.
    pub(crate) metric_delay_s: f64,
}

/// What holds for a queue or a type that has no figure of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    /// How many messages of a queue a task handles at once.
    slots: u32,
    /// The type whose figures a client's type has that can cause pushes or events.
    pushes: String,
    /// The type whose figures a client's type has that only replies.
    replies: String,
    /// The type whose figures a type has that no client sends.
    internal: String,
}

/// What a MessageType takes of a worker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Type {
    /// Processor time.
    us: Option<f64>,
    /// The type whose processor time it is taken to have.
    #[serde(rename = "as")]
    like: Option<String>,
    /// Calls to the tables, one after another.
    pub(crate) calls: f64,
    /// Read units, where requests.toml has no dollars for it.
    #[serde(default)]
    pub(crate) read_units: f64,
    /// Write units, the same.
    #[serde(default)]
    pub(crate) write_units: f64,
}

/// How timelines are scheduled (docs/data-model.md, "Others who read and write").
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timelines {
    /// Between two ticks.
    pub(crate) interval_s: f64,
    /// Users of one message.
    pub(crate) users_a_message: f64,
    /// Accounts that one page of the scan looks at.
    pub(crate) accounts_a_page: f64,
    /// Pages at once.
    pub(crate) segments: f64,
}

impl Service {
    /// Reads a file, or the one that was built in.
    ///
    /// # Errors
    /// It cannot be read, lacks something, or has something twice.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let service: Self = parse(path, SERVICE)?;
        let aws = &service.aws;
        for (name, time) in [
            ("hop_ms", aws.hop_ms),
            ("table_ms", aws.table_ms),
            ("archive_ms", aws.archive_ms),
            ("reply_ms", aws.reply_ms),
        ] {
            time.check(name)?;
        }
        ensure!(
            aws.vcpu_speed > 0.0 && aws.send_every_ms > 0.0,
            "vcpu_speed and send_every_ms must be above 0"
        );
        let Defaults { pushes, replies, internal, .. } = &service.defaults;
        for name in service.types.keys().chain([pushes, replies, internal]) {
            service.work_us(name)?;
        }
        Ok(service)
    }

    /// The type by whose figures a queue's messages are simulated: their own, or the default for what the queue's
    /// feature declares.
    pub(crate) fn known_as<'a>(&'a self, row: &'a Row) -> &'a str {
        let Defaults { pushes, replies, internal, .. } = &self.defaults;
        match row {
            Row { message_type, .. } if self.types.contains_key(message_type) => message_type,
            Row { replies: false, .. } => internal,
            Row { tells: 0, .. } => replies,
            Row { .. } => pushes,
        }
    }

    /// The figures of a type that [`Self::known_as`] returned.
    pub(crate) fn figures(&self, name: &str) -> &Type {
        &self.types[name]
    }

    /// A type's own processor time in microseconds.
    ///
    /// # Errors
    /// [types] has no row for it, or one without a time.
    pub(crate) fn work_us(&self, name: &str) -> Result<f64> {
        let row = self.types.get(name).with_context(|| format!("[types] has no row for {name}"))?;
        match (row.us, &row.like) {
            (Some(us), None) if us >= 0.0 => Ok(us),
            (None, Some(like)) if like != name => self.work_us(like),
            _ => bail!("the type {name} should have either `us`, from 0, or `as`, another type"),
        }
    }

    /// How many messages of a queue a task handles at once.
    pub(crate) fn slots(&self, row: &Row) -> u32 {
        row.slots.unwrap_or(self.defaults.slots)
    }
}

/// What people do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Behaviour {
    /// The share of users who come on a day.
    pub(crate) daily_users: f64,
    /// The share who come in a week.
    pub(crate) weekly_users: f64,
    /// Sessions on a day of each user who comes.
    pub(crate) sessions: f64,
    /// Seconds of a session.
    pub(crate) session_seconds: f64,
    /// The busiest hour.
    pub(crate) peak_hour: f64,
    /// How much busier than the mean it is.
    pub(crate) swing: f64,
    /// Followers who get a post at once.
    pub(crate) online_followers: f64,
    /// Bytes to clients for a message.
    pub(crate) frame_bytes: f64,
    /// Messages of a session, by type.
    pub(crate) messages: BTreeMap<String, f64>,
    /// What follows from a type, by queue.
    pub(crate) follow: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Behaviour {
    /// Reads a file, or the one that was built in.
    ///
    /// # Errors
    /// It cannot be read, or lacks something, or has a share above 1.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let read: Self = parse(path, BEHAVIOUR)?;
        let share = |share: f64| (0.0..=1.0).contains(&share);
        ensure!(
            share(read.daily_users) && share(read.weekly_users) && share(read.swing),
            "shares and swing must be between 0 and 1"
        );
        ensure!(read.messages.values().all(|count| *count >= 0.0), "counts of messages must not be negative");
        Ok(read)
    }

    /// Sessions that begin in a second, on average over the day.
    pub(crate) fn sessions_a_second(&self, users: f64) -> f64 {
        users * self.daily_users * self.sessions / 86_400.0
    }

    /// How busy a second of the day is, where 1 is the mean.
    pub(crate) fn curve(&self, second: f64) -> f64 {
        let angle = (second / 3600.0 - self.peak_hour) / 24.0 * std::f64::consts::TAU;
        1.0 + self.swing * angle.cos()
    }
}

fn parse<T: DeserializeOwned>(path: Option<&Path>, built: &str) -> Result<T> {
    match path {
        None => toml::from_str(built).context("the file that was built in"),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Behaviour, Row, Service};

    #[test]
    fn the_files_of_the_build_are_whole_and_say_what_the_server_says() {
        let (service, behaviour) = (Service::read(None).unwrap(), Behaviour::read(None).unwrap());
        for name in behaviour.messages.keys().chain(behaviour.follow.keys()) {
            service.work_us(name).unwrap();
        }
        let parts = include_str!("../../../soundoff/src/config/parts.rs");
        let default = |variable: &str| -> f64 {
            let rest = parts.split_once(variable).unwrap().1.split_once("default_value_t = ").unwrap().1;
            rest[..rest.find([')', ',']).unwrap()].replace('_', "").parse().unwrap()
        };
        let terraform = include_str!("../../../infra/terraform/main.tf");
        let edge = terraform.lines().find(|line| line.trim_start().starts_with("edge  ")).unwrap();
        let memory = edge.split_once("memory = ").unwrap().1.split_once(',').unwrap().0;
        let room = memory.parse::<f64>().unwrap() * 1024.0 * 0.75 / 8.0;
        assert_eq!(service.edge.max_sockets, room, "as many as the edge counts by itself");
        assert_eq!(f64::from(service.defaults.slots), default("SOUNDOFF_SLOTS"));
    }

    #[test]
    fn a_type_without_figures_has_those_of_what_its_feature_declares() {
        let service = Service::read(None).unwrap();
        let row = |message_type: &str, tells, replies| Row {
            message_type: message_type.into(),
            archived: replies,
            side: false,
            slots: None,
            tells,
            replies,
        };
        assert_eq!(service.known_as(&row("typing", 1, true)), "typing");
        assert_eq!(service.known_as(&row("poll.create", 1, true)), "dm.send");
        assert_eq!(service.known_as(&row("poll.vote", 0, true)), "post.create");
        assert_eq!(service.known_as(&row("poll.closed", 2, false)), "profile.get");
        assert_eq!(service.slots(&row("poll.vote", 0, true)), 256);
        assert_eq!(service.slots(&Row { slots: Some(2), ..row("poll.vote", 0, true) }), 2);
    }

    #[test]
    fn the_day_has_its_mean_and_its_peak() {
        let behaviour = Behaviour::read(None).unwrap();
        let mean = (0..86_400).map(|second| behaviour.curve(f64::from(second))).sum::<f64>() / 86_400.0;
        assert!((mean - 1.0).abs() < 1e-9 && (behaviour.curve(20.0 * 3600.0) - 1.6).abs() < 1e-9);
        assert!((behaviour.sessions_a_second(86_400.0) - 1.8).abs() < 1e-9);
    }

    #[test]
    fn what_a_file_gets_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("service.toml");
        for (from, to, named) in [
            ("hop_ms = { p50 = 20.0,", "hop_ms = { p50 = 90.0,", "hop_ms"),
            ("as = \"post.create\", calls = 2 }", "calls = 2 }", "profile.update"),
            ("segments", "segment", "segment"),
            ("internal = \"profile.get\"", "internal = \"no.type\"", "no.type"),
        ] {
            std::fs::write(&path, super::SERVICE.replacen(from, to, 1)).unwrap();
            let error = format!("{:#}", Service::read(Some(&path)).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
