use super::super::figures;
use super::super::gathering::Gathering;
use super::super::inputs::{Behaviour, Service};
use super::super::model::Model;
use super::super::outcome::Outcome;
use super::super::plan::cost;
use super::super::prices::{
    DYNAMODB_READ, DYNAMODB_WRITE, FIREHOSE_5KB, SQS_REQUEST, of_requests, tasks_second,
};
use super::super::requests::Requests;
use super::super::scenario::Scenario;
use super::super::terraform::Deployment;
use super::{Detail, Run, simulate};

fn scenario(hours: u32) -> Scenario {
    Scenario {
        deployment: Deployment::read(None).unwrap(),
        service: Service::read(None).unwrap(),
        behaviour: Behaviour::read(None).unwrap(),
        requests: Requests::read().unwrap(),
        spikes: vec![],
        losses: vec![],
        seconds: hours * 3600,
        seed: 5,
    }
}

fn run(scenario: &Scenario, users: f64, detail: Detail) -> Outcome {
    simulate(scenario, users, detail, |_| true).unwrap().unwrap()
}

fn near(what: &str, a: f64, b: f64, share: f64) {
    eprintln!("{what}: {a:.5} and {b:.5}, {:+.1}%", 100.0 * (b / a - 1.0));
    assert!((b / a - 1.0).abs() <= share, "{what}: {a} and {b}");
}

/// What docs/scale.md states: dollars within 2%, latencies within 10%.
#[test]
fn a_day_by_messages_and_one_by_cohorts_cost_and_last_the_same() {
    let scenario = Scenario { seconds: 2 * 3600, ..scenario(2) };
    let [exact, cohorts] = [Detail::Messages, Detail::Cohorts].map(|detail| run(&scenario, 60_000.0, detail));
    near("messages", exact.messages, cohorts.messages, 0.02);
    near("dollars", exact.dollars.sum(), cohorts.dollars.sum(), 0.02);
    for ((name, a), (_, b)) in exact.dollars.parts().into_iter().zip(cohorts.dollars.parts()) {
        near(name, a, b, 0.03);
    }
    // What gathers before sends is a seventh of it, and both have that.
    near("p50", exact.latency.quantile(0.5), cohorts.latency.quantile(0.5), 0.05);
    near("p99", exact.latency.quantile(0.99), cohorts.latency.quantile(0.99), 0.1);
    for outcome in [exact, cohorts] {
        let [arrived, done] = outcome.flow;
        assert!(
            (arrived - done - outcome.left).abs() < arrived * 0.001,
            "{arrived} came, {done} done, {} left",
            outcome.left
        );
    }
}

#[test]
fn a_crowd_is_answered_as_late_as_the_rule_says_and_never_beyond_max() {
    let mut scenario = scenario(3);
    scenario.behaviour.swing = 0.0;
    scenario.spikes = vec!["01:00+60x40".parse().unwrap()];
    // So that the workers alone are short.
    scenario.deployment.set("edge.min=40").unwrap();
    scenario.deployment.set("router.min=30").unwrap();
    scenario.deployment.set("workers.max=20").unwrap();
    for delay in [60.0, 180.0] {
        scenario.service.aws.metric_delay_s = delay;
        let outcome = run(&scenario, 300_000.0, Detail::Cohorts);
        let workers = outcome.tiers.iter().position(|name| name == "workers").unwrap();
        let tasks: Vec<u32> = outcome.minutes.iter().map(|minute| minute.tasks[workers]).collect();
        let service = &scenario.deployment.services["workers"];
        let first = tasks.iter().skip(60).position(|now| *now > tasks[59]).unwrap();
        // Three full minutes above the target, the figure's own delay, and a task's start: the crowd comes at a
        // minute's beginning.
        let late = 3.0 + (delay + scenario.service.aws.task_start_s) / 60.0;
        assert_eq!(first as f64, late, "{:?}", &tasks[55..75]);
        assert!(tasks.iter().all(|now| (service.min..=service.max).contains(now)), "{tasks:?}");
        assert_eq!(tasks.iter().max(), Some(&service.max));
    }
}

#[test]
fn a_constant_loads_dollars_are_those_by_hand() {
    let mut scenario = scenario(1);
    scenario.behaviour.swing = 0.0;
    scenario.behaviour.messages = [("typing".to_owned(), 10.0)].into();
    scenario.behaviour.follow.clear();
    // No ticks: nobody's timeline is due.
    scenario.service.timelines.interval_s = 1e9;
    scenario.deployment.set("compute.min=1").unwrap();
    scenario.deployment.set("personalize.min=1").unwrap();
    let users = 48_000.0;
    let mut run = Run::new(&scenario, users, Detail::Cohorts).unwrap();
    let with_senders = run.model.senders.iter().filter(|sender| sender.is_some()).count();
    let (mut scanned, mut computed) = (0.0, 0.0);
    for second in 0..scenario.seconds {
        run.second(second);
        scanned += run.seen.done[run.model.scan];
        computed += run.seen.done[run.model.compute];
        if (second + 1) % 60 == 0 {
            run.end_minute(second + 1);
        }
    }
    let outcome = run.finish();
    // 48,000 × 0.3 × 6 ÷ 86,400 = 1 session and 10 messages a second.
    let (sessions, sent) = (3600.0, outcome.messages);
    near("messages", 36_000.0, sent, 0.02);
    let services = scenario.deployment.services.values();
    let fargate: f64 = services.map(|service| 3600.0 * tasks_second(service, service.min)).sum();
    near("Fargate", fargate, outcome.dollars.fargate, 1e-6);
    near("Firehose", of_requests(&FIREHOSE_5KB, sent), outcome.dollars.firehose, 1e-6);
    // One scan of 48 pages, each with a message to compute. They are drawn, so their number varies by a seventh (1 in
    // √48).
    near("pages of the scan", 48.0, scanned, 0.6);
    near("messages to compute", 48.0, computed, 0.6);
    // A typing reads 3 units; a session's hello reads 8 and writes 2.
    let scan = of_requests(&DYNAMODB_READ, scanned * 125.0 + computed * 330.0);
    let tables = sent * 0.38e-6
        + of_requests(&DYNAMODB_READ, sessions * 8.0)
        + of_requests(&DYNAMODB_WRITE, sessions * 2.0);
    near("DynamoDB", tables + scan, outcome.dollars.dynamodb, 0.01);
    // Two cache nodes at 0.032; a balancer's hour and 480 open sockets; two gateways and 0.7 KB a message at 0.05 a GB.
    near("ElastiCache", 0.064, outcome.dollars.elasticache, 1e-6);
    near("balancer", 0.0225 + 0.008 * 480.0 / 3000.0, outcome.dollars.balancer, 0.01);
    near("network", 0.09 + sent * 700.0 / 1e9 * 0.05, outcome.dollars.network, 1e-6);
    // Two hops: from two edges at 5 a second each, between $1.2 a million at 1 and 0.99 at 10; from the router at 10.
    // And one poll in 20 s of all queues but these two, each by one task.
    let polls = of_requests(&SQS_REQUEST, 3600.0 / 20.0 * (with_senders - 2) as f64);
    near("SQS", sent * (1.049e-6 + 0.990e-6) + polls, outcome.dollars.sqs, 0.03);
}

#[test]
fn the_same_seed_gives_the_same_day_and_another_does_not() {
    let of = |seed: u64, detail| {
        let scenario = Scenario { seed, ..scenario(1) };
        let outcome = run(&scenario, 10_000.0, detail);
        figures::json(&scenario, &[outcome])["days"].to_string()
    };
    for detail in [Detail::Messages, Detail::Cohorts] {
        assert_eq!(of(1, detail), of(1, detail));
        assert_ne!(of(1, detail), of(2, detail));
    }
}

#[test]
fn every_queue_has_a_kind_and_every_kind_its_price() {
    let scenario = scenario(1);
    let Scenario { deployment, service, behaviour, requests, .. } = &scenario;
    let model = Model::new(deployment, service, behaviour, requests).unwrap();
    // All queues but the bucket's own and main_q, and the edge beside them.
    assert_eq!(model.plan.queues.len(), deployment.queues.len() + 1);
    assert_eq!(model.plan.kinds.len(), deployment.queues.len() - 1);
    assert!(model.plan.queues.iter().all(|queue| queue.work.mean() > 0.0));
    assert!(
        model.plan.kinds.iter().zip(&model.sent).all(|(kind, sent)| (kind.path.len() == 3) == (*sent > 0.0))
    );
}

/// What infra/terraform/main.tf says of `backlog_per_task`, for ten million users at their peak on tasks that are half
/// busy.
#[test]
fn a_tasks_backlog_is_half_a_minute_of_its_work_in_the_busiest_of_its_policies() {
    let scenario = scenario(1);
    let Scenario { deployment, service, behaviour, requests, .. } = &scenario;
    let model = Model::new(deployment, service, behaviour, requests).unwrap();
    let Model { plan, offered, senders, .. } = &model;
    let sessions = behaviour.sessions_a_second(1e7) * (1.0 + behaviour.swing);
    let of = |tier: usize| (0..plan.queues.len()).filter(move |queue| plan.queues[*queue].tier == tier);
    let used = |tier: usize| {
        let busy: f64 = of(tier).map(|queue| sessions * offered[queue] * cost(plan, queue)).sum();
        busy / f64::from(plan.tiers[tier].cores)
    };
    let gathering = Gathering::new(&service.aws);
    for name in ["router", "workers", "fetch"] {
        let tier = plan.tiers.iter().position(|tier| tier.name == name).unwrap();
        let packs = of(tier).map(|queue| {
            let rate = sessions * offered[queue];
            rate / gathering.pack(rate / (used(senders[queue].unwrap()) / 0.5).ceil())
        });
        let packs: Vec<f64> = packs.collect();
        let busiest = packs.chunks(deployment.chunk).map(|packs| packs.iter().sum()).fold(0.0, f64::max);
        let cleared = 30.0 * busiest / used(tier);
        near(name, cleared, deployment.services[name].backlog_per_task, 0.25);
    }
}
