//! An engine's breaker where its requests are made: each try of each request asks it first, and tells it how it ended.
//!
//! Here and not around the ports, because a port's call may make many requests, and adapters make some by themselves.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use soundoff_common::guard::{Breaker, Pass};
use soundoff_common::lock::lock;

/// The call that waits for messages to come.
const LONG_POLL: &str = "ReceiveMessage";

/// The error of a request that is not made.
#[derive(Debug, thiserror::Error)]
#[error("not asked: it does not answer now")]
struct NotAsked;

/// Part of every client of one engine.
#[derive(Debug)]
pub(crate) struct Gate {
    breaker: Arc<Breaker>,
}

/// The right to one try, for as long as it goes on.
#[derive(Debug)]
struct Asking(Mutex<Option<Pass<Arc<Breaker>>>>);

impl Storable for Asking {
    type Storer = StoreReplace<Self>;
}

impl Gate {
    pub(crate) fn new(breaker: Arc<Breaker>) -> Self {
        Self { breaker }
    }
}

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "breaker"
    }

    /// Before anything is done: an error here counts as one of the caller's, so nobody tries the request again.
    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.breaker.refuses() { Err(NotAsked.into()) } else { Ok(()) }
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let pass = Breaker::ask(&self.breaker).ok_or(NotAsked)?;
        let waits = bag.load::<Metadata>().is_some_and(|call| call.name() == LONG_POLL);
        let pass = if waits { pass.waiting() } else { pass };
        bag.interceptor_state().store_put(Asking(Mutex::new(Some(pass))));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(pass) = bag.load::<Asking>().and_then(|asking| lock(&asking.0).take()) {
            // Refusals are answers; an answer of 5xx, or none, tells of an engine in trouble.
            pass.end(context.response().is_some_and(|response| response.status().as_u16() < 500));
        }
        Ok(())
    }
}
