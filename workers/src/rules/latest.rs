//! Fields of which the later message wins, by `mid`.

use ulid::Ulid;

/// Sets a field, unless a later message has. Returns whether it has.
pub(crate) fn set<T>(field: &mut T, by: &mut Option<Ulid>, wanted: Option<T>, mid: Ulid) -> bool {
    let Some(wanted) = wanted else { return false };
    if by.is_some_and(|by| mid <= by) {
        return false;
    }
    (*field, *by) = (wanted, Some(mid));
    true
}
