//! The reason of a close that says when to come again.

use serde::Serialize;

/// For the client, and for people.
#[derive(Serialize)]
struct Reason<'a> {
    retry_after_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

/// A reason that asks for a wait; `why` is for people to read, and may be empty.
pub(crate) fn reason(retry_after_ms: u64, why: &str) -> String {
    serde_json::to_string(&Reason { retry_after_ms, reason: why }).expect("a reason is JSON")
}
