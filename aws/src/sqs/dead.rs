//! Dead letters: each queue has a second queue for them.
//!
//! SQS cannot move a message in one step: a message is first sent and then deleted, so a crash in between leaves both.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::types::{Message as SqsMessage, MessageAttributeValue, MessageSystemAttributeName};
use soundoff_common::ports::queues::{DeadLetter, QueueError};

use super::calls::{ENTRIES, unavailable, units};
use super::lane::Lane;
use super::receive::once;
use super::wire;
use crate::prices::SQS_REQUEST;

/// How long letters are hidden while they are listed or moved.
const HIDDEN: Duration = Duration::from_secs(30);
/// The longest reason kept, in characters.
const REASON: usize = 500;
const BY_ENGINE: &str = "received too often";

pub(super) async fn bury(
    lane: &Lane,
    body: &str,
    reason: &str,
    attempts: Option<u32>,
    now: u64,
) -> Result<(), QueueError> {
    let reason: String = reason
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'))
        .take(REASON)
        .collect();
    let reason = if reason.is_empty() { "none given".to_owned() } else { reason };
    let text = wire::encode(&[body], 0, 0);
    let attribute = |kind: &str, value: String| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().map_err(unavailable)
    };
    let bill = lane.calls.meter.each_try(SQS_REQUEST, units(text.len() + 4 * REASON));
    let call = lane.calls.client.send_message().queue_url(&lane.dlq).message_body(text);
    let call = call.message_attributes("reason", attribute("String", reason)?);
    let call = call.message_attributes("buried_at", attribute("Number", now.to_string())?);
    let call = match attempts {
        Some(attempts) => call.message_attributes("attempts", attribute("Number", attempts.to_string())?),
        None => call,
    };
    call.customize().interceptor(bill).send().await.map(drop).map_err(unavailable)
}

/// Receives letters, at most `limit` messages, each once.
async fn take(lane: &Lane, limit: usize) -> Result<Vec<SqsMessage>, QueueError> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    while all.len() < limit {
        let got = once(lane, &lane.dlq, (limit - all.len()).min(ENTRIES), Duration::ZERO, HIDDEN).await?;
        let before = all.len();
        all.extend(got.into_iter().filter(|message| seen.insert(message.message_id.clone())));
        if all.len() == before {
            break;
        }
    }
    Ok(all)
}

fn handles(messages: &[SqsMessage]) -> Vec<String> {
    messages.iter().filter_map(|message| message.receipt_handle.clone()).collect()
}

pub(super) async fn list(lane: &Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let messages = take(lane, limit).await?;
    let shown = lane.calls.visibility(&lane.dlq, &handles(&messages), Duration::ZERO).await;
    if let Err(error) = shown.into_iter().collect::<Result<(), _>>() {
        tracing::debug!(queue = %lane.name, %error, "dead letters stay hidden for a while");
    }
    let mut letters: Vec<_> = messages.iter().flat_map(letters).collect();
    letters.sort_by_key(|letter| letter.buried_at);
    letters.truncate(limit);
    Ok(letters)
}

fn letters(message: &SqsMessage) -> Vec<DeadLetter> {
    let own = |name: &str| message.message_attributes()?.get(name)?.string_value().map(str::to_owned);
    let sent = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
    let buried_at = own("buried_at").as_ref().or(sent).and_then(|text| text.parse().ok()).unwrap_or(0);
    let attempts = own("attempts").and_then(|text| text.parse().ok());
    let reason = own("reason").unwrap_or_else(|| BY_ENGINE.to_owned());
    let id = message.message_id().unwrap_or_default();
    let bodies = wire::decode(message.body().unwrap_or_default()).bodies;
    let many = bodies.len() > 1;
    let letter = |(index, body)| {
        let key = if many { format!("{id}.{index}") } else { id.to_owned() };
        DeadLetter { key, body, reason: reason.clone(), attempts, buried_at }
    };
    bodies.into_iter().enumerate().map(letter).collect()
}

/// Moves letters back, each as a message of its own. Members beyond `limit` of a pack that SQS moved here are buried
/// again, each as a message of its own.
pub(super) async fn redrive(lane: &Lane, limit: usize) -> Result<usize, QueueError> {
    let messages = take(lane, limit).await?;
    let (mut moved, mut done, mut left, mut answer) = (0, Vec::new(), Vec::new(), Ok(()));
    for message in messages {
        let Some(handle) = message.receipt_handle.clone() else { continue };
        if moved == limit || answer.is_err() {
            left.push(handle);
            continue;
        }
        match unpack(lane, &letters(&message), limit - moved).await {
            Ok(count) => {
                moved += count;
                done.push(handle);
            }
            Err(error) => {
                answer = Err(error);
                left.push(handle);
            }
        }
    }
    let deleted = lane.calls.delete(&lane.dlq, &done).await;
    let shown = lane.calls.visibility(&lane.dlq, &left, Duration::ZERO).await;
    answer = deleted.into_iter().chain(shown).fold(answer, Result::and);
    answer.map(|()| moved)
}

async fn unpack(lane: &Lane, letters: &[DeadLetter], room: usize) -> Result<usize, QueueError> {
    let (back, rest) = letters.split_at(room.min(letters.len()));
    for letter in back {
        // Whose it is went with the burial: it counts as one more user's.
        lane.calls.send_alone(&lane.url, wire::encode(&[&letter.body], 0, 0), None).await?;
    }
    for letter in rest {
        bury(lane, &letter.body, &letter.reason, letter.attempts, letter.buried_at).await?;
    }
    Ok(back.len())
}
