//! Every message by itself: a heap of events in nanoseconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Distribution as _, Poisson};

use super::super::gathering::Wait;
use super::super::plan::Plan;
use super::state::{Depth, Engine, Seen};

const SECOND: f64 = 1e9;
const STEP: u64 = 1_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A message can be received.
    Visible,
    /// A message no longer needs its processor.
    Worked,
    /// A message no longer needs its slot.
    Done,
    /// A slot becomes free whose message has gone on before; the number is that of the queue.
    Free,
}

/// A life that no message has.
const NOBODY: u32 = u32::MAX;

/// An event: time, order among events of the same time, kind, message, and the message's life.
type Event = Reverse<(u64, u64, What, usize, u32)>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Received,
    Working,
    Holding,
    /// Whether its task was lost.
    Hidden,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    kind: usize,
    stage: usize,
    state: State,
    /// Events of an earlier life are ignored.
    life: u32,
    born: u64,
    /// When it became visible, or was received.
    since: u64,
    /// Seconds of its processor that it still needs, after it has had some.
    left: Option<f64>,
}

/// The exact engine.
#[derive(Debug)]
pub(crate) struct Messages {
    plan: Plan,
    rng: StdRng,
    now: u64,
    order: u64,
    events: BinaryHeap<Event>,
    messages: Vec<Message>,
    unused: Vec<usize>,
    waits: Vec<Wait>,
    visible: Vec<VecDeque<usize>>,
    in_flight: Vec<u64>,
    hidden: Vec<u64>,
    tasks: Vec<u32>,
    ready: Vec<VecDeque<(usize, u32)>>,
    busy: Vec<u64>,
}

fn nanos(seconds: f64) -> u64 {
    (seconds * SECOND) as u64
}

impl Messages {
    /// An empty one; each tier has one task.
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        let (queues, tiers) = (plan.queues.len(), plan.tiers.len());
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            messages: Vec::new(),
            unused: Vec::new(),
            waits: vec![Wait::default(); queues],
            visible: vec![VecDeque::new(); queues],
            in_flight: vec![0; queues],
            hidden: vec![0; queues],
            tasks: vec![1; tiers],
            ready: vec![VecDeque::new(); tiers],
            busy: vec![0; tiers],
            plan,
        }
    }

    fn at(&mut self, time: u64, what: What, message: usize) {
        let life = self.messages[message].life;
        self.push(time, what, message, life);
    }

    fn push(&mut self, time: u64, what: What, number: usize, life: u32) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, what, number, life)));
    }

    fn pass_time(&mut self, to: u64, seen: &mut Seen) {
        for (used, busy) in seen.busy.iter_mut().zip(&self.busy) {
            *used += *busy as f64 * (to - self.now) as f64 / SECOND;
        }
        self.now = to;
    }

    fn queue(&self, message: usize) -> usize {
        let Message { kind, stage, .. } = self.messages[message];
        self.plan.kinds[kind].path[stage]
    }

    fn arrive(&mut self, kind: usize, time: u64, seen: &mut Seen) {
        seen.arrived[kind] += 1.0;
        let fresh =
            Message { kind, stage: 0, state: State::Waiting, life: 0, born: time, since: time, left: None };
        let message = match self.unused.pop() {
            Some(old) => {
                let life = self.messages[old].life + 1;
                self.messages[old] = Message { life, ..fresh };
                old
            }
            None => {
                self.messages.push(fresh);
                self.messages.len() - 1
            }
        };
        self.enter(message, time, seen);
    }

    fn enter(&mut self, message: usize, time: u64, seen: &mut Seen) {
        let queue = self.queue(message);
        seen.entered[queue] += 1.0;
        let wait = self.waits[queue].sample(&mut self.rng);
        let pass = wait + self.plan.queues[queue].pass.sample(&mut self.rng);
        self.at(time + nanos(pass), What::Visible, message);
    }

    /// Receives as many messages as there are free slots.
    fn pull(&mut self, queue: usize) {
        let tier = self.plan.queues[queue].tier;
        let slots = u64::from(self.plan.queues[queue].slots) * u64::from(self.tasks[tier]);
        while self.in_flight[queue] < slots
            && let Some(message) = self.visible[queue].pop_front()
        {
            self.in_flight[queue] += 1;
            let held = &mut self.messages[message];
            (held.state, held.since, held.left) = (State::Received, self.now, None);
            self.ready[tier].push_back((message, held.life));
        }
        self.work(tier);
    }

    /// Starts work on as many messages as there are free processors.
    fn work(&mut self, tier: usize) {
        let Tier { cores, speed } = Tier::of(&self.plan, tier, self.tasks[tier]);
        while self.busy[tier] < cores
            && let Some((message, life)) = self.ready[tier].pop_front()
        {
            if self.messages[message].life != life {
                continue;
            }
            self.busy[tier] += 1;
            self.messages[message].state = State::Working;
            let queue = self.queue(message);
            let all = match self.messages[message].left {
                Some(left) => left,
                None => self.plan.queues[queue].work.sample(&mut self.rng) / speed,
            };
            let now = all.min(self.plan.slice);
            self.messages[message].left = Some(all - now);
            self.at(self.now + nanos(now), What::Worked, message);
        }
    }

    fn happen(&mut self, what: What, message: usize, seen: &mut Seen) {
        let queue = self.queue(message);
        let tier = self.plan.queues[queue].tier;
        match what {
            What::Visible => {
                if self.messages[message].state == State::Hidden {
                    self.hidden[queue] -= 1;
                    seen.redelivered += 1.0;
                }
                let held = &mut self.messages[message];
                (held.state, held.since) = (State::Waiting, self.now);
                self.visible[queue].push_back(message);
                self.pull(queue);
            }
            What::Worked => {
                self.busy[tier] -= 1;
                let held = &mut self.messages[message];
                if held.left.is_some_and(|left| left > 0.0) {
                    held.state = State::Received;
                    self.ready[tier].push_back((message, held.life));
                    return self.work(tier);
                }
                let until = self.now + nanos(self.plan.queues[queue].hold.sample(&mut self.rng));
                if self.plan.queues[queue].early {
                    self.push(until, What::Free, queue, NOBODY);
                    self.pass_on(message, seen);
                } else {
                    self.messages[message].state = State::Holding;
                    self.at(until, What::Done, message);
                }
                self.work(tier);
            }
            What::Done => {
                self.pass_on(message, seen);
                self.free(queue);
            }
            What::Free => {}
        }
    }

    fn free(&mut self, queue: usize) {
        self.in_flight[queue] -= 1;
        self.pull(queue);
    }

    fn pass_on(&mut self, message: usize, seen: &mut Seen) {
        let Message { kind, stage, born, .. } = self.messages[message];
        self.messages[message].state = State::Waiting;
        if stage + 1 < self.plan.kinds[kind].path.len() {
            self.messages[message].stage += 1;
            return self.enter(message, self.now, seen);
        }
        seen.done[kind] += 1.0;
        self.unused.push(message);
        if let Some(reply) = self.plan.kinds[kind].reply {
            let latency = (self.now - born) as f64 / SECOND + reply.sample(&mut self.rng);
            seen.latency.add(latency, 1.0);
        }
        for at in 0..self.plan.kinds[kind].follow.len() {
            let (next, copies) = self.plan.kinds[kind].follow[at];
            let whole = copies.floor();
            let more = f64::from(u8::from(self.rng.random::<f64>() < copies - whole));
            for _ in 0..(whole + more) as u64 {
                self.arrive(next, self.now, seen);
            }
        }
    }
}

/// The number of processors of all tasks of a tier.
struct Tier {
    cores: u64,
    speed: f64,
}

impl Tier {
    fn of(plan: &Plan, tier: usize, tasks: u32) -> Self {
        let tier = &plan.tiers[tier];
        Self { cores: u64::from(tier.cores) * u64::from(tasks), speed: tier.speed }
    }
}

/// A random number of arrivals where `mean` are expected.
pub(super) fn poisson(mean: f64, rng: &mut StdRng) -> f64 {
    Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng))
}

impl Engine for Messages {
    fn step(&mut self, rates: &[f64], seen: &mut Seen) {
        let end = self.now + STEP;
        let begun = self.now;
        let mut arrivals = Vec::new();
        for (kind, rate) in rates.iter().enumerate() {
            let count = poisson(*rate, &mut self.rng) as u64;
            arrivals.extend((0..count).map(|_| (begun + self.rng.random_range(0..STEP), kind)));
        }
        arrivals.sort_unstable();
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let next = self.events.peek().map_or(end, |Reverse(event)| event.0);
            if let Some((time, kind)) = arrivals.next_if(|(time, _)| *time <= next) {
                self.pass_time(time, seen);
                self.arrive(kind, time, seen);
                continue;
            }
            if next >= end {
                break;
            }
            let Some(Reverse((time, _, what, message, life))) = self.events.pop() else { break };
            if life == NOBODY {
                self.pass_time(time, seen);
                self.free(message);
                continue;
            }
            if self.messages[message].life != life {
                continue;
            }
            self.pass_time(time, seen);
            self.happen(what, message, seen);
        }
        self.pass_time(end, seen);
    }

    fn set_tasks(&mut self, tier: usize, tasks: u32) {
        self.tasks[tier] = tasks;
        for queue in 0..self.plan.queues.len() {
            if self.plan.queues[queue].tier == tier {
                self.pull(queue);
            }
        }
    }

    fn set_wait(&mut self, queue: usize, wait: Wait) {
        self.waits[queue] = wait;
    }

    fn lose_task(&mut self, tier: usize) {
        let share = 1.0 / f64::from(self.tasks[tier].max(1));
        let half = nanos(self.plan.visibility / 2.0);
        for message in 0..self.messages.len() {
            let Message { kind, stage, state, since, .. } = self.messages[message];
            let queue = self.plan.kinds[kind].path[stage];
            let held = matches!(state, State::Received | State::Working | State::Holding);
            if !held || self.plan.queues[queue].tier != tier || self.rng.random::<f64>() >= share {
                continue;
            }
            self.busy[tier] -= u64::from(state == State::Working);
            self.in_flight[queue] -= 1;
            self.hidden[queue] += 1;
            self.messages[message].life += 1;
            self.messages[message].state = State::Hidden;
            let extended = since + (self.now - since) / half.max(1) * half;
            self.at(extended + 2 * half, What::Visible, message);
        }
        self.set_tasks(tier, self.tasks[tier].saturating_sub(1));
    }

    fn depth(&self, queue: usize) -> Depth {
        let oldest = self.visible[queue].front().map_or(self.now, |message| self.messages[*message].since);
        Depth {
            visible: self.visible[queue].len() as f64,
            in_flight: (self.in_flight[queue] + self.hidden[queue]) as f64,
            age: (self.now - oldest) as f64 / SECOND,
        }
    }
}
