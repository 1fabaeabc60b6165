//! How long the server's queues are, once a second, as far as its metrics report it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bill::{PagesArgs, label};
use crate::http::get;

/// The first queue of everything that clients send.
const MAIN: &str = "main_q";

/// What the queues hold at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queues {
    /// Messages that wait on main_q: the value of its gauge or, without one, the messages that edges have put there
    /// during the run less those that were taken.
    pub(crate) main_waiting: u64,
    /// Messages that wait on all queues together; none where the server has no gauges of them (with SQS, CloudWatch has
    /// them).
    #[serde(default)]
    pub(crate) waiting: Option<u64>,
    /// Runs in progress, by queue.
    pub(crate) in_progress: BTreeMap<String, u64>,
}

impl Queues {
    /// Runs in progress of all queues together.
    pub(crate) fn in_progress(&self) -> u64 {
        self.in_progress.values().sum()
    }
}

/// The counters that matter here, of all pages together.
#[derive(Debug, Clone, Default)]
struct Counters {
    /// Messages that the edges have put on main_q: those of clients, and one for each welcome.
    put: f64,
    taken: f64,
    waiting: BTreeMap<String, u64>,
    in_progress: BTreeMap<String, u64>,
    version: Option<String>,
}

impl Counters {
    async fn read(pages: &PagesArgs) -> Result<Self> {
        let mut counters = Self::default();
        for url in &pages.urls {
            counters.add(&get(url).await?);
        }
        Ok(counters)
    }

    fn add(&mut self, page: &str) {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match name {
                "soundoff_edge_accepted_total" | "soundoff_edge_welcomes_total" => self.put += value,
                "soundoff_consumer_received_total" if label(labels, "queue") == MAIN => self.taken += value,
                "soundoff_consumer_in_flight" => {
                    *self.in_progress.entry(label(labels, "queue")).or_default() += value as u64;
                }
                // Several processes that look at one queue see the same messages.
                "soundoff_queue_visible" => {
                    let seen = self.waiting.entry(label(labels, "queue")).or_default();
                    *seen = (*seen).max(value as u64);
                }
                name if name.ends_with("_build_info") => self.version = Some(label(labels, "version")),
                _ => {}
            }
        }
    }

    /// What the queues hold now.
    fn since(self, before: &Self) -> Queues {
        let put_and_not_taken = (self.put - before.put) - (self.taken - before.taken);
        let main_waiting = self.waiting.get(MAIN).copied().unwrap_or(put_and_not_taken.max(0.0) as u64);
        Queues {
            main_waiting,
            waiting: (!self.waiting.is_empty()).then(|| self.waiting.values().sum()),
            in_progress: self.in_progress,
        }
    }
}

/// Looks at the queues once a second.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// The server's version, if its pages report it.
    pub(crate) version: Option<String>,
    seen: Arc<Mutex<BTreeMap<u64, Queues>>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Sampler {
    /// Begins to look, at every full second after `epoch`; without pages there is nothing to see.
    ///
    /// # Errors
    /// A page cannot be read.
    pub(crate) async fn start(pages: &PagesArgs, epoch: Instant) -> Result<Self> {
        let seen = Arc::<Mutex<BTreeMap<u64, Queues>>>::default();
        if !pages.any() {
            return Ok(Self { version: None, seen, task: None });
        }
        let before = Counters::read(pages).await?;
        let version = before.version.clone();
        let (pages, shared) = (pages.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval_at(epoch.into(), Duration::from_secs(1));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                // A page that is late or missing leaves a gap.
                let Ok(now) = Counters::read(&pages).await else { continue };
                let queues = now.since(&before);
                shared
                    .lock()
                    .expect("no thread panics while it holds the lock")
                    .insert(epoch.elapsed().as_secs(), queues);
            }
        });
        Ok(Self { version, seen, task: Some(task) })
    }

    /// What the last look saw.
    pub(crate) fn latest(&self) -> Option<Queues> {
        self.seen
            .lock()
            .expect("no thread panics while it holds the lock")
            .last_key_value()
            .map(|(_, queues)| queues.clone())
    }

    /// What was seen in a second.
    pub(crate) fn at(&self, second: u64) -> Option<Queues> {
        self.seen.lock().expect("no thread panics while it holds the lock").get(&second).cloned()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn pages_add_up() {
        let page = "# TYPE soundoff_consumer_in_flight gauge\n\
            soundoff_edge_accepted_total 10\nsoundoff_edge_welcomes_total 2\n\
            soundoff_consumer_received_total{queue=\"main_q\"} 5\n\
            soundoff_consumer_received_total{queue=\"dm_send_q\"} 99\n\
            soundoff_consumer_in_flight{queue=\"dm_send_q\"} 3\n\
            soundoff_build_info{version=\"1.2.3\"} 1\n";
        let mut counters = Counters::default();
        counters.add(page);
        counters.add(page);
        assert_eq!((counters.put, counters.taken, counters.in_progress["dm_send_q"]), (24.0, 10.0, 6));
        assert_eq!(counters.version.as_deref(), Some("1.2.3"));
    }

    #[test]
    fn gauges_are_believed_before_counters() {
        let mut before = Counters::default();
        before.add("soundoff_edge_accepted_total 4\n");
        let mut after = Counters::default();
        after.add("soundoff_edge_accepted_total 10\nsoundoff_consumer_received_total{queue=\"main_q\"} 1\n");
        let counted = after.clone().since(&before);
        assert_eq!((counted.main_waiting, counted.waiting), (5, None));
        let page =
            "soundoff_queue_visible{queue=\"main_q\"} 3\nsoundoff_queue_visible{queue=\"dm_send_q\"} 8\n";
        after.add(page);
        // Another process that looks at the same queues.
        after.add(page);
        let seen = after.since(&before);
        assert_eq!((seen.main_waiting, seen.waiting), (3, Some(11)));
    }
}
