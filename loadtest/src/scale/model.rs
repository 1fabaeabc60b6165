//! Makes the plan from the deployment, the service times and the behaviour, and says what each of its parts costs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::inputs::{Behaviour, Service};
use super::plan::{Kind, Plan, Queue, Tier};
use super::prices::{DYNAMODB_READ, DYNAMODB_WRITE, of_requests};
use super::requests::Requests;
use super::terraform::{Deployment, EDGE};
use super::time::Millis;

/// A service that pulls no queue and is no edge: it is paid for, but not simulated.
pub(crate) const UNSIMULATED: &str = "users";
/// The queues of the timelines' scan and computation.
const SCAN: &str = "schedule_q";
const COMPUTE: &str = "precompute_q";
const PERSONALIZE: &str = "personalize_q";
/// How long the system lets a thread keep a processor that other threads wait for, in seconds.
const SLICE: f64 = 0.005;

/// A plan with what it costs.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// What is simulated.
    pub(crate) plan: Plan,
    /// Messages of each kind that a session sends.
    pub(crate) sent: Vec<f64>,
    /// Messages of each queue that a session causes, follow-ups included.
    pub(crate) offered: Vec<f64>,
    /// Dollars a message of each kind costs at DynamoDB.
    pub(crate) tables: Vec<f64>,
    /// Whether a kind's messages go to the archive.
    pub(crate) archived: Vec<bool>,
    /// The tier that sends to each queue; none where the senders are not simulated.
    pub(crate) senders: Vec<Option<usize>>,
    /// The kind of the timelines' scan.
    pub(crate) scan: usize,
    /// The kind of their computation.
    pub(crate) compute: usize,
}

/// Builds a plan.
struct Builder<'a> {
    deployment: &'a Deployment,
    service: &'a Service,
    behaviour: &'a Behaviour,
    requests: &'a Requests,
    tiers: Vec<Tier>,
    queues: Vec<Queue>,
}

impl Model {
    /// Builds it.
    ///
    /// # Errors
    /// A type or queue that is named has no figures.
    pub(crate) fn new(
        deployment: &Deployment,
        service: &Service,
        behaviour: &Behaviour,
        requests: &Requests,
    ) -> Result<Self> {
        let mut builder =
            Builder { deployment, service, behaviour, requests, tiers: Vec::new(), queues: Vec::new() };
        builder.add_tiers();
        builder.add_queues()?;
        builder.finish()
    }
}

impl Builder<'_> {
    /// Edge and router first, as messages pass them first.
    fn add_tiers(&mut self) {
        let first = |name: &str| match name {
            EDGE => 0,
            "router" => 1,
            _ => 2,
        };
        let mut names: Vec<&String> =
            self.deployment.services.keys().filter(|name| *name != UNSIMULATED).collect();
        names.sort_by_key(|name| (first(name), (*name).clone()));
        for name in names {
            let vcpus = f64::from(self.deployment.services[name].cpu) / 1024.0;
            let cores = vcpus.ceil().max(1.0);
            let speed = self.service.aws.vcpu_speed * vcpus / cores;
            self.tiers.push(Tier { name: name.clone(), cores: cores as u32, speed });
        }
    }

    fn add_queues(&mut self) -> Result<()> {
        let (edge, us) = (&self.service.edge, 1e-3);
        let nothing = Millis::Fixed(0.0);
        let delivered = self.behaviour.messages.get("post.create").copied().unwrap_or(0.0)
            * self.behaviour.online_followers;
        let sent: f64 = self.behaviour.messages.values().sum();
        // Replies, and what posts bring to those who are online.
        let replies = 1.0 + delivered / sent.max(1.0);
        self.queues.push(Queue {
            name: EDGE.into(),
            tier: 0,
            slots: u32::MAX,
            pass: nothing,
            work: Millis::Fixed((edge.message_us + replies * edge.reply_us) * us),
            hold: nothing,
            early: false,
        });
        for (tier, service) in self.tiers.iter().enumerate().skip(1) {
            for name in &self.deployment.pulls[&service.name] {
                let row = self.deployment.queues.get(name).with_context(|| format!("no queue {name}"))?;
                let is_main = row.message_type.is_empty();
                let (work, hold) = if is_main {
                    (self.service.router.message_us, self.service.aws.archive_ms)
                } else {
                    let known_as = self.service.known_as(row);
                    let calls = self.service.figures(known_as).calls;
                    let share = if [COMPUTE, PERSONALIZE].contains(&name.as_str()) {
                        self.batch_share()
                    } else {
                        1.0
                    };
                    let work = self.service.work_us(known_as)? * share + calls * self.service.aws.call_us;
                    (work, one_after_another(self.service.aws.table_ms, calls))
                };
                self.queues.push(Queue {
                    name: name.clone(),
                    tier,
                    slots: self.service.slots(row),
                    pass: self.service.aws.hop_ms,
                    work: Millis::Fixed(work * us),
                    hold,
                    // The router sends on first, and then waits for the archive.
                    early: is_main,
                });
            }
        }
        self.add_requests();
        Ok(())
    }

    /// How full the timelines' messages are, as a share: a page of the scan makes messages with its own users only.
    fn batch_share(&self) -> f64 {
        let timelines = &self.service.timelines;
        let due = due_on_a_page(self.service, self.behaviour);
        due / (due / timelines.users_a_message).ceil().max(1.0) / timelines.users_a_message
    }

    /// Adds the processor time of requests to SQS. The busier a task's queue, the more messages share a request; so it
    /// is computed for a task that is half busy, whose pace depends on this share itself.
    fn add_requests(&mut self) {
        let rates = self.rates();
        let own: Vec<f64> = self.queues.iter().map(|queue| queue.work.mean()).collect();
        for _ in 0..8 {
            for tier in 1..self.tiers.len() {
                let of = |queue: &usize| self.queues[*queue].tier == tier;
                let all: f64 = (0..self.queues.len()).filter(of).map(|queue| rates[queue]).sum();
                let used: f64 = (0..self.queues.len())
                    .filter(of)
                    .map(|queue| rates[queue] * self.queues[queue].work.mean())
                    .sum();
                if used <= 0.0 {
                    continue;
                }
                let task = 0.5 * f64::from(self.tiers[tier].cores) * self.tiers[tier].speed * all / used;
                for queue in (0..self.queues.len()).filter(of).collect::<Vec<_>>() {
                    let pace = task * rates[queue] / all;
                    let mut requests = self.requests.hop_requests(pace)[1];
                    if self.queues[queue].name == "main_q" {
                        // The router sends on to all types' queues.
                        let types =
                            rates.iter().enumerate().filter(|(other, _)| self.queues[*other].tier > 1);
                        requests += types
                            .map(|(_, rate)| rate / all * self.requests.hop_requests(task * rate / all)[0])
                            .sum::<f64>();
                    }
                    let call = self.service.aws.call_us / 1e6;
                    self.queues[queue].work = Millis::Fixed((own[queue] + requests * call) * 1e3);
                }
            }
        }
    }

    /// Messages of each queue in a session.
    fn rates(&self) -> Vec<f64> {
        let sent = |name: &str| self.behaviour.messages.get(name).copied().unwrap_or(0.0);
        let mut rates: BTreeMap<&str, f64> = BTreeMap::new();
        let all: f64 = self.behaviour.messages.values().sum();
        for queue in &self.queues {
            let row = self.deployment.queues.get(&queue.name);
            let rate = row
                .map_or(all, |row| if row.message_type.is_empty() { all } else { sent(&row.message_type) });
            rates.insert(&queue.name, rate);
        }
        // Follow-ups, and follow-ups of those.
        for _ in 0..3 {
            for (cause, follow) in &self.behaviour.follow {
                let of = self.deployment.queues.iter().find(|(_, row)| row.message_type == *cause);
                let rate = of.and_then(|(queue, _)| rates.get(queue.as_str()).copied()).unwrap_or(0.0);
                for (queue, copies) in follow {
                    if let Some(known) = rates.get_mut(queue.as_str()) {
                        *known = known.max(rate * copies);
                    }
                }
            }
        }
        self.queues.iter().map(|queue| rates[queue.name.as_str()]).collect()
    }

    fn finish(self) -> Result<Model> {
        let at = |name: &str| {
            self.queues
                .iter()
                .position(|queue| queue.name == name)
                .with_context(|| format!("no queue {name}"))
        };
        let main = at("main_q")?;
        let (mut kinds, mut sent, mut tables, mut archived) = (vec![], vec![], vec![], vec![]);
        let rows: Vec<_> =
            self.deployment.queues.iter().filter(|(_, row)| !row.message_type.is_empty()).collect();
        for (queue, row) in &rows {
            let from_clients = self.behaviour.messages.get(&row.message_type);
            let path = if from_clients.is_some() { vec![0, main, at(queue)?] } else { vec![at(queue)?] };
            let reply = from_clients.map(|_| self.service.aws.reply_ms);
            let follow = self.behaviour.follow.get(&row.message_type).into_iter().flatten();
            let follow = follow.map(|(next, copies)| {
                let next = rows
                    .iter()
                    .position(|(name, _)| *name == next)
                    .with_context(|| format!("no queue {next}"))?;
                Ok((next, *copies))
            });
            kinds.push(Kind { path, reply, follow: follow.collect::<Result<_>>()? });
            sent.push(from_clients.copied().unwrap_or(0.0));
            let known_as = self.service.known_as(row);
            let figures = self.service.figures(known_as);
            let share = if *queue == COMPUTE { self.batch_share() } else { 1.0 };
            let units = of_requests(&DYNAMODB_READ, figures.read_units * share)
                + of_requests(&DYNAMODB_WRITE, figures.write_units);
            tables.push(self.requests.dynamodb(known_as).unwrap_or(units));
            archived.push(row.archived);
        }
        let kind = |name: &str| {
            rows.iter().position(|(queue, _)| *queue == name).with_context(|| format!("no queue {name}"))
        };
        let senders = self.queues.iter().map(|queue| match queue.name.as_str() {
            EDGE => None,
            "main_q" => Some(0),
            // Most come through the router; a follow-up is sent by the tier that did the message before it.
            name if rows.iter().any(|(queue, row)| {
                *queue == name && self.behaviour.messages.contains_key(&row.message_type)
            }) =>
            {
                Some(1)
            }
            _ => Some(queue.tier),
        });
        let senders = senders.collect();
        let (scan, compute) = (kind(SCAN)?, kind(COMPUTE)?);
        let offered = self.rates();
        let visibility = self.deployment.visibility;
        let plan = Plan { tiers: self.tiers, queues: self.queues, kinds, visibility, slice: SLICE };
        Ok(Model { plan, sent, offered, tables, archived, senders, scan, compute })
    }
}

/// Users of a page of the scan who are due at a tick: users of the day at every tick, users of the week at each tenth,
/// all others at each sixtieth.
pub(crate) fn due_on_a_page(service: &Service, behaviour: &Behaviour) -> f64 {
    let Behaviour { daily_users: day, weekly_users: week, .. } = behaviour;
    service.timelines.accounts_a_page * (day + (week - day).max(0.0) / 10.0 + (1.0 - week.max(*day)) / 60.0)
}

/// Several calls, one after another: medians add up, and what is rare in one call is rarer in all of them.
fn one_after_another(one: Millis, count: f64) -> Millis {
    match one {
        Millis::Spread { p50, p99 } if count > 0.0 => {
            Millis::Spread { p50: p50 * count, p99: p50 * count + (p99 - p50) * count.sqrt() }
        }
        _ => Millis::Fixed(one.mean() * 1e3 * count),
    }
}
