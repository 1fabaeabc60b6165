//! All messages of a second as one cohort. What is left of a cohort waits, first come first served, and its place in
//! the second's work decides how long.
//!
//! Where a tier keeps up, waits within a second come from the formula for many servers, and the times of calls come
//! from samples. So a day takes as long to simulate for a thousand messages a second as for a million.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::gathering::Wait;
use super::super::plan::{Plan, cost};
use super::super::waiting::{erlang_c, mean_wait};
use super::messages::poisson;
use super::state::{Depth, Engine, Seen};

/// Samples of what calls take, for each kind.
const POOL: usize = 4096;
/// How many of the samples are used for the messages of one cohort.
const POINTS: usize = 16;
/// Fewer messages than this count as none.
const LITTLE: f64 = 1e-9;
/// Loads are averaged over this many seconds.
const STEADY: f64 = 20.0;
/// The formula for waits is for lasting loads; its result is limited to this many seconds.
const SHORT: f64 = 0.5;

/// Messages of one kind that came in one stretch of time.
#[derive(Debug, Clone, Copy)]
struct Cohort {
    kind: usize,
    count: f64,
    /// When their queue gets the first and the last of them.
    from: f64,
    to: f64,
    /// How long they have waited in earlier queues.
    waited: f64,
    /// Mean and share of the waits within a second, for the tiers passed so far.
    micro: [Micro; 3],
    stage: usize,
}

/// A queue's cohorts, first come first served, and the number of their messages. A backlog can consist of a cohort for
/// each second of a day.
#[derive(Debug, Clone, Default)]
struct Line {
    cohorts: VecDeque<Cohort>,
    count: f64,
}

impl Line {
    fn push(&mut self, cohort: Cohort) {
        self.count += cohort.count;
        self.cohorts.push_back(cohort);
    }

    /// Takes up to `most` messages of the first cohort.
    fn take(&mut self, most: f64) -> Option<Cohort> {
        let front = self.cohorts.front_mut()?;
        if front.count <= most + LITTLE {
            let all = self.cohorts.pop_front()?;
            // So that rounding errors do not add up.
            self.count = if self.cohorts.is_empty() { 0.0 } else { self.count - all.count };
            return Some(all);
        }
        let split = front.from + (front.to - front.from) * (most / front.count);
        let part = Cohort { count: most, to: split, ..*front };
        front.count -= most;
        front.from = split;
        self.count -= most;
        Some(part)
    }
}

/// Waits within a second: the share that waits, and the mean wait of that share.
#[derive(Debug, Clone, Copy, Default)]
struct Micro {
    share: f64,
    mean: f64,
}

/// One queue's second.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    /// All waiting messages.
    demand: f64,
    /// As many as its slots allow.
    most: f64,
    /// Messages done.
    served: f64,
    /// How fast they are done, while they are.
    rate: f64,
}

/// The engine of cohorts.
#[derive(Debug)]
pub(crate) struct Cohorts {
    plan: Plan,
    rng: StdRng,
    now: f64,
    tasks: Vec<u32>,
    waits: Vec<Wait>,
    queues: Vec<Line>,
    /// Messages of lost tasks, and when they are visible again.
    hidden: Vec<(f64, usize, Cohort)>,
    /// Follow-ups that arrive in the next second.
    follow: Vec<f64>,
    /// Messages a second in the last second, which says how many hold slots.
    pace: Vec<f64>,
    /// The same over several seconds, for the formula for waits, which is for lasting loads. Cohorts themselves follow
    /// faster changes.
    steady: Vec<f64>,
    costs: Vec<f64>,
    /// Samples of the time of calls on the whole way, for each kind.
    calls: Vec<Vec<f64>>,
    turn: usize,
}

impl Cohorts {
    /// An empty one; each tier has one task.
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let calls = plan.kinds.iter().map(|kind| {
            let way = |rng: &mut StdRng| {
                let queues = kind.path.iter().map(|queue| {
                    let at = &plan.queues[*queue];
                    let work = at.work.sample(rng) / plan.tiers[at.tier].speed;
                    let hold = if at.early { 0.0 } else { at.hold.sample(rng) };
                    at.pass.sample(rng) + work + hold
                });
                queues.sum::<f64>() + kind.reply.map_or(0.0, |reply| reply.sample(rng))
            };
            (0..POOL).map(|_| way(&mut rng)).collect()
        });
        Self {
            calls: calls.collect(),
            costs: (0..plan.queues.len()).map(|queue| cost(&plan, queue)).collect(),
            rng,
            now: 0.0,
            tasks: vec![1; plan.tiers.len()],
            waits: vec![Wait::default(); plan.queues.len()],
            queues: vec![Line::default(); plan.queues.len()],
            hidden: Vec::new(),
            follow: vec![0.0; plan.kinds.len()],
            pace: vec![0.0; plan.queues.len()],
            steady: vec![0.0; plan.queues.len()],
            turn: 0,
            plan,
        }
    }

    fn slots(&self, queue: usize) -> f64 {
        let at = &self.plan.queues[queue];
        f64::from(at.slots) * f64::from(self.tasks[at.tier])
    }

    /// Long work leaves its processor to others after each slice, so it counts as many short pieces of work.
    fn slices(&self, queue: usize) -> f64 {
        (self.costs[queue] / self.plan.slice).ceil().max(1.0)
    }

    /// How many messages of a queue scarce processors do.
    fn weight(&self, queue: usize) -> f64 {
        self.slots(queue) / self.slices(queue)
    }

    fn cores(&self, tier: usize) -> f64 {
        f64::from(self.plan.tiers[tier].cores) * f64::from(self.tasks[tier])
    }

    fn waiting(&self, queue: usize) -> f64 {
        self.queues[queue].count
    }

    /// Messages that hold slots and are neither waiting nor lost.
    fn held(&self, queue: usize) -> f64 {
        self.pace[queue] * (self.costs[queue] + self.plan.queues[queue].hold.mean())
    }

    /// How much of each queue of a tier is done in this second.
    fn turns(&self, tier: usize) -> Vec<(usize, Turn)> {
        let queues = (0..self.queues.len()).filter(|queue| self.plan.queues[*queue].tier == tier);
        let mut turns: Vec<(usize, Turn)> = queues
            .map(|queue| {
                let takes = self.costs[queue] + self.plan.queues[queue].hold.mean();
                let slots = self.slots(queue);
                let most = if takes > 0.0 {
                    slots / takes
                } else if slots > 0.0 {
                    f64::INFINITY
                } else {
                    0.0
                };
                let demand = self.waiting(queue);
                (queue, Turn { demand, most, served: demand.min(most), rate: 0.0 })
            })
            .collect();
        let capacity = self.cores(tier);
        let level = self.level(&turns, capacity);
        for (queue, turn) in &mut turns {
            turn.served = turn.served.min(level * self.weight(*queue));
        }
        let used: f64 = turns.iter().map(|(queue, turn)| turn.served * self.costs[*queue]).sum();
        for (queue, turn) in &mut turns {
            let spare = (capacity - used).max(0.0) / self.costs[*queue].max(1e-12);
            turn.rate = (turn.served + spare).min(turn.most);
        }
        turns
    }

    /// Where processors are short each queue gets as much as its slots put before them: up to this many messages for
    /// each unit of weight.
    fn level(&self, turns: &[(usize, Turn)], capacity: f64) -> f64 {
        let asked: f64 = turns.iter().map(|(queue, turn)| turn.served * self.costs[*queue]).sum();
        if asked <= capacity {
            return f64::INFINITY;
        }
        let mut fullest: Vec<(f64, f64, f64)> = turns
            .iter()
            .filter(|(_, turn)| turn.served > 0.0)
            .map(|(queue, turn)| {
                let weight = self.weight(*queue);
                (turn.served / weight, weight * self.costs[*queue], turn.served * self.costs[*queue])
            })
            .collect();
        fullest.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut weight: f64 = fullest.iter().map(|(_, weight, _)| weight).sum();
        let mut left = capacity;
        for (level, each, all) in fullest {
            if level * weight >= left {
                return left / weight;
            }
            left -= all;
            weight -= each;
        }
        f64::INFINITY
    }

    /// Waits within this second of a tier that keeps up; none where a backlog stays, whose waits are longer.
    fn micro(&self, tier: usize, turns: &[(usize, Turn)]) -> Micro {
        let rate: f64 = turns.iter().map(|(queue, _)| self.steady[*queue] * self.slices(*queue)).sum();
        let late = turns.iter().any(|(_, turn)| turn.demand > turn.served + LITTLE);
        if rate <= 0.0 || late || self.tasks[tier] == 0 {
            return Micro::default();
        }
        let (mut mean, mut square) = (0.0, 0.0);
        for (queue, _) in turns {
            let parts = self.slices(*queue);
            let (share, takes) = (self.steady[*queue] * parts / rate, self.costs[*queue] / parts);
            mean += share * takes;
            square += share * takes * takes * (1.0 + self.plan.queues[*queue].work.variation());
        }
        if mean <= 0.0 {
            return Micro::default();
        }
        let servers = self.cores(tier) as u32;
        let wait = mean_wait(servers, rate, mean, square / (mean * mean) - 1.0).min(SHORT);
        let share = erlang_c(servers, rate * mean).min(1.0);
        if share > 0.0 { Micro { share, mean: wait / share } } else { Micro::default() }
    }

    fn run_tier(&mut self, tier: usize, seen: &mut Seen) {
        let turns = self.turns(tier);
        for (queue, turn) in &turns {
            self.steady[*queue] += (turn.served - self.steady[*queue]) / STEADY;
        }
        let micro = self.micro(tier, &turns);
        let short = turns.iter().any(|(queue, turn)| {
            turn.served + LITTLE < turn.demand.min(turn.most) && self.costs[*queue] > 0.0
        });
        let crowd: f64 = if short {
            let before = |(queue, turn): &(usize, Turn)| {
                (turn.demand - turn.served).min(self.slots(*queue)) * self.costs[*queue].min(self.plan.slice)
            };
            turns.iter().map(before).sum::<f64>() / self.cores(tier).max(1e-9)
        } else {
            0.0
        };
        for (queue, turn) in turns {
            self.pace[queue] = turn.served;
            seen.busy[tier] += turn.served * self.costs[queue];
            let mut done = 0.0;
            while turn.served - done > LITTLE
                && let Some(part) = self.queues[queue].take(turn.served - done)
            {
                let arrived = f64::midpoint(part.from, part.to);
                let finished = self.now + (done + part.count / 2.0) / turn.rate;
                // Messages of a queue without a backlog wait behind those of queues with one, for the same processors.
                let wait = (finished - arrived).max(crowd);
                let mut out = Cohort { waited: part.waited + wait, ..part };
                out.micro[out.stage.min(2)] = micro;
                done += part.count;
                self.pass_on(out, seen);
            }
        }
    }

    fn pass_on(&mut self, mut cohort: Cohort, seen: &mut Seen) {
        let kind = &self.plan.kinds[cohort.kind];
        cohort.stage += 1;
        if let Some(queue) = kind.path.get(cohort.stage) {
            (cohort.from, cohort.to) = (self.now, self.now + 1.0);
            seen.entered[*queue] += cohort.count;
            self.queues[*queue].push(cohort);
            return;
        }
        seen.done[cohort.kind] += cohort.count;
        for (next, copies) in &kind.follow {
            self.follow[*next] += cohort.count * copies;
        }
        if kind.reply.is_none() {
            return;
        }
        for _ in 0..POINTS {
            self.turn = (self.turn + 1) % POOL;
            let mut latency = cohort.waited + self.calls[cohort.kind][self.turn];
            for queue in &kind.path {
                latency += self.waits[*queue].sample(&mut self.rng);
            }
            for micro in cohort.micro.iter().filter(|micro| micro.share > 0.0) {
                let chance: f64 = self.rng.random();
                if chance < micro.share {
                    // The same random number, scaled to its part, decides how long.
                    latency -= micro.mean * (1.0 - chance / micro.share).ln();
                }
            }
            seen.latency.add(latency, cohort.count / POINTS as f64);
        }
    }
}

impl Engine for Cohorts {
    fn step(&mut self, rates: &[f64], seen: &mut Seen) {
        let end = self.now + 1.0;
        let due = |(at, _, _): &mut (f64, usize, Cohort)| *at < end;
        for (at, queue, cohort) in self.hidden.extract_if(.., due) {
            seen.redelivered += cohort.count;
            self.queues[queue].push(Cohort {
                waited: cohort.waited + at - cohort.from,
                from: at,
                to: at,
                ..cohort
            });
        }
        for (kind, rate) in rates.iter().enumerate() {
            let count = poisson(*rate, &mut self.rng) + std::mem::take(&mut self.follow[kind]);
            if count <= 0.0 {
                continue;
            }
            seen.arrived[kind] += count;
            let queue = self.plan.kinds[kind].path[0];
            seen.entered[queue] += count;
            let (from, to) = (self.now, self.now + 1.0);
            let micro = [Micro::default(); 3];
            self.queues[queue].push(Cohort { kind, count, from, to, waited: 0.0, micro, stage: 0 });
        }
        for tier in 0..self.plan.tiers.len() {
            self.run_tier(tier, seen);
        }
        self.now += 1.0;
    }

    fn set_tasks(&mut self, tier: usize, tasks: u32) {
        self.tasks[tier] = tasks;
    }

    fn set_wait(&mut self, queue: usize, wait: Wait) {
        self.waits[queue] = wait;
    }

    fn lose_task(&mut self, tier: usize) {
        let share = 1.0 / f64::from(self.tasks[tier].max(1));
        for queue in 0..self.queues.len() {
            if self.plan.queues[queue].tier != tier {
                continue;
            }
            let mut lost = self.waiting(queue).min(self.slots(queue)) * share;
            while lost > LITTLE
                && let Some(part) = self.queues[queue].take(lost)
            {
                lost -= part.count;
                // On average three quarters of the time are left, as it is extended at half time.
                self.hidden.push((self.now + 0.75 * self.plan.visibility, queue, part));
            }
        }
        self.tasks[tier] = self.tasks[tier].saturating_sub(1);
    }

    fn depth(&self, queue: usize) -> Depth {
        let waiting = self.waiting(queue);
        let free = (self.slots(queue) - self.held(queue)).max(0.0);
        let visible = (waiting - free).max(0.0);
        let lost: f64 =
            self.hidden.iter().filter(|(_, of, _)| *of == queue).map(|(_, _, cohort)| cohort.count).sum();
        // The oldest visible message is behind those that were received.
        let mut before = waiting - visible;
        let mut oldest = self.now;
        for cohort in &self.queues[queue].cohorts {
            if before < cohort.count && visible > 0.0 {
                oldest = cohort.from + (cohort.to - cohort.from) * (before / cohort.count);
                break;
            }
            before -= cohort.count;
        }
        Depth {
            visible,
            in_flight: waiting - visible + lost + self.held(queue),
            age: (self.now - oldest).max(0.0),
        }
    }
}
