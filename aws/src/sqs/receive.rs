//! Receives: one long poll while idle, and several receives in parallel when it returns full. Also the keeper of packs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{Message as SqsMessage, MessageSystemAttributeName};
use futures_util::future::{join, join_all, join3};
use soundoff_common::lock::lock;
use soundoff_common::ports::queues::{Message, QueueError};
use tokio::task::JoinHandle;

use super::calls::{Answer, ENTRIES, seconds, unavailable, units};
use super::lane::Lane;
use super::packs::{Again, MARGIN, Taken};
use super::part::Named;
use super::wire;
use crate::prices::SQS_REQUEST;

/// The longest poll that SQS allows.
const LONGEST: Duration = Duration::from_secs(20);
/// How many receives one call makes in parallel.
const PARALLEL: usize = 8;
/// How often the keeper looks.
const LOOK: Duration = Duration::from_millis(250);
/// How many members or messages the keeper handles at a time.
const AT_ONCE: usize = 200;
/// For how long a buffered message is hidden at a time.
const KEPT: Duration = Duration::from_secs(30);

/// Counts a waiting caller, or a poll under way, until it is dropped.
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
        let got = take(lane, max, visibility).await;
        if !got.is_empty() {
            return Ok(got);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Never more polls than receivers: a poll that outlived its receiver serves the next one.
        if own.is_none() && lane.polls.load(Ordering::Acquire) < lane.receivers.load(Ordering::Acquire) {
            let counted = Counted::new(lane, |lane| &lane.polls);
            // A task of its own, so that what it receives is not lost when the caller stops waiting.
            own = Some(tokio::spawn(poll(counted, max, left.min(LONGEST), visibility)));
        }
        let waits = own.is_none();
        let polled = async {
            match own.as_mut() {
                Some(own) => own.await,
                None => std::future::pending().await,
            }
        };
        let mut failed = None;
        tokio::select! {
            biased;
            polled = polled => {
                own = None;
                failed = polled.unwrap_or_else(|_| Err(broken())).err();
            }
            () = &mut arrived => continue,
            () = tokio::time::sleep(left), if waits => {}
        }
        let got = take(lane, max, visibility).await;
        let left = deadline.saturating_duration_since(Instant::now());
        if !got.is_empty() || left.is_zero() || failed.is_some() {
            return if got.is_empty() { failed.map_or(Ok(got), Err) } else { Ok(got) };
        }
        if left < Duration::from_secs(1) {
            tokio::time::sleep(left).await;
        }
    }
}

fn broken() -> QueueError {
    QueueError::Unavailable("sqs: a call was broken off".into())
}

/// Messages on their way to the caller: buffered again if the caller goes away.
struct Handing<'a> {
    lane: &'a Lane,
    messages: Vec<Message>,
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            let receipts: Vec<_> = self.messages.drain(..).map(|message| message.receipt).collect();
            lock(&self.lane.packs).put_back(&receipts);
            self.lane.arrived.notify_waiters();
        }
    }
}

async fn take(lane: &Lane, max: usize, visibility: Duration) -> Vec<Message> {
    let Taken { messages, singles, packs } = lock(&lane.packs).take(max, visibility);
    if singles.is_empty() && packs.is_empty() {
        return messages;
    }
    let mut handing = Handing { lane, messages };
    let hidden = join(lane.hide(&singles, visibility), lane.hide(&packs, visibility + MARGIN));
    let (singles, packs) = hidden.await;
    if let Err(error) = singles.and(packs) {
        tracing::warn!(queue = %lane.name, %error, "messages that were handed out may come again early");
    }
    std::mem::take(&mut handing.messages)
}

async fn poll(counted: Counted, max: usize, wait: Duration, visibility: Duration) -> Result<(), QueueError> {
    let lane = counted.0.clone();
    let visibility = lock(&lane.packs).unseen(visibility);
    let first = max.min(ENTRIES);
    let got = once(&lane, &lane.url, first, wait, visibility).await?;
    let full = got.len() == first;
    let mut members = keep(&lane, got, visibility);
    while full && members < max {
        let free = max - members;
        let asks = (0..free.div_ceil(ENTRIES).min(PARALLEL))
            .map(|n| once(&lane, &lane.url, (free - n * ENTRIES).min(ENTRIES), Duration::ZERO, visibility));
        let mut more = true;
        for answer in join_all(asks).await {
            match answer {
                Ok(got) => {
                    more &= got.len() == ENTRIES;
                    members += keep(&lane, got, visibility);
                }
                Err(error) => {
                    tracing::debug!(queue = %lane.name, %error, "one of several receives at once failed");
                    more = false;
                }
            }
        }
        if !more {
            break;
        }
    }
    drop(counted);
    lane.arrived.notify_waiters();
    if lane.receivers.load(Ordering::Acquire) == 0 {
        let free = lock(&lane.packs).release();
        if let Err(error) = lane.hide(&free, Duration::ZERO).await {
            tracing::debug!(queue = %lane.name, %error, "messages that nobody waited for stay hidden for a while");
        }
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
        let group = system(MessageSystemAttributeName::MessageGroupId).cloned();
        let count: u32 = count.and_then(|text| text.parse().ok()).unwrap_or(1);
        let sent: u64 = sent.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut packed = wire::decode(message.body().unwrap_or_default());
        packed.attempts = packed.attempts.saturating_add(count);
        packed.group = group;
        if packed.sent_at == 0 {
            packed.sent_at = sent;
        }
        if let Some(handle) = message.receipt_handle {
            packs.insert(Named { id: message.message_id.unwrap_or_default(), handle }, packed, until);
        }
    }
    packs.buffered() - before.min(packs.buffered())
}

/// One receive; billed by its answer, also by an empty one.
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

/// Sends each leaving member again as a message of its own, and then settles it: a message may come twice, but must not
/// be lost.
pub(super) async fn again(lane: &Arc<Lane>, parts: Vec<Again>) -> Answer {
    if parts.is_empty() {
        return Ok(());
    }
    let lane = lane.clone();
    // A task of its own: it must finish even when the caller stops waiting.
    let sent = tokio::spawn(async move {
        let mut answer = Ok(());
        for some in parts.chunks(PARALLEL) {
            for one in join_all(some.iter().map(|part| leave(&lane, part))).await {
                answer = answer.and(one);
            }
        }
        answer
    });
    sent.await.unwrap_or_else(|_| Err(broken()))
}

async fn leave(lane: &Lane, again: &Again) -> Answer {
    let text = wire::encode(&[&again.body], again.attempt, again.sent_at);
    let sent = lane.calls.send_alone(&lane.url, text, again.group.clone()).await;
    let (copy, answer) = match sent {
        Ok(copy) => (Some(copy), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let done = lock(&lane.packs).left(&again.part, copy);
    answer.and(lane.delete(&done).await)
}

/// Keeps a queue's packs hidden while members are handled or buffered, and repeats deletes that failed; ends with the
/// adapter.
pub(super) async fn keeper(lane: Weak<Lane>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(lane) = lane.upgrade() else { return };
        let (expired, kept, undone) = {
            let mut packs = lock(&lane.packs);
            (packs.expired(AT_ONCE), packs.keep(KEPT), packs.undone(AT_ONCE))
        };
        let hide = async {
            let mut answer = Ok(());
            for (seconds, messages) in kept {
                answer = answer.and(lane.hide(&messages, Duration::from_secs(seconds)).await);
            }
            answer
        };
        let (hidden, sent, deleted) = join3(hide, again(&lane, expired), lane.delete(&undone)).await;
        if let Err(error) = hidden.and(sent).and(deleted) {
            tracing::warn!(queue = %lane.name, %error, "messages may come again early");
        }
    }
}
