//! Days as a page.

use anyhow::Result;

use super::figures::{Table, defaulted, dollars, remarks, source, summary, tasks};
use super::outcome::Outcome;
use super::plot::plots;
use super::scenario::Scenario;
use super::spike::clock_text;
use crate::report::grouped;
use crate::report::machine::version;
use crate::report::page::Page;

/// Writes it.
///
/// # Errors
/// A plot cannot be drawn.
pub(super) fn page(scenario: &Scenario, outcomes: &[Outcome]) -> Result<Page> {
    let mut page = Page::new("A day of the deployment, simulated", &source(scenario));
    let remarks: Vec<_> = outcomes.iter().flat_map(|outcome| remarks(scenario, outcome)).collect();
    for (beware, said) in &remarks {
        if *beware { page.verdict(false, said) } else { page.text(said) }
    }
    if remarks.iter().all(|(beware, _)| !beware) {
        page.verdict(true, "No service was at its limit, nobody was turned away, and nothing is left.");
    }
    for (heading, table) in [
        ("Load, latency and price", summary(scenario, outcomes)),
        ("Tasks", tasks(scenario, outcomes)),
        ("Dollars of the simulated time", dollars(outcomes)),
    ] {
        page.section(heading);
        show(&mut page, &table);
    }
    page.text("*: at the peak, in the busiest minute. An exclamation mark: the most tasks that the service may have.");
    for outcome in outcomes {
        page.section(&format!("{} users", grouped(outcome.users)));
        for plot in plots(outcome) {
            page.plot(&plot)?;
        }
    }
    page.section("What was simulated");
    show(&mut page, &services(scenario));
    page.facts(&facts(scenario));
    Ok(page)
}

fn show(page: &mut Page, table: &Table) {
    let head: Vec<&str> = table.head.iter().map(String::as_str).collect();
    page.table(&head, &table.rows);
}

/// The numbers of the Terraform, as they were simulated.
fn services(scenario: &Scenario) -> Table {
    let deployment = &scenario.deployment;
    let percent = |of: Option<&f64>| of.map_or_else(String::new, |percent| format!("{percent} %"));
    let rows = deployment.services.iter().map(|(name, service)| {
        let max = if service.max == u32::MAX { "none".into() } else { service.max.to_string() };
        let backlog = service.backlog_per_task;
        vec![
            name.clone(),
            format!("{}", f64::from(service.cpu) / 1024.0),
            format!("{}", f64::from(service.memory) / 1024.0),
            service.min.to_string(),
            max,
            if backlog > 0.0 { grouped(backlog) } else { String::new() },
            percent(deployment.processors.get(name)),
            percent(deployment.memory.get(name)),
            if service.spot { "spot" } else { "on demand" }.into(),
        ]
    });
    let head =
        ["service", "vCPU", "GB", "min", "max", "SQS messages a task", "processors", "memory", "tasks"];
    Table::new(head, rows)
}

fn facts(scenario: &Scenario) -> Vec<(String, String)> {
    let named =
        |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    let spikes: Vec<_> = scenario.spikes.iter().map(ToString::to_string).collect();
    let losses: Vec<_> =
        scenario.losses.iter().map(|(at, of)| format!("{of} at {}", clock_text(*at))).collect();
    let source = &scenario.service.source;
    let facts = [
        ("crowds", named(&spikes.join(", "), "none")),
        ("lost tasks", named(&losses.join(", "), "none")),
        ("service times", format!("{}, {}: {}", source.machine, source.date, source.command)),
        ("types without figures of their own", defaulted(scenario).unwrap_or_else(|| "none".to_owned())),
        ("loadtest", version()),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
