//! `loadtest bill`: what a deployment asks of AWS, and what that costs, by the counters of its processes.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::get;
use crate::report::{JsonArgs, Progress};

const DAY: f64 = 86_400.0;
const MILLION: f64 = 1e6;

/// The metrics pages of a deployment's processes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PagesArgs {
    /// A process's metrics page, such as http://127.0.0.1:9090/metrics; give one for each process of the deployment.
    #[arg(long = "metrics", value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

impl PagesArgs {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.urls.is_empty()
    }
}

/// Count what a deployment asks of AWS while you watch: requests and dollars, for a million client messages and for a
/// day.
///
/// Every process counts its requests where it makes them and knows their prices (see docs/cost.md). This reads the
/// counters twice and reports the difference; client messages are those that the edges accepted meanwhile, from any
/// client.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BillArgs {
    #[command(flatten)]
    pages: PagesArgs,
    /// Seconds to watch for.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    duration: u32,
    #[command(flatten)]
    json: JsonArgs,
}

const EXAMPLES: &str = "\
Examples:
  What an idle deployment costs a day:
    loadtest bill --metrics http://10.0.1.7:9090/metrics --metrics http://10.0.1.8:9090/metrics

`loadtest accepted --metrics ...` reports the same for the load that it makes.";

/// Watches, prints the figures and returns the exit code.
///
/// # Errors
/// A page cannot be read.
pub(crate) async fn run(args: BillArgs, mut stop: watch::Receiver<bool>) -> Result<ExitCode> {
    ensure!(args.pages.any(), "give --metrics URL, once for each process of the deployment");
    let watched = Watch::start(&args.pages).await?;
    let seconds = u64::from(args.duration);
    let until = tokio::time::sleep(Duration::from_secs(seconds));
    let waiting = async {
        tokio::select! {
            () = until => {}
            _ = stop.changed() => {}
        }
        anyhow::Ok(())
    };
    let begun = Instant::now();
    Progress::new("watching", seconds).of(waiting, || begun.elapsed().as_secs()).await?;
    let bill = watched.end().await?;
    soundoff_common::terminal::print(&bill.text());
    args.json.write(|| bill.json())?;
    Ok(ExitCode::SUCCESS)
}

/// Counters by service and action, and by service.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    requests: BTreeMap<(String, String), f64>,
    dollars: BTreeMap<String, f64>,
    messages: f64,
}

impl Counts {
    /// Adds the counters of a page.
    fn add(&mut self, page: &str) {
        for line in page.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "soundoff_edge_accepted_total" => self.messages += value,
                "soundoff_aws_requests_total" => {
                    let key = (label(labels, "service"), label(labels, "action"));
                    *self.requests.entry(key).or_default() += value;
                }
                "soundoff_aws_dollars_total" => {
                    *self.dollars.entry(label(labels, "service")).or_default() += value;
                }
                _ => {}
            }
        }
    }

    fn minus(mut self, before: &Self) -> Self {
        for (key, value) in &mut self.requests {
            *value -= before.requests.get(key).copied().unwrap_or(0.0);
        }
        for (key, value) in &mut self.dollars {
            *value -= before.dollars.get(key).copied().unwrap_or(0.0);
        }
        self.messages -= before.messages;
        self.requests.retain(|_, count| *count > 0.0);
        self
    }
}

/// One of a series' labels, whose values have neither quotes nor commas.
pub(crate) fn label(labels: &str, name: &str) -> String {
    let mut pairs = labels.trim_end_matches('}').split(',');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}

/// Counters since a moment.
#[derive(Debug)]
pub(crate) struct Watch {
    pages: PagesArgs,
    before: Counts,
    begun: Instant,
}

impl Watch {
    /// Reads the counters.
    ///
    /// # Errors
    /// A page cannot be read.
    pub(crate) async fn start(pages: &PagesArgs) -> Result<Self> {
        Ok(Self { pages: pages.clone(), before: read(pages).await?, begun: Instant::now() })
    }

    /// Reads them again.
    ///
    /// # Errors
    /// A page cannot be read.
    pub(crate) async fn end(self) -> Result<Bill> {
        let counts = read(&self.pages).await?.minus(&self.before);
        Ok(Bill { counts, seconds: self.begun.elapsed().as_secs_f64(), processes: self.pages.urls.len() })
    }
}

async fn read(pages: &PagesArgs) -> Result<Counts> {
    let mut counts = Counts::default();
    for url in &pages.urls {
        counts.add(&get(url).await?);
    }
    Ok(counts)
}

/// Adds from zero: the sum of nothing would be `-0.0`.
fn total<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// Requests and dollars of a stretch of time.
#[derive(Debug)]
pub(crate) struct Bill {
    counts: Counts,
    seconds: f64,
    processes: usize,
}

impl Bill {
    fn requests(&self) -> f64 {
        total(self.counts.requests.values())
    }

    fn dollars(&self) -> f64 {
        total(self.counts.dollars.values())
    }

    /// For a million client messages; none if there were no messages.
    fn of_million(&self, sum: f64) -> Option<f64> {
        (self.counts.messages > 0.0).then(|| sum * MILLION / self.counts.messages)
    }

    /// As a table for people.
    pub(crate) fn text(&self) -> String {
        let messages = self.counts.messages;
        let mut lines = vec![format!(
            "asked of AWS  by {} processes in {:.0} s, {messages:.0} client messages accepted meanwhile",
            self.processes, self.seconds
        )];
        let row = |service: &str, action: &str, requests: f64, dollars: Option<f64>| {
            let million = |sum: f64, digits: usize| {
                self.of_million(sum).map_or_else(|| "-".to_owned(), |sum| format!("{sum:.digits$}"))
            };
            let day = requests * DAY / self.seconds;
            let dollars = dollars.map(|sum| (million(sum, 3), format!("{:.3}", sum * DAY / self.seconds)));
            let (per_million, per_day) = dollars.unwrap_or_default();
            format!(
                "  {service:<9} {action:<29} {requests:>9.0} {:>13} {per_million:>11} {day:>13.0} {per_day:>9}",
                million(requests, 0)
            )
        };
        lines.push(format!(
            "  {:<9} {:<29} {:>9} {:>13} {:>11} {:>13} {:>9}",
            "", "", "requests", "per million", "$", "a day", "$"
        ));
        for ((service, action), requests) in &self.counts.requests {
            lines.push(row(service, action, *requests, None));
        }
        for (service, dollars) in &self.counts.dollars {
            let asked = self.counts.requests.iter().filter(|((of, _), _)| of == service);
            lines.push(row(service, "in all", total(asked.map(|(_, count)| count)), Some(*dollars)));
        }
        lines.push(row("", "in all", self.requests(), Some(self.dollars())));
        lines.join("\n") + "\n"
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let requests = self.counts.requests.iter();
        let requests: BTreeMap<String, f64> =
            requests.map(|((service, action), count)| (format!("{service}.{action}"), *count)).collect();
        json!({
            "seconds": self.seconds, "messages": self.counts.messages, "requests": requests,
            "dollars": self.counts.dollars,
            "requests_per_million": self.of_million(self.requests()),
            "dollars_per_million": self.of_million(self.dollars()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"# TYPE soundoff_aws_requests counter
soundoff_aws_requests_total{service="sqs",action="SendMessageBatch"} 5
soundoff_aws_dollars_total{service="sqs",unit="request_64kb"} 0.000002
soundoff_edge_accepted_total 100
"#;
    const AFTER: &str = r#"soundoff_aws_requests_total{service="sqs",action="SendMessageBatch"} 25
soundoff_aws_requests_total{service="dynamodb",action="PutItem"} 10
soundoff_aws_dollars_total{service="sqs",unit="request_64kb"} 0.00001
soundoff_aws_dollars_total{service="dynamodb",unit="read_unit"} 0.000001
soundoff_aws_dollars_total{service="dynamodb",unit="write_unit"} 0.000002
soundoff_edge_accepted_total 150
# EOF
"#;

    #[test]
    fn the_difference_of_all_pages_is_reported_for_a_million_messages_and_for_a_day() {
        let mut before = Counts::default();
        before.add(BEFORE);
        let mut after = Counts::default();
        // Two processes; the second has not changed.
        after.add(AFTER);
        let bill = Bill { counts: after.minus(&before), seconds: 10.0, processes: 2 };
        assert_eq!((bill.requests(), bill.counts.messages), (30.0, 50.0));
        assert!((bill.dollars() - 0.000_011).abs() < 1e-12);
        assert_eq!(bill.of_million(bill.requests()), Some(600_000.0));
        let text = bill.text();
        let row = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("sqs       SendMessageBatch")[2..], ["20", "400000", "172800"], "{text}");
        assert_eq!(row("dynamodb  in all")[3..], ["10", "200000", "0.060", "86400", "0.026"], "{text}");
        assert_eq!(bill.json()["requests"]["dynamodb.PutItem"], 10.0);
    }

    #[test]
    fn without_messages_nothing_is_divided() {
        let bill = Bill { counts: Counts::default(), seconds: 1.0, processes: 1 };
        assert_eq!(bill.json()["dollars_per_million"], Value::Null);
        assert!(
            bill.text().ends_with("        0             -           -             0     0.000\n"),
            "{}",
            bill.text()
        );
    }
}
