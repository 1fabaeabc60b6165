//! The suite of [`Courier`](super::Courier): a function for each law, for every adapter.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Courier, Notice};

/// How a test gets the adapter and sees what its carrier got.
#[async_trait]
pub trait Harness: Send + Sync {
    /// An address of the kind that the adapter serves.
    fn address(&self) -> &'static str;

    /// The adapter on a carrier that works.
    async fn open(&self) -> Arc<dyn Courier>;

    /// The adapter on carriers that refuse, or are not there; none where that cannot happen.
    async fn failing(&self) -> Vec<Arc<dyn Courier>>;

    /// What the carrier has got, oldest first; an empty subject where the carrier has none.
    async fn arrived(&self) -> Vec<Notice>;
}

fn notice(harness: &impl Harness, text: &str) -> Notice {
    Notice { to: harness.address().to_owned(), subject: "Your code".to_owned(), text: text.to_owned() }
}

/// Law 1: what was taken arrives, whatever it says.
pub async fn what_was_taken_arrives(harness: &impl Harness) {
    let courier = harness.open().await;
    let texts = ["Your code is 123456", "Grüße 🦀 1 < 2 & \"3\"", "two\nlines", ".\nafter a dot"];
    for text in texts {
        courier.send(&notice(harness, text)).await.expect("law 1: a notice is taken");
    }
    let arrived = harness.arrived().await;
    assert_eq!(arrived.len(), texts.len(), "law 1: each arrives once");
    for (got, text) in arrived.iter().zip(texts) {
        assert_eq!(got.text.trim_end(), text, "law 1: the text arrives as it was given");
        assert_eq!(got.to, harness.address(), "law 1: at the address that was given");
        assert!(got.subject.is_empty() || got.subject == "Your code", "law 1: with its subject");
    }
}

/// Law 2: a failure is reported, without address and text.
pub async fn a_failure_is_told_and_tells_nothing(harness: &impl Harness) {
    for courier in harness.failing().await {
        let error = courier.send(&notice(harness, "Your code is 654321")).await;
        let error = format!("{:?}", error.expect_err("law 2: a refused notice is an error"));
        assert!(!error.contains("654321"), "law 2: the error repeats the text: {error}");
        assert!(!error.contains(harness.address()), "law 2: the error repeats the address: {error}");
    }
}
