//! Every number on the command line at its ends and beyond: it is refused with its range, or what comes of it makes
//! sense.

use std::any::TypeId;
use std::time::{Duration, Instant};

use clap::{Arg, CommandFactory as _, Parser as _};
use soundoff_common::pipeline::consumer::ConsumerConfig;
use soundoff_common::web::origins::Origins;

use super::cli::{Cli, Command, TimelineCommand};
use super::parts::{ConsumerArgs, EdgeArgs};
use super::timeline::TimelineArgs;
use super::users::UsersArgs;

/// A flag that takes a number, and a command line that it can be added to.
#[derive(Debug)]
struct Flag {
    line: Vec<String>,
    name: String,
    decimals: bool,
}

/// All such flags of a command and its subcommands.
fn flags(command: &clap::Command, line: &[String], found: &mut Vec<Flag>) {
    let values = command.get_positionals().filter(|arg| arg.is_required_set()).map(example);
    let whole: Vec<String> = line.iter().cloned().chain(values).collect();
    for arg in command.get_arguments() {
        let kind = arg.get_value_parser().type_id();
        let wholes = [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
        ];
        let decimals = [TypeId::of::<f32>(), TypeId::of::<f64>()].iter().any(|number| kind == *number);
        if arg.get_action().takes_values() && (decimals || wholes.iter().any(|number| kind == *number)) {
            let name = arg.get_long().expect("numbers are named").to_owned();
            found.push(Flag { line: whole.clone(), name, decimals });
        }
    }
    for sub in command.get_subcommands() {
        flags(sub, &[line, &[sub.get_name().to_owned()]].concat(), found);
    }
}

/// Something to write for an argument that must be there.
fn example(arg: &Arg) -> String {
    let example = match arg.get_id().as_str() {
        "queue" => "main_q",
        "key" => "1",
        "user" => "ann",
        "role" => "admin",
        other => panic!("what is an example of {other}?"),
    };
    example.to_owned()
}

fn all() -> Vec<Flag> {
    let mut found = Vec::new();
    flags(&Cli::command(), &["soundoff".to_owned()], &mut found);
    found
}

impl Flag {
    fn read(&self, value: &str) -> Result<Cli, String> {
        let flag = format!("--{}={value}", self.name);
        Cli::try_parse_from(self.line.iter().cloned().chain([flag])).map_err(|error| error.to_string())
    }

    /// Must be refused, with the flag's name and its range; returns the range.
    fn refused(&self, value: &str) -> [String; 2] {
        let said = self.read(value).expect_err(&format!("{self:?} takes {value}"));
        assert!(said.contains(&format!("--{}", self.name)), "{said}");
        let range = said.split_once(" from ").and_then(|(_, range)| range.lines().next()?.split_once(" to "));
        let (from, to) = range.unwrap_or_else(|| panic!("{self:?} names no range: {said}"));
        [from.to_owned(), to.to_owned()]
    }

    /// Must be taken, and make sense.
    fn taken(&self, value: &str) {
        let cli = self.read(value).unwrap_or_else(|said| panic!("{self:?} refuses {value}: {said}"));
        sane(&cli.command).unwrap_or_else(|error| panic!("{self:?} at {value}: {error:#}"));
    }
}

#[test]
fn every_number_has_a_range_that_a_refusal_names() {
    let flags = all();
    assert!(
        flags.iter().any(|flag| flag.name == "visibility-ms") && flags.len() > 50,
        "{} flags",
        flags.len()
    );
    for flag in &flags {
        let [from, to] = flag.refused("-1");
        if flag.decimals {
            let (from, to): (f64, f64) = (from.parse().unwrap(), to.parse().unwrap());
            assert!(from >= 0.0 && to.is_finite());
            for beyond in [from - 0.5, to + 0.5, f64::MAX, f64::INFINITY, f64::NAN] {
                flag.refused(&beyond.to_string());
            }
            [from, to, f64::midpoint(from, to)].iter().for_each(|inside| flag.taken(&inside.to_string()));
            continue;
        }
        let (from, to): (u128, u128) = (from.parse().unwrap(), to.parse().unwrap());
        assert!(from < to, "{flag:?}");
        flag.taken(&from.to_string());
        flag.taken(&to.to_string());
        flag.refused(&(to + 1).to_string());
        if from > 0 {
            flag.refused(&(from - 1).to_string());
        }
        for value in [0, u128::from(u64::MAX), u128::from(u64::MAX) + 1] {
            match (from..=to).contains(&value) {
                true => flag.taken(&value.to_string()),
                false => drop(flag.refused(&value.to_string())),
            }
        }
        for nonsense in ["", "x", "1.5", "1e3", "0x10", " 1"] {
            flag.refused(nonsense);
        }
    }
}

#[test]
fn all_numbers_of_a_command_at_the_same_end_make_sense_together() {
    let flags = all();
    for end in [0, 1] {
        let mut lines: Vec<Vec<String>> = flags.iter().map(|flag| flag.line.clone()).collect();
        lines.sort();
        lines.dedup();
        for line in lines {
            let ours = flags.iter().filter(|flag| flag.line == line);
            // Together these two mean that no message is ever taken, which is refused: below.
            let ours = ours.filter(|flag| end == 1 || flag.name != "queue-bytes");
            let values = ours.map(|flag| format!("--{}={}", flag.name, flag.refused("-1")[end]));
            let cli = Cli::try_parse_from(line.iter().cloned().chain(values)).unwrap();
            sane(&cli.command).unwrap_or_else(|error| panic!("{line:?}: {error:#}"));
        }
    }
    let narrow = Cli::parse_from(["soundoff", "up", "--queue-bytes=1024", "--frame-bytes=1024"]);
    let Command::Up(config) = narrow.command else { unreachable!() };
    let said = config.check().unwrap_err().to_string();
    assert!(said.contains("--queue-bytes 1024") && said.contains("--frame-bytes 1024"), "{said}");
    let tight = Cli::parse_from(["soundoff", "up", "--queue-bytes=1024", "--frame-bytes=1023"]);
    let Command::Up(config) = tight.command else { unreachable!() };
    config.check().unwrap();
}

#[test]
fn queues_of_sqs_are_not_tried_more_often_than_sqs_does() {
    assert!(Cli::try_parse_from(["soundoff", "up", "--max-receives=1000"]).is_ok());
    for role in ["router", "workers", "timeline"] {
        assert!(Cli::try_parse_from(["soundoff", role, "--max-receives=10"]).is_ok(), "{role}");
        let said = Cli::try_parse_from(["soundoff", role, "--max-receives=11"]).unwrap_err().to_string();
        assert!(said.contains("from 1 to 10"), "{role}: {said}");
    }
}

/// Checks that the configuration of a command makes sense.
fn sane(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Up(config) => {
            // Refused before anything starts, with both flags: as good as a range.
            if let Err(error) = config.check() {
                assert!(error.to_string().contains("--queue-bytes"), "{error}");
            }
            edge(&config.edge, config.drain())?;
            consumer(&config.consumer);
            timeline(&config.timeline)?;
            users(&config.users)?;
            fits(config.media.config().kept);
            assert!(config.queue_bytes > 0 && config.cache_bytes > 0 && config.edges > 0);
        }
        Command::Edge(role) => edge(&role.edge, role.node.drain())?,
        Command::Router(role) => consumer(&role.consumer),
        Command::Workers { command: None, role } => {
            consumer(&role.consumer);
            fits(role.media.config().kept);
        }
        Command::Timeline { command: None, role }
        | Command::Timeline {
            command:
                Some(
                    TimelineCommand::Schedule(role)
                    | TimelineCommand::Compute(role)
                    | TimelineCommand::Personalize(role)
                    | TimelineCommand::Fetch(role),
                ),
            ..
        } => {
            consumer(&role.consumer);
            timeline(&role.timeline)?;
        }
        Command::Users { command: None, role } => {
            users(&role.users)?;
            fits(role.node.drain());
        }
        _ => {}
    }
    Ok(())
}

/// Clocks can be moved by this.
fn fits(time: Duration) {
    assert!(Instant::now().checked_add(time).is_some(), "{time:?}");
}

fn edge(args: &EdgeArgs, drain: Duration) -> anyhow::Result<()> {
    let config = args.config(1, drain);
    config.validate()?;
    fits(config.drain_deadline);
    assert!(config.max_sockets > 0 && config.max_sockets.checked_mul(2).is_some());
    Ok(())
}

fn consumer<const MOST: u64>(args: &ConsumerArgs<MOST>) {
    let pulling = args.pulling();
    for ConsumerConfig { slots, batch, visibility, max_receives, .. } in [pulling.worker(), pulling.router()]
    {
        assert!(slots > 0 && batch > 0 && max_receives > 0);
        assert!(visibility >= Duration::from_millis(100), "extending it would spin");
        fits(visibility);
    }
}

fn timeline(args: &TimelineArgs) -> anyhow::Result<()> {
    let config = args.config(Duration::ZERO)?;
    fits(config.interval);
    fits(config.hints_age);
    Ok(())
}

fn users(args: &UsersArgs) -> anyhow::Result<()> {
    let config = args.config(Origins::default(), None)?;
    assert!(config.codes_per_minute > 0 && config.sign_ins_per_minute > 0);
    fits(config.access_lifetime);
    fits(config.refresh_lifetime);
    assert!(!config.access_lifetime.is_zero() && !config.refresh_lifetime.is_zero());
    Ok(())
}
