//! Which server is measured in which way.

use anyhow::Result;
use tokio::sync::watch;

use super::peer::Peer;
use super::servers;
use crate::opening::Until;
use crate::sending::Work;
use crate::target::{Target, TargetArgs};
use crate::{deliver, idle, ingest, pipeline, storm};

/// How large measurements are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Idle sockets.
    pub(crate) connections: usize,
    /// Seconds of a measurement that lasts for a set time.
    pub(crate) seconds: u32,
}

/// A kind of measurement. Those of one kind are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Idle { per_user: usize },
    Deliver { batch: u32 },
    Ingest,
    Pipeline { rate: Option<u32> },
    Storm(Until),
}

/// One server, measured in one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// The server.
    pub(crate) peer: Peer,
    kind: Kind,
    /// Which variant of a measurement, where there are several.
    variant: &'static str,
    work: Work,
    fresh: bool,
}

/// A figure of a trial: less is better, except for figures per second.
pub(crate) type Figure = (&'static str, f64);

/// All trials. Those of one row come together, with Sound Off first.
pub(crate) fn trials() -> Vec<Trial> {
    use Peer::{Bun, BunLibrary, Mosquitto, Nats, Nchan, Node, NodeRedis, Up};
    let of = |kind, peers: &[Peer]| {
        let one =
            |peer: &Peer| Trial { peer: *peer, kind, variant: "", work: Work::ProfileGet, fresh: false };
        peers.iter().map(one).collect::<Vec<_>>()
    };
    let with = |work: Work, variant| Trial { work, variant, ..of(Kind::Pipeline { rate: None }, &[Up])[0] };
    let paced =
        |work: Work, variant| Trial { work, variant, ..of(Kind::Pipeline { rate: Some(1000) }, &[Up])[0] };
    let storms = |until| {
        let seen = Trial { variant: "token seen before", ..of(Kind::Storm(until), &[Up])[0] };
        let fresh = Trial { variant: "new EdDSA token", fresh: true, ..seen };
        [vec![seen, fresh], of(Kind::Storm(until), &[Bun, BunLibrary, Node])].concat()
    };
    let further =
        Trial { variant: "second sockets of its users", ..of(Kind::Idle { per_user: 2 }, &[Up])[0] };
    [
        of(Kind::Idle { per_user: 1 }, &[Up]),
        vec![further],
        of(Kind::Idle { per_user: 1 }, &[Bun, Node, Mosquitto, Nchan, Nats]),
        of(Kind::Deliver { batch: 1 }, &[Up, Nchan, Bun, Node]),
        of(Kind::Deliver { batch: 100 }, &[Up, Bun, Node]),
        of(Kind::Ingest, &[Up, Bun, Node]),
        of(Kind::Pipeline { rate: None }, &[Up, NodeRedis]),
        vec![with(Work::PostCreate, "post.create"), with(Work::DmSend, "dm.send")],
        of(Kind::Pipeline { rate: Some(1000) }, &[Up, NodeRedis]),
        vec![paced(Work::PostCreate, "post.create"), paced(Work::DmSend, "dm.send")],
        storms(Until::Upgraded),
        storms(Until::Answered),
    ]
    .concat()
}

impl Trial {
    /// The row's name, as --rows takes it.
    pub(crate) fn row(&self) -> &'static str {
        match self.kind {
            Kind::Idle { .. } => "idle",
            Kind::Deliver { batch: 1 } => "deliver",
            Kind::Deliver { .. } => "deliver-100",
            Kind::Ingest => "ingest",
            Kind::Pipeline { rate: None } => "pipeline",
            Kind::Pipeline { .. } => "pipeline-1000",
            Kind::Storm(Until::Upgraded) => "handshake",
            Kind::Storm(Until::Answered) => "storm",
        }
    }

    /// What the row is about, in words.
    pub(crate) fn title(&self) -> &'static str {
        match self.kind {
            Kind::Idle { .. } => "an idle socket, authenticated, registered, pinged once",
            Kind::Deliver { batch: 1 } => "delivery, one POST each",
            Kind::Deliver { .. } => "delivery, POST of 100",
            Kind::Ingest => "answered at the edge, 16 in flight a socket",
            Kind::Pipeline { rate: None } => "durable pipeline, at saturation",
            Kind::Pipeline { .. } => "durable pipeline, 1,000/s",
            Kind::Storm(Until::Upgraded) => "reconnect storm, handshakes alone",
            Kind::Storm(Until::Answered) => "reconnect storm",
        }
    }

    /// The server's name, with its variant.
    pub(crate) fn who(&self) -> String {
        match self.variant {
            "" => self.peer.name().to_owned(),
            variant => format!("{}, {variant}", self.peer.name()),
        }
    }

    /// Starts the server, measures, stops it.
    ///
    /// # Errors
    /// It does not start, or the measurement fails.
    pub(crate) async fn run(
        &self,
        args: &TargetArgs,
        size: Size,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<Figure>> {
        let target = Target { quiet: true, ..servers::start(self.peer, args)? };
        match self.kind {
            Kind::Idle { per_user } => {
                let (warm, added) = idle::users(&target, size.connections, per_user).await?;
                let idle = idle::measure(&target, (&warm, &added), stop)?;
                Ok(vec![
                    ("server KB", idle.resident / 1000.0),
                    ("kernel KB, both ends", idle.kernel / 1000.0),
                ])
            }
            Kind::Deliver { batch } => {
                let load = deliver::Load { batch, posters: 32, bytes: 200, duration: size.seconds };
                let users = target.users("deliver", load.users()).await?;
                let delivered = deliver::measure(&target, &users, load, stop)?;
                let p99 = delivered.latency.micros(0.99) as f64 / 1000.0;
                Ok(vec![
                    ("server µs", delivered.spent.each_us()),
                    ("per s", delivered.spent.rate()),
                    ("p99 ms", p99),
                ])
            }
            Kind::Ingest => {
                let load = ingest::Load { sockets: 64, in_flight: 16, bytes: 200, duration: size.seconds };
                let users = target.users("ingest", load.sockets as usize).await?;
                let spent = ingest::measure(&target, &users, load, stop)?;
                Ok(vec![("server µs", spent.each_us()), ("per s", spent.rate())])
            }
            Kind::Pipeline { rate } => self.pipeline(&target, rate, size, stop).await,
            Kind::Storm(until) => self.storm(&target, until, size, stop).await,
        }
    }

    async fn pipeline(
        &self,
        target: &Target,
        rate: Option<u32>,
        size: Size,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<Figure>> {
        let load = pipeline::Load { rate, sockets: 64, in_flight: 32, duration: size.seconds };
        let users = target.users("pipe", load.sockets as usize).await?;
        let piped = pipeline::measure(target, &users, self.work, load, stop)?;
        let ms = |share| piped.answers.replied.micros(share) as f64 / 1000.0;
        Ok(match rate {
            None => vec![("per s", piped.spent.rate()), ("server µs", piped.spent.each_us())],
            Some(_) => vec![("p50 ms", ms(0.5)), ("p99 ms", ms(0.99)), ("server µs", piped.spent.each_us())],
        })
    }

    async fn storm(
        &self,
        target: &Target,
        until: Until,
        size: Size,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<Figure>> {
        let load = storm::Load { at_once: 400, active: 50, rate: 500 };
        let count = size.connections / 2 + load.active as usize;
        let users = target.users("storm", count).await?;
        let again = if self.fresh { target.users("storm", count).await? } else { users.clone() };
        let storm = storm::measure(target, (&users, &again), (load, until), stop)?;
        if until == Until::Upgraded {
            return Ok(vec![("server µs", storm.served.each_us()), ("per s", storm.served.rate())]);
        }
        Ok(vec![
            ("server µs until served", storm.served.each_us()),
            ("server µs until at rest", storm.rested.each_us()),
            ("per s", storm.served.rate()),
            ("all served s", storm.served.time.as_secs_f64()),
            ("p99 ms of active sockets", storm.meanwhile.latency.micros(0.99) as f64 / 1000.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_sound_off_and_comes_once() {
        let all = trials();
        let mut rows: Vec<_> = all.iter().map(|trial| trial.row()).collect();
        rows.dedup();
        let together = rows.len();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(
            rows.len(),
            together,
            "a row's trials are not side by side: rounds would not go through them in turn"
        );
        for row in rows {
            assert!(all.iter().any(|trial| trial.row() == row && trial.peer == Peer::Up), "{row}");
            let mut names: Vec<_> = all.iter().filter(|t| t.row() == row).map(Trial::who).collect();
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{row} has a name twice");
        }
    }
}
