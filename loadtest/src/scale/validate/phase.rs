//! One rate at a real server: sent in an open loop, its queue's depth looked at four times a second until it is empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use soundoff_common::protocol::Handle;
use tokio::sync::watch;

use super::course::{Course, Measured, Phase};
use super::server::{Counters, Up};
use crate::accepted::body;
use crate::open_loop::{Pace, Totals, Wait, open_sockets, send_all};
use crate::report::Progress;
use crate::server::Server;

/// How often the depth is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a backlog may take to drain.
const DRAIN: Duration = Duration::from_secs(240);
/// The queue of a type, as the catalog names it.
fn queue(message_type: &str) -> String {
    format!("{}_q", message_type.replace('.', "_"))
}

impl Phase {
    /// Runs the phase at a server.
    ///
    /// # Errors
    /// The server has ended, refuses a message, or does not drain.
    pub(super) async fn measure(
        &self,
        up: &Up,
        message_type: &str,
        stop: &watch::Receiver<bool>,
    ) -> Result<Measured> {
        let queue = queue(message_type);
        let server = Arc::new(Server::resolve(&up.url).await?);
        let count = self.rate.div_ceil(50).max(2);
        let handles =
            (0..count).map(|n| format!("scale_{n:05}").parse::<Handle>().map_err(anyhow::Error::from));
        let handles = handles.collect::<Result<Vec<_>>>()?;
        let sockets = open_sockets(&server, server.tokens(&handles, |_| ()).await?, self.rate).await?;
        let bodies = (1..).map(|next| body(message_type, &handles[next % handles.len()]));
        let senders = sockets.into_iter().zip(bodies).collect();
        let pace = Pace { rate: self.rate, duration: self.seconds, chance: Some(u64::from(self.rate)) };
        let totals = Arc::new(Totals::default());
        // The sockets' hellos are messages, too: counting begins after them.
        let before = settled(up, &queue, stop).await?;
        let begun = Instant::now();
        let wait = Wait { replies: true, most: DRAIN };
        let sending = send_all(message_type, pace, senders, wait, &totals, stop.clone());
        let looking = self.look(up, &queue, before, begun, stop);
        let both = async { tokio::try_join!(sending, looking) };
        let ((), depths) =
            Progress::new("measuring", pace.total()).of(both, || totals.replied.count()).await?;
        ensure!(
            *stop.borrow() || totals.replied.count() == pace.total(),
            "{} of {} messages had a reply",
            totals.replied.count(),
            pace.total()
        );
        let service = up.counters(&queue).await?.since(before).service();
        let seconds = |share: f64| totals.replied.micros(share) as f64 / 1e6;
        let course = Course::of(depths, self.seconds, seconds(0.5), seconds(0.99));
        Ok(Measured { course, service, reply: totals.replied.mean_micros() / 1e6 })
    }

    /// Returns depths by time until all is done. Stops and starts the workers meanwhile.
    async fn look(
        &self,
        up: &Up,
        queue: &str,
        before: Counters,
        begun: Instant,
        stop: &watch::Receiver<bool>,
    ) -> Result<Vec<(f64, f64)>> {
        let mut depths = Vec::new();
        let mut orders = self.pause.map_or(vec![], |[from, to]| vec![(from, "pause"), (to, "resume")]);
        let mut timer = tokio::time::interval(LOOK);
        loop {
            timer.tick().await;
            let now = begun.elapsed().as_secs_f64();
            if let Some((at, what)) = orders.first().copied()
                && now >= f64::from(at)
            {
                up.workers(what).await?;
                orders.remove(0);
            }
            let at = begun.elapsed().as_secs_f64();
            let depth = up.counters(queue).await?.since(before).depth();
            depths.push((at, depth));
            let over = now > f64::from(self.seconds) + 0.5 && orders.is_empty();
            if (over && depth <= 0.0) || *stop.borrow() {
                return Ok(depths);
            }
            ensure!(now < f64::from(self.seconds) + DRAIN.as_secs_f64(), "the queue did not drain");
        }
    }
}

/// Waits until nothing more is done: the last phase's follow-ups, and hellos.
async fn settled(up: &Up, queue: &str, stop: &watch::Receiver<bool>) -> Result<Counters> {
    let deadline = Instant::now() + DRAIN;
    let mut last = up.counters(queue).await?;
    loop {
        tokio::time::sleep(LOOK * 4).await;
        let now = up.counters(queue).await?;
        if (now.accepted, now.done) == (last.accepted, last.done) || *stop.borrow() {
            return Ok(now);
        }
        ensure!(Instant::now() < deadline, "the server does not come to rest");
        last = now;
    }
}
