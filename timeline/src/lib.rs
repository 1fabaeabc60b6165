//! Precomputed timelines: a page for every user before they ask.
//!
//! Nothing runs here yet. The names below are taken, so that no other handler grows into them.

/// The handlers to come, by MessageType, in the order work passes through them.
pub const HANDLERS: [&str; 4] =
    ["timeline.schedule", "timeline.compute", "timeline.personalize", "timeline.fetch"];
