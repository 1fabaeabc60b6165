//! A day of a deployment: arrivals second by second, figures and decisions minute by minute.

use std::collections::VecDeque;

use anyhow::Result;

use super::dollars::{Dollars, Meter};
use super::engine::{Cohorts, Engine, Messages, Seen};
use super::gathering::Gathering;
use super::model::{Model, due_on_a_page};
use super::outcome::{Minute, Outcome};
use super::plan::cost;
use super::scaling::{Figure, Scaler};
use super::scenario::Scenario;
use super::terraform::EDGE;
use super::weighted::Weighted;

/// How busy tasks are at the beginning of the day.
const AT_FIRST: f64 = 0.5;
/// A day's seconds.
pub(crate) const DAY: u32 = 86_400;

/// How a day is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Every message by itself.
    Messages,
    /// All messages of a second at once.
    Cohorts,
}

/// The timelines' scan of users, page by page.
#[derive(Debug, Default)]
struct Scan {
    left: f64,
    since: f64,
    longest: f64,
}

/// A day under way.
struct Run<'a> {
    scenario: &'a Scenario,
    model: Model,
    users: f64,
    engine: Box<dyn Engine>,
    seen: Seen,
    scalers: Vec<Scaler>,
    running: Vec<u32>,
    /// When tasks that are being started begin to receive, by tier.
    starting: Vec<VecDeque<f64>>,
    /// Sums of the minute: visible SQS messages at its end by queue, tasks and processor time by tier.
    visible: Vec<f64>,
    tasks: Vec<f64>,
    busy: Vec<f64>,
    /// Figures that the alarms do not know yet.
    coming: VecDeque<(f64, Vec<Vec<Figure>>)>,
    scan: Scan,
    gathering: Gathering,
    meter: Meter,
    minute: Minute,
    latency: Weighted,
    outcome: Outcome,
}

/// Simulates a day of `users` users. `go_on` gets the number of seconds done and returns whether to go on; the result
/// is none if it did not.
///
/// # Errors
/// A file names a queue or type that does not exist.
pub(crate) fn simulate(
    scenario: &Scenario,
    users: f64,
    detail: Detail,
    go_on: impl Fn(u64) -> bool,
) -> Result<Option<Outcome>> {
    let mut run = Run::new(scenario, users, detail)?;
    for second in 0..scenario.seconds {
        run.second(second);
        if (second + 1) % 60 == 0 {
            run.end_minute(second + 1);
            if !go_on(u64::from(second + 1)) {
                return Ok(None);
            }
        }
    }
    Ok(Some(run.finish()))
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, users: f64, detail: Detail) -> Result<Self> {
        let Scenario { deployment, service, behaviour, requests, .. } = scenario;
        let model = Model::new(deployment, service, behaviour, requests)?;
        let plan = model.plan.clone();
        let (tiers, queues) = (plan.tiers.len(), plan.queues.len());
        let mut scalers: Vec<Scaler> =
            plan.tiers.iter().map(|tier| Scaler::new(deployment, &tier.name)).collect();
        // The day before has left as many tasks as the first hour needs.
        let sessions = behaviour.sessions_a_second(users) * behaviour.curve(0.0);
        for (tier, scaler) in scalers.iter_mut().enumerate() {
            let of = (0..queues).filter(|queue| plan.queues[*queue].tier == tier);
            let busy: f64 = of.map(|queue| sessions * model.offered[queue] * cost(&plan, queue)).sum();
            scaler.begin((busy / f64::from(plan.tiers[tier].cores) / AT_FIRST).ceil() as u32);
        }
        let running: Vec<u32> = scalers.iter().map(Scaler::desired).collect();
        let names = plan.tiers.iter().map(|tier| tier.name.clone()).collect();
        let mut engine: Box<dyn Engine> = match detail {
            Detail::Messages => Box::new(Messages::new(plan, scenario.seed)),
            Detail::Cohorts => Box::new(Cohorts::new(plan, scenario.seed)),
        };
        for (tier, tasks) in running.iter().enumerate() {
            engine.set_tasks(tier, *tasks);
        }
        let outcome = Outcome {
            users,
            tiers: names,
            minutes: Vec::new(),
            latency: Weighted::default(),
            messages: 0.0,
            shed: 0.0,
            redelivered: 0.0,
            left: 0.0,
            flow: [0.0; 2],
            scan: 0.0,
            dollars: Dollars::default(),
        };
        Ok(Self {
            seen: Seen::new(&model.plan),
            meter: Meter::new(scenario, users)?,
            engine,
            model,
            users,
            starting: vec![VecDeque::new(); tiers],
            visible: vec![0.0; queues],
            tasks: vec![0.0; tiers],
            busy: vec![0.0; tiers],
            coming: VecDeque::new(),
            scan: Scan::default(),
            gathering: Gathering::new(&service.aws),
            minute: Minute::default(),
            latency: Weighted::default(),
            scalers,
            running,
            outcome,
            scenario,
        })
    }

    fn second(&mut self, second: u32) {
        let now = f64::from(second);
        self.start_tasks(now);
        for (at, service) in &self.scenario.losses {
            if *at == second
                && let Some(tier) = self.outcome.tiers.iter().position(|name| name == service)
                && self.running[tier] > 0
            {
                self.engine.lose_task(tier);
                self.running[tier] -= 1;
                // ECS starts another task.
                self.starting[tier].push_back(now + self.scenario.service.aws.task_start_s);
            }
        }
        let behaviour = &self.scenario.behaviour;
        let crowd = self.scenario.spikes.iter().map(|spike| spike.times(now)).fold(1.0, f64::max);
        let sessions = behaviour.sessions_a_second(self.users) * behaviour.curve(now) * crowd;
        let online = sessions * behaviour.session_seconds;
        let room = f64::from(self.running[0]) * self.scenario.service.edge.max_sockets;
        let admitted = if online > room { room / online } else { 1.0 };
        let mut rates: Vec<f64> = self.model.sent.iter().map(|count| count * sessions * admitted).collect();
        let sent: f64 = rates.iter().sum();
        self.outcome.shed += sent * (1.0 / admitted.max(1e-9) - 1.0);
        self.scan(now, &mut rates);
        self.seen.clear();
        self.engine.step(&rates, &mut self.seen);
        let client = (0..rates.len())
            .filter(|kind| self.model.sent[*kind] > 0.0)
            .map(|kind| self.seen.arrived[kind])
            .sum::<f64>();
        self.minute.rate += client / 60.0;
        self.minute.online = self.minute.online.max(online * admitted);
        self.outcome.messages += client;
        self.outcome.redelivered += self.seen.redelivered;
        self.outcome.flow[0] += self.seen.arrived.iter().sum::<f64>();
        self.outcome.flow[1] += self.seen.done.iter().sum::<f64>();
        self.latency.merge(&self.seen.latency);
        self.observe();
        let starting: Vec<u32> = self.starting.iter().map(|tasks| tasks.len() as u32).collect();
        self.minute.dollars += self.meter.second(
            &self.model,
            &self.seen,
            &self.running,
            &starting,
            sessions * admitted,
            online * admitted,
        );
    }

    fn start_tasks(&mut self, now: f64) {
        for tier in 0..self.running.len() {
            let ready = self.starting[tier].iter().filter(|at| **at <= now).count();
            if ready > 0 {
                self.starting[tier].drain(..ready);
                self.running[tier] += ready as u32;
                self.engine.set_tasks(tier, self.running[tier]);
            }
        }
    }

    /// Adds the pages of the scan in this second, and the messages that they queue.
    fn scan(&mut self, now: f64, rates: &mut [f64]) {
        let timelines = &self.scenario.service.timelines;
        let Model { plan, scan, compute, .. } = &self.model;
        let queue = |kind: usize| plan.kinds[kind].path[0];
        if now % timelines.interval_s < 1.0 && self.scan.left <= 0.0 {
            let next = plan.kinds[*compute].follow.iter().map(|(next, _)| *next);
            let busy = [*scan, *compute].into_iter().chain(next).map(|kind| self.engine.depth(queue(kind)));
            // A tick is skipped while there is work of an earlier tick.
            if busy.map(|depth| depth.visible + depth.in_flight).sum::<f64>() < 1.0 {
                self.scan.left = (self.users / timelines.accounts_a_page).ceil();
                self.scan.since = now;
            }
        }
        let at = &plan.queues[queue(*scan)];
        if self.scan.left <= 0.0 || self.running[at.tier] == 0 {
            return;
        }
        // Each page queues the next: the time is a hop and the page's own work.
        let page = at.pass.mean() + cost(plan, queue(*scan)) + at.hold.mean();
        let pages = (timelines.segments / page).min(self.scan.left);
        self.scan.left -= pages;
        self.scan.longest = self.scan.longest.max(now + 1.0 - self.scan.since);
        let due = due_on_a_page(&self.scenario.service, &self.scenario.behaviour);
        rates[*scan] += pages;
        rates[*compute] += pages * (due / timelines.users_a_message).ceil();
    }

    /// Notes how full the queues are at the end of a second.
    fn observe(&mut self) {
        let (mut depth, mut age) = (0.0, 0.0_f64);
        for queue in 0..self.visible.len() {
            let now = self.engine.depth(queue);
            depth += now.visible + now.in_flight;
            age = age.max(now.age);
            let senders = self.model.senders[queue].map_or(1.0, |tier| f64::from(self.running[tier]));
            let rate = self.seen.entered[queue] / senders.max(1.0);
            // Alarms count SQS messages, not the envelopes packed in them, and SQS reports once a minute.
            self.visible[queue] = (now.visible / self.gathering.pack(rate)).ceil();
            if self.model.senders[queue].is_some() {
                self.engine.set_wait(queue, self.gathering.wait(rate));
            }
        }
        self.minute.depth = self.minute.depth.max(depth);
        self.minute.age = self.minute.age.max(age);
        for (tier, busy) in self.busy.iter_mut().enumerate() {
            self.tasks[tier] += f64::from(self.running[tier]) / 60.0;
            *busy += self.seen.busy[tier];
        }
    }

    /// What the alarms will know about this minute, by tier and by policy, in the order of [`Scaler`].
    fn figures(&self) -> Vec<Vec<Figure>> {
        let (plan, deployment) = (&self.model.plan, &self.scenario.deployment);
        let edge = &self.scenario.service.edge;
        let tier = |(tier, name): (usize, &String)| {
            let running = self.tasks[tier];
            let figure = |value: f64| Figure { value, running };
            let pulled: Vec<f64> = (0..plan.queues.len())
                .filter(|queue| plan.queues[*queue].tier == tier && plan.queues[*queue].name != EDGE)
                .map(|queue| self.visible[queue])
                .collect();
            let backlogs = pulled.chunks(deployment.chunk);
            let backlogs = backlogs.map(|visible| figure(visible.iter().sum::<f64>() / running.max(1.0)));
            let cores = f64::from(plan.tiers[tier].cores) * running.max(1.0) * 60.0;
            let busy = figure(100.0 * self.busy[tier] / cores);
            let sockets = if name == EDGE { self.minute.online / running.max(1.0) } else { 0.0 };
            let used = edge.base_mb + sockets * edge.socket_kb / 1024.0;
            let full = figure(100.0 * used / f64::from(deployment.services[name].memory));
            let percents = [(busy, &deployment.processors), (full, &deployment.memory)];
            let percents =
                percents.into_iter().filter(|(_, of)| of.contains_key(name)).map(|(figure, _)| figure);
            backlogs.chain(percents).collect()
        };
        self.outcome.tiers.iter().enumerate().map(tier).collect()
    }

    fn end_minute(&mut self, second: u32) {
        let now = f64::from(second);
        self.coming.push_back((now + self.scenario.service.aws.metric_delay_s, self.figures()));
        while self.coming.front().is_some_and(|(known, _)| *known <= now)
            && let Some((_, figures)) = self.coming.pop_front()
        {
            for (tier, figures) in figures.iter().enumerate() {
                let desired = self.scalers[tier].look(now, figures);
                self.follow(tier, desired, now);
            }
        }
        let (p50, p99) = (self.latency.quantile(0.5), self.latency.quantile(0.99));
        self.outcome.latency.merge(&self.latency);
        self.latency.clear();
        self.outcome.minutes.push(Minute {
            tasks: self.running.clone(),
            p50,
            p99,
            ..std::mem::take(&mut self.minute)
        });
        for sums in [&mut self.visible, &mut self.tasks, &mut self.busy] {
            sums.fill(0.0);
        }
    }

    /// Starts or stops tasks until there are as many as desired.
    fn follow(&mut self, tier: usize, desired: u32, now: f64) {
        let starting = &mut self.starting[tier];
        while self.running[tier] + (starting.len() as u32) > desired && starting.pop_back().is_some() {}
        while self.running[tier] + (starting.len() as u32) < desired {
            starting.push_back(now + self.scenario.service.aws.task_start_s);
        }
        if self.running[tier] > desired {
            self.running[tier] = desired;
            self.engine.set_tasks(tier, desired);
        }
    }

    fn finish(mut self) -> Outcome {
        let depths = (0..self.visible.len()).map(|queue| self.engine.depth(queue));
        self.outcome.left = depths.map(|depth| depth.visible + depth.in_flight).sum();
        self.outcome.scan = self.scan.longest;
        self.outcome.dollars = self.meter.dollars();
        self.outcome
    }
}

#[cfg(test)]
mod tests;
