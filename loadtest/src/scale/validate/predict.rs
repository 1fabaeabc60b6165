//! The same run, simulated: one server with its service time, and a way there and back that always takes the same time.

use serde::Serialize;

use super::super::engine::{Engine as _, Messages, Seen};
use super::super::plan::{Kind, Plan, Queue, Tier};
use super::super::time::Millis;
use super::super::weighted::Weighted;
use super::course::{Course, Measured, Phase};

/// The prediction is the mean of this many simulations: a single one depends on chance as a real run does.
const TIMES: u64 = 20;
/// The workers' tier; the other is the way to it.
const WORKERS: usize = 1;

/// What was learned from one rate.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Calibration {
    /// Seconds of a message with the server.
    pub(super) service: f64,
    /// Their squared coefficient of variation.
    pub(super) variation: f64,
    /// Seconds of everything else: edge, main_q, router, reply.
    pub(super) way: f64,
}

impl Calibration {
    /// A calibration from the run at one rate. The way is the mean time to the reply, less waits and service.
    pub(super) fn new(phase: &Phase, measured: &Measured, seed: u64) -> Self {
        let (service, variation) = measured.service;
        let bare = Self { service, variation, way: 0.0 };
        let inside =
            (0..TIMES).map(|time| bare.simulate(phase, seed + time).1.mean()).sum::<f64>() / TIMES as f64;
        Self { way: (measured.reply - inside).max(0.0), ..bare }
    }

    /// The same with another run's service time.
    pub(super) fn with_service(self, (service, variation): (f64, f64)) -> Self {
        Self { service, variation, ..self }
    }

    /// A line for people.
    pub(super) fn line(&self) -> String {
        let Self { service, variation, way } = self;
        format!(
            "calibrated: {:.3} ms a message, variation {variation:.2}, way {:.2} ms",
            service * 1e3,
            way * 1e3
        )
    }

    fn plan(&self) -> Plan {
        let tier = |name: &str| Tier { name: name.into(), cores: 1, speed: 1.0 };
        let queue = |tier: usize, slots: u32, work: Millis, hold: Millis| Queue {
            name: String::new(),
            tier,
            slots,
            pass: Millis::Fixed(0.0),
            work,
            hold,
            early: false,
        };
        let nothing = Millis::Fixed(0.0);
        // The lognormal distribution of this mean and variation.
        let sigma = self.variation.ln_1p().sqrt();
        let p50 = self.service * 1e3 * (-sigma * sigma / 2.0).exp();
        let work = Millis::Spread { p50, p99: p50 * (2.326_347_9 * sigma).exp() };
        Plan {
            tiers: vec![tier("way"), tier("workers")],
            queues: vec![
                queue(0, u32::MAX, nothing, Millis::Fixed(self.way * 1e3)),
                queue(WORKERS, 1, work, nothing),
            ],
            kinds: vec![Kind { path: vec![0, 1], reply: Some(nothing), follow: vec![] }],
            visibility: 30.0,
            slice: f64::INFINITY,
        }
    }

    /// Simulates the phase: depths by second, and latencies.
    fn simulate(&self, phase: &Phase, seed: u64) -> (Vec<f64>, Weighted) {
        let plan = self.plan();
        let mut seen = Seen::new(&plan);
        let mut engine = Messages::new(plan, seed);
        let mut depths = vec![0.0];
        for second in 0..phase.seconds + 600 {
            if let Some([from, to]) = phase.pause {
                engine.set_tasks(WORKERS, u32::from(!(from..to).contains(&second)));
            }
            let rate = if second < phase.seconds { f64::from(phase.rate) } else { 0.0 };
            engine.step(&[rate], &mut seen);
            let depth: f64 =
                (0..2).map(|queue| engine.depth(queue)).map(|depth| depth.visible + depth.in_flight).sum();
            depths.push(depth);
            if second >= phase.seconds && depth <= 0.0 {
                break;
            }
        }
        (depths, seen.latency)
    }
}

/// Predicts a run.
pub(super) fn predict(phase: &Phase, calibration: Calibration, seed: u64) -> Course {
    let mut mean: Vec<f64> = Vec::new();
    let mut sum = Course::default();
    let times = TIMES as f64;
    for time in 0..TIMES {
        let (depths, latency) = calibration.simulate(phase, seed + time);
        mean.resize(mean.len().max(depths.len()), 0.0);
        mean.iter_mut().zip(&depths).for_each(|(mean, depth)| *mean += depth / times);
        let timed = (0..).map(f64::from).zip(depths).collect();
        let one = Course::of(timed, phase.seconds, latency.quantile(0.5), latency.quantile(0.99));
        sum.mean_depth += one.mean_depth / times;
        sum.most += one.most / times;
        sum.p50 += one.p50 / times;
        sum.p99 += one.p99 / times;
        sum.drained += one.drained / times;
    }
    Course { depths: (0..).map(f64::from).zip(mean).collect(), ..sum }
}
