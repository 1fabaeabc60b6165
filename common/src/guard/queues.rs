//! The queues behind a breaker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::breaker::Breaker;
use crate::ports::queues::{DeadLetter, Depth, Message, Outgoing, QueueError, QueueName, Queues, Receipt};

/// Queues that refuse at once while their engine is away. A receive waits for it instead.
pub struct GuardedQueues {
    queues: Arc<dyn Queues>,
    breaker: Arc<Breaker>,
}

fn is_absent(error: &QueueError) -> bool {
    matches!(error, QueueError::Unavailable(_))
}

impl GuardedQueues {
    /// Puts a breaker before `queues`.
    #[must_use]
    pub fn new(queues: Arc<dyn Queues>, breaker: Arc<Breaker>) -> Self {
        Self { queues, breaker }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        self.breaker.call(call, is_absent, QueueError::Unavailable).await
    }

    /// One call for many entries: the engine is away if it took none of them for that reason.
    async fn batch(
        &self,
        entries: usize,
        call: impl Future<Output = Vec<Result<(), QueueError>>>,
    ) -> Vec<Result<(), QueueError>> {
        let Some(pass) = self.breaker.admit() else {
            return vec![Err(QueueError::Unavailable(self.breaker.words())); entries];
        };
        let results = call.await;
        let all_absent = results.iter().all(|result| result.as_ref().is_err_and(is_absent));
        pass.end(results.is_empty() || !all_absent);
        results
    }
}

#[async_trait]
impl Queues for GuardedQueues {
    async fn send(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.batch(batch.len(), self.queues.send(batch)).await
    }

    async fn forward(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.batch(batch.len(), self.queues.forward(batch)).await
    }

    async fn send_passing(&self, batch: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.batch(batch.len(), self.queues.send_passing(batch)).await
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let Some(pass) = self.breaker.admitted(wait).await else { return Ok(Vec::new()) };
        // A long wait for messages would leave open whether the engine is back.
        let wait = if pass.is_trial() { Duration::ZERO } else { wait };
        let pass = pass.waiting();
        let received = self.queues.receive(queue, max, wait, visibility).await;
        pass.end(!received.as_ref().is_err_and(is_absent));
        received
    }

    async fn ack(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.call(self.queues.ack(queue, receipts)).await
    }

    async fn extend(
        &self,
        queue: &QueueName,
        receipts: Vec<Receipt>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        self.call(self.queues.extend(queue, receipts, visibility)).await
    }

    async fn give_back(&self, queue: &QueueName, receipts: Vec<Receipt>) -> Result<(), QueueError> {
        self.call(self.queues.give_back(queue, receipts)).await
    }

    async fn bury(&self, queue: &QueueName, receipt: Receipt, reason: &str) -> Result<(), QueueError> {
        self.call(self.queues.bury(queue, receipt, reason)).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, QueueError> {
        self.call(self.queues.depth(queue)).await
    }

    async fn dead_letters(&self, queue: &QueueName, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.call(self.queues.dead_letters(queue, limit)).await
    }

    async fn redrive(&self, queue: &QueueName, limit: usize) -> Result<usize, QueueError> {
        self.call(self.queues.redrive(queue, limit)).await
    }
}
