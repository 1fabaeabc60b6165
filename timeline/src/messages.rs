//! The names, queues and bodies of the timelines' messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::pipeline::handler::{Failure, raw};
use soundoff_common::pipeline::worker::{Outward, Own};
use soundoff_common::ports::queues::{QueueError, QueueName, Queues};
use soundoff_common::protocol::{Handle, now_ms};

/// The most users in one message.
const USERS_AT_ONCE: usize = 500;
/// Into how many parts a scan cuts the user table.
pub(crate) const SEGMENTS: u32 = 4;

pub(crate) const SCHEDULE: &str = "timeline.schedule";
pub(crate) const COMPUTE: &str = "timeline.compute";
pub(crate) const PERSONALIZE: &str = "timeline.personalize";
pub(crate) const FETCH: &str = "timeline.fetch";
pub(crate) const SESSION: &str = "user_session";

pub(crate) const SCHEDULE_QUEUE: &str = "schedule_q";
pub(crate) const COMPUTE_QUEUE: &str = "precompute_q";
pub(crate) const PERSONALIZE_QUEUE: &str = "personalize_q";
pub(crate) const RECENT_QUEUE: &str = "recent_q";

/// The queues that hold the work of a tick.
const WORK_OF_A_TICK: &[&str] = &[SCHEDULE_QUEUE, COMPUTE_QUEUE, PERSONALIZE_QUEUE];

/// Whose timelines.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Users {
    /// Their handles.
    pub(crate) users: Vec<Handle>,
}

/// One page of a scan.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Scan {
    /// The tick: time over interval.
    pub(crate) tick: u64,
    /// The last tick before it that was not skipped: who was due between the two is due now.
    pub(crate) since: u64,
    /// Everybody is due, whatever their tier.
    pub(crate) everybody: bool,
    /// Which part of the user table, from 0.
    pub(crate) segment: u32,
    /// The user after whom the page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Handle>,
}

impl Scan {
    /// The first page of each part of the user table.
    pub(crate) fn first_pages(tick: u64, since: u64, everybody: bool) -> Vec<Own> {
        let first = |segment| Self { tick, since, everybody, segment, after: None }.message();
        (0..SEGMENTS).map(first).collect()
    }

    pub(crate) fn message(&self) -> Own {
        // No user causes a scan, but a message needs a handle.
        let nobody = || "everybody".parse().expect("a valid handle");
        let about = self.after.clone().unwrap_or_else(nobody);
        Own { message_type: SCHEDULE, about, user: None, body: raw(self) }
    }
}

/// The messages that carry users to a type's queue.
pub(crate) fn in_batches(message_type: &'static str, users: &[Handle]) -> Vec<Own> {
    let message = |users: &[Handle]| Own {
        message_type,
        about: users[0].clone(),
        // One user's timeline is computed because that user waits for it, and takes a turn between those of many.
        user: if let [user] = users { Some(user.clone()) } else { None },
        body: raw(&Users { users: users.to_vec() }),
    };
    users.chunks(USERS_AT_ONCE).map(message).collect()
}

/// Puts messages on their types' queues.
pub(crate) async fn queue(outward: &Outward, messages: Vec<Own>) -> Result<(), Failure> {
    outward.queue(messages, now_ms()).await
}

/// How many messages of ticks' work are queued or in progress.
pub(crate) async fn backlog(queues: &dyn Queues) -> Result<u64, QueueError> {
    let mut backlog = 0;
    for name in WORK_OF_A_TICK {
        let depth = queues.depth(&QueueName::new(name)).await?;
        backlog += depth.visible + depth.in_flight;
    }
    Ok(backlog)
}
