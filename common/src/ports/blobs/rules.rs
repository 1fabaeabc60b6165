//! What every adapter checks of an id.

use crate::ports::Unavailable;

const MAX_ID_BYTES: usize = 100;

/// Refuses an id that could name a path.
///
/// # Errors
/// When it is not 1 to 100 letters, digits, `-`, `_` and `.`, or starts with `.`.
pub fn check_id(id: &str) -> Result<(), Unavailable> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=MAX_ID_BYTES).contains(&id.len()) || id.starts_with('.') || !id.bytes().all(valid) {
        return Err(Unavailable(format!("not a blob id: {id:?}")));
    }
    Ok(())
}
