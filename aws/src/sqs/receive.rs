//! Receiving: one long poll while idle, more at once when it comes back full; and the keeper of packs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};
use futures_util::future::join_all;
use soundoff_common::ports::queues::{Message, QueueError};
use tokio::task::JoinHandle;

use super::calls::{ENTRIES, seconds, unavailable, units};
use super::lane::{Lane, lock};
use super::packs::{Again, MARGIN};
use super::wire;
use crate::prices::SQS_REQUEST;

/// The longest poll SQS knows.
const LONGEST: Duration = Duration::from_secs(20);
/// How many receives of one call are under way at once.
const PARALLEL: usize = 8;
/// How often the keeper looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long a buffered message is kept out of sight at a time.
const KEPT: Duration = Duration::from_secs(30);

/// Counts whoever waits, and every poll under way, until dropped.
struct Counted(Arc<Lane>, fn(&Lane) -> &AtomicUsize);

impl Counted {
    fn new(lane: &Arc<Lane>, of: fn(&Lane) -> &AtomicUsize) -> Self {
        of(lane).fetch_add(1, Ordering::AcqRel);
        Self(lane.clone(), of)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) async fn receive(
    lane: &Arc<Lane>,
    max: usize,
    wait: Duration,
    visibility: Duration,
) -> Result<Vec<Message>, QueueError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let _receiver = Counted::new(lane, |lane| &lane.receivers);
    let deadline = Instant::now() + wait;
    let mut own: Option<JoinHandle<_>> = None;
    loop {
        let arrived = lane.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        let got = take(lane, max, visibility).await?;
        if !got.is_empty() {
            return Ok(got);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Never more polls than receivers: one that outlived its receiver serves the next.
        if own.is_none() && lane.polls.load(Ordering::Acquire) < lane.receivers.load(Ordering::Acquire) {
            let counted = Counted::new(lane, |lane| &lane.polls);
            // A task of its own: what it gets is not lost when nobody waits for it any more.
            own = Some(tokio::spawn(poll(counted, max, left.min(LONGEST), visibility)));
        }
        let waits = own.is_none();
        let polled = async {
            match own.as_mut() {
                Some(own) => own.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            polled = polled => {
                own = None;
                polled.map_err(|_| QueueError::Unavailable("sqs: a receive broke off".into()))??;
            }
            () = &mut arrived => continue,
            () = tokio::time::sleep(left), if waits => {}
        }
        let got = take(lane, max, visibility).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !got.is_empty() || left.is_zero() {
            return Ok(got);
        }
        if left < Duration::from_secs(1) {
            tokio::time::sleep(left).await;
        }
    }
}

async fn take(lane: &Lane, max: usize, visibility: Duration) -> Result<Vec<Message>, QueueError> {
    let (messages, renew) = lock(&lane.packs).take(max, visibility);
    if !renew.is_empty() {
        let packed = messages.iter().any(|message| message.receipt.0.starts_with(b"p"));
        let margin = if packed { MARGIN } else { Duration::ZERO };
        lane.calls.visibility(&lane.url, &renew, visibility + margin).await?;
    }
    Ok(messages)
}

async fn poll(counted: Counted, max: usize, wait: Duration, visibility: Duration) -> Result<(), QueueError> {
    let lane = counted.0.clone();
    let first = max.min(ENTRIES);
    let got = once(&lane, &lane.url, first, wait, visibility).await?;
    let full = got.len() == first;
    let mut members = keep(&lane, got, visibility);
    while full && members < max {
        let free = max - members;
        let asks = (0..free.div_ceil(ENTRIES).min(PARALLEL))
            .map(|n| once(&lane, &lane.url, (free - n * ENTRIES).min(ENTRIES), Duration::ZERO, visibility));
        let answers: Vec<_> = join_all(asks).await.into_iter().flatten().collect();
        let more = answers.iter().all(|got| got.len() == ENTRIES) && !answers.is_empty();
        members += answers.into_iter().map(|got| keep(&lane, got, visibility)).sum::<usize>();
        if !more {
            break;
        }
    }
    drop(counted);
    lane.arrived.notify_waiters();
    if lane.receivers.load(Ordering::Acquire) == 0 {
        let free = lock(&lane.packs).release();
        lane.calls.visibility(&lane.url, &free, Duration::ZERO).await?;
    }
    Ok(())
}

fn keep(lane: &Lane, got: Vec<SqsMessage>, visibility: Duration) -> usize {
    let until = Instant::now() + visibility;
    let mut packs = lock(&lane.packs);
    let before = packs.buffered();
    for message in got {
        let system = |name| message.attributes().and_then(|all| all.get(&name));
        let count = system(MessageSystemAttributeName::ApproximateReceiveCount);
        let sent = system(MessageSystemAttributeName::SentTimestamp);
        let count: u32 = count.and_then(|text| text.parse().ok()).unwrap_or(1);
        let sent: u64 = sent.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut packed = wire::decode(message.body().unwrap_or_default());
        packed.attempts = packed.attempts.saturating_add(count);
        if packed.sent_at == 0 {
            packed.sent_at = sent;
        }
        if let Some(handle) = message.receipt_handle {
            packs.insert(message.message_id.unwrap_or_default(), handle, packed, until);
        }
    }
    packs.buffered() - before.min(packs.buffered())
}

/// One receive; billed by its answer, an empty one too.
pub(super) async fn once(
    lane: &Lane,
    url: &str,
    max: usize,
    wait: Duration,
    visibility: Duration,
) -> Result<Vec<SqsMessage>, QueueError> {
    let wait_seconds = i32::try_from(wait.as_secs()).unwrap_or(20);
    let patience = wait + Duration::from_secs(5);
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(patience).operation_timeout(2 * patience).build();
    let call = lane.calls.client.receive_message().queue_url(url).wait_time_seconds(wait_seconds);
    let call = call
        .max_number_of_messages(i32::try_from(max.clamp(1, ENTRIES)).unwrap_or(1))
        .visibility_timeout(seconds(visibility))
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All");
    let out = call
        .customize()
        .config_override(aws_sdk_sqs::config::Config::builder().timeout_config(timeouts))
        .interceptor(lane.calls.meter.each_try(SQS_REQUEST, 1.0))
        .send()
        .await
        .map_err(unavailable)?;
    let got = out.messages.unwrap_or_default();
    let bytes = got.iter().map(|message| message.body().map_or(0, str::len)).sum();
    lane.calls.meter.bill(SQS_REQUEST, units(bytes) - 1.0);
    Ok(got)
}

/// Sends members anew on their own, then settles them: twice is lawful, lost is not.
pub(super) async fn again(lane: &Lane, parts: Vec<Again>) -> Result<(), QueueError> {
    let mut answer = Ok(());
    let mut done = Vec::new();
    for part in parts {
        // One a request: each may be as large as a request may.
        let text = wire::encode(&[&part.body], part.attempt, part.sent_at);
        match lane.calls.send(&lane.url, &[text]).await.pop() {
            Some(Ok(())) => done.extend(lock(&lane.packs).settle(&part.part)),
            Some(Err(error)) => answer = Err(error),
            None => {}
        }
    }
    answer.and(lane.calls.delete(&lane.url, &done).await)
}

/// Keeps packs out of sight while members are worked on or buffered; ends with the adapter.
pub(super) async fn keeper(lanes: Vec<Weak<Lane>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for lane in &lanes {
            let Some(lane) = lane.upgrade() else { return };
            let (lapsed, kept) = {
                let mut packs = lock(&lane.packs);
                (packs.lapsed(200), packs.keep(KEPT))
            };
            let kept = lane.calls.visibility(&lane.url, &kept, KEPT).await;
            if let Err(error) = kept.and(again(&lane, lapsed).await) {
                tracing::warn!(queue = %lane.name, %error, "a pack may come again early");
            }
        }
    }
}
