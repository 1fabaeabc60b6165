//! Seeded failures, for developers who want to see how their client handles them, and for our own tests.

use std::str::FromStr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use soundoff_common::lock::lock;
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::ports::queues::Message;
use soundoff_common::protocol::ErrorBody;

/// Which share of a type's runs fails.
#[derive(Debug, Clone)]
pub(crate) struct ChaosRule {
    pub(crate) message_type: String,
    rate: f64,
}

impl FromStr for ChaosRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (message_type, rate) = text.split_once('=').ok_or("write TYPE=RATE, such as post.create=0.1")?;
        let rate: f64 = rate.parse().map_err(|_| format!("{rate} is no number"))?;
        if !(0.0..=1.0).contains(&rate) {
            return Err(format!("{rate} is no share between 0 and 1"));
        }
        if crate::features::catalog().route(message_type).is_none() {
            return Err(format!("there is no type {message_type}"));
        }
        Ok(Self { message_type: message_type.to_owned(), rate })
    }
}

/// A job whose runs fail now and then: before the work at the rule's rate, and after it at half of that rate, when the
/// effect has happened and only the ack is missing.
pub(crate) struct Chaos {
    job: Arc<dyn Job>,
    rate: f64,
    random: Mutex<StdRng>,
}

impl Chaos {
    pub(crate) fn new(job: Arc<dyn Job>, rule: &ChaosRule, seed: u64) -> Self {
        Self { job, rate: rule.rate, random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    fn strikes(&self, rate: f64) -> bool {
        lock(&self.random).random_bool(rate)
    }
}

#[async_trait]
impl Job for Chaos {
    async fn run(&self, batch: &[Message]) -> Vec<Verdict> {
        if self.strikes(self.rate) {
            return vec![Verdict::Retry("chaos, before the work".to_owned()); batch.len()];
        }
        let verdicts = self.job.run(batch).await;
        if self.strikes(self.rate / 2.0) {
            return vec![Verdict::Retry("chaos, after the work".to_owned()); batch.len()];
        }
        verdicts
    }

    async fn give_up(&self, message: &Message, reason: &str) {
        self.job.give_up(message, reason).await;
    }

    async fn refuse(&self, message: &Message, error: &ErrorBody) {
        self.job.refuse(message, error).await;
    }
}
