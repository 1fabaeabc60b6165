//! What every list that clients ask for has in common.

use crate::pipeline::handler::Failure;
use crate::protocol::ErrorCode;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// The number of items on a page, by what the client asked for.
///
/// # Errors
/// A rejection when it is not 1 to 100.
pub fn limit(asked: Option<u32>) -> Result<usize, Failure> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit as usize) } else { Err(bad("limit is 1 to 100")) }
}

/// The rejection of a cursor that no page has given.
#[must_use]
pub fn bad_cursor() -> Failure {
    bad("before is the next of an earlier page")
}

fn bad(message: &str) -> Failure {
    Failure::reject(ErrorCode::BadMessage, message)
}
