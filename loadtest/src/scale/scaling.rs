//! The autoscaling rule of the Terraform, as Application Auto Scaling carries it out.
//!
//! A policy of target tracking becomes two alarms of AWS's own: three minutes above the target grow the service to what
//! the metric asks for, fifteen minutes below nine tenths of it shrink it. Figures of a minute are known some time
//! after it.

use std::collections::VecDeque;

use super::terraform::{Deployment, Service};

/// Minutes above the target before a service grows, and below it before it shrinks: AWS sets them.
const HIGH_MINUTES: usize = 3;
const LOW_MINUTES: usize = 15;
/// Shrinking begins below this share of the target.
const LOW: f64 = 0.9;
/// AWS shrinks "more gradually" than it grows and does not document by how much: assumed to be a tenth at a time, but
/// at least one task.
const SHRINK: f64 = 0.1;

/// What one policy saw of a minute. Without a running task the value is 0: such a policy does not keep a service from
/// going to zero tasks, and the alarm that wakes a service does not depend on policies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figure {
    /// What it tracks: visible messages for each running task, or percent.
    pub(crate) value: f64,
    /// Tasks running.
    pub(crate) running: f64,
}

/// One policy of a service.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// What the value should be.
    target: f64,
    /// Whether an alarm starts a first task where none runs.
    wakes: bool,
    figures: VecDeque<Figure>,
}

/// One service's scaling.
#[derive(Debug, Clone)]
pub(crate) struct Scaler {
    service: Service,
    policies: Vec<Policy>,
    wake_cooldown: f64,
    wake_periods: usize,
    desired: u32,
    shrunk_at: f64,
    grown_at: f64,
    woken_at: f64,
}

impl Scaler {
    /// The rule of one service: a policy for each few of its queues, and one for its processors and one for its memory
    /// where it has them.
    pub(crate) fn new(deployment: &Deployment, name: &str) -> Self {
        let service = deployment.services[name].clone();
        let policy = |target, wakes| Policy { target, wakes, figures: VecDeque::new() };
        let chunks = deployment.pulls[name].len().div_ceil(deployment.chunk);
        let backlogs = (0..chunks).map(|_| policy(service.backlog_per_task, true));
        let percents = [deployment.processors.get(name), deployment.memory.get(name)];
        let percents = percents.into_iter().flatten().map(|percent| policy(*percent, false));
        Self {
            policies: backlogs.chain(percents).collect(),
            wake_cooldown: f64::from(deployment.wake_cooldown),
            wake_periods: deployment.wake_periods as usize,
            desired: service.min.max(1),
            shrunk_at: f64::NEG_INFINITY,
            grown_at: f64::NEG_INFINITY,
            woken_at: f64::NEG_INFINITY,
            service,
        }
    }

    /// How many tasks there should be.
    pub(crate) fn desired(&self) -> u32 {
        self.desired
    }

    /// Begins with `tasks` tasks, within its limits.
    pub(crate) fn begin(&mut self, tasks: u32) {
        self.desired = tasks.clamp(self.service.min.max(1), self.service.max);
    }

    /// Takes a minute's figures when they have become known, one for each policy in the order of [`Self::new`]. Returns
    /// how many tasks there should be.
    pub(crate) fn look(&mut self, now: f64, figures: &[Figure]) -> u32 {
        for (policy, figure) in self.policies.iter_mut().zip(figures) {
            policy.figures.push_back(*figure);
            if policy.figures.len() > LOW_MINUTES {
                policy.figures.pop_front();
            }
        }
        let limit = |wish: u32| wish.clamp(self.service.min, self.service.max);
        let grow =
            self.policies.iter().filter(|policy| policy.all(HIGH_MINUTES, |value| value > policy.target));
        let grow = grow.map(Policy::wish).max().map_or(0, limit);
        if grow > self.desired {
            // A cooldown only blocks a step that asks for no more than the last step did, so it does not block this
            // one.
            (self.desired, self.grown_at) = (grow, now);
            return self.desired;
        }
        let waking = self
            .policies
            .iter()
            .any(|policy| policy.wakes && policy.all(self.wake_periods, |value| value > 0.0));
        if self.desired == 0 && waking && now - self.woken_at >= self.wake_cooldown {
            (self.desired, self.woken_at) = (limit(1), now);
            return self.desired;
        }
        let idle =
            self.policies.iter().all(|policy| policy.all(LOW_MINUTES, |value| value < LOW * policy.target));
        let rested = now - self.shrunk_at.max(self.grown_at) >= f64::from(self.service.in_cooldown);
        if idle && rested && self.desired > self.service.min {
            let wish = self.policies.iter().map(Policy::wish).max().unwrap_or(0);
            let least = self.desired - ((f64::from(self.desired) * SHRINK) as u32).max(1);
            let shrunk = limit(wish.max(least));
            if shrunk < self.desired {
                (self.desired, self.shrunk_at) = (shrunk, now);
            }
        }
        self.desired
    }
}

impl Policy {
    /// Whether there are figures of all of the last minutes, and all of them match.
    fn all(&self, minutes: usize, so: impl Fn(f64) -> bool) -> bool {
        self.figures.len() >= minutes
            && self.figures.iter().rev().take(minutes).all(|figure| so(figure.value))
    }

    /// How many tasks would bring the last figure to the target.
    fn wish(&self) -> u32 {
        let last = self.figures.back().copied().unwrap_or_default();
        (last.value * last.running.max(1.0) / self.target).ceil() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service's tasks by minute, with these pairs of a backlog in each of its policies and a percentage of busy
    /// processors.
    fn minutes(scaler: &mut Scaler, figures: impl IntoIterator<Item = (f64, f64)>) -> Vec<u32> {
        let mut running = scaler.desired();
        let policies = scaler.policies.len();
        let mut tasks = Vec::new();
        for (minute, (backlog, busy)) in figures.into_iter().enumerate() {
            let value = if running > 0 { backlog / f64::from(running) } else { backlog };
            let running_now = f64::from(running);
            let mut figures = vec![Figure { value, running: running_now }; policies];
            figures[policies - 1].value = busy;
            running = scaler.look(60.0 * minute as f64, &figures);
            tasks.push(running);
        }
        tasks
    }

    #[test]
    fn a_step_is_answered_after_three_minutes_and_never_beyond_the_most() {
        let deployment = Deployment::read(None).unwrap();
        let workers = &deployment.services["workers"];
        let mut scaler = Scaler::new(&deployment, "workers");
        let first = workers.min;
        let backlog = workers.backlog_per_task * 4.5;
        let tasks =
            minutes(&mut scaler, [0.0, backlog, backlog, backlog, backlog].map(|backlog| (backlog, 0.0)));
        assert_eq!(tasks, [first, first, first, 5, 5]);
        let tasks = minutes(&mut scaler, [(1e9, 0.0); 30]);
        assert_eq!((tasks[2], *tasks.iter().max().unwrap()), (workers.max, workers.max));
    }

    #[test]
    fn it_shrinks_by_a_tenth_after_fifteen_quiet_minutes_and_each_cool_down() {
        let deployment = Deployment::read(None).unwrap();
        let workers = &deployment.services["workers"];
        let mut scaler = Scaler::new(&deployment, "workers");
        let tasks = minutes(&mut scaler, [vec![(1e9, 0.0); 3], vec![(0.0, 0.0); 100]].concat());
        assert_eq!(tasks[2], workers.max);
        let falls: Vec<usize> =
            (1..tasks.len()).filter(|minute| tasks[*minute] < tasks[minute - 1]).collect();
        assert_eq!((falls[0], tasks[falls[0]]), (17, workers.max - workers.max / 10));
        let pause = workers.in_cooldown as usize / 60;
        assert!(falls.windows(2).all(|pair| pair[1] - pair[0] == pause), "{falls:?}");
        assert_eq!(
            *tasks.last().unwrap(),
            workers.max - falls.iter().map(|at| tasks[at - 1] - tasks[*at]).sum::<u32>()
        );
    }

    #[test]
    fn it_goes_to_no_task_when_there_is_no_work_at_all_and_an_alarm_starts_the_first() {
        let deployment = Deployment::read(None).unwrap();
        let mut scaler = Scaler::new(&deployment, "compute");
        // A little work each minute keeps the last task, though nothing ever waits.
        let tasks =
            minutes(&mut scaler, [vec![(0.0, 0.1); 40], vec![(0.0, 0.0); 20], vec![(1.0, 0.0)]].concat());
        assert_eq!(tasks, [vec![1; 40], vec![0; 20], vec![1]].concat());
    }

    #[test]
    fn it_does_not_shrink_while_processors_are_busy() {
        let deployment = Deployment::read(None).unwrap();
        let mut scaler = Scaler::new(&deployment, "workers");
        scaler.begin(10);
        let grown = *minutes(&mut scaler, [(0.0, 60.0); 3]).last().unwrap();
        assert_eq!(grown, 12);
        assert_eq!(minutes(&mut scaler, [(0.0, 48.0); 60]), [grown; 60]);
        assert_eq!(minutes(&mut scaler, [(0.0, 20.0); 16])[15], grown - 1);
    }

    #[test]
    fn a_service_without_queues_follows_whichever_asks_for_more() {
        let deployment = Deployment::read(None).unwrap();
        let mut scaler = Scaler::new(&deployment, "edge");
        let running = f64::from(scaler.desired());
        let figures =
            [Figure { value: 10.0, running }, Figure { value: 2.0 * deployment.memory["edge"], running }];
        let last = (0..3).map(|minute| scaler.look(60.0 * f64::from(minute), &figures)).last().unwrap();
        assert_eq!(f64::from(last), 2.0 * running);
    }
}
