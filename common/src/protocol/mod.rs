//! The client protocol `soundoff.v1`: the only definition of its frames, errors and close codes.

mod close;
mod error;
mod frames;
mod handle;
pub(crate) mod numbers;
mod role;
pub(crate) mod text;
mod time;

pub use close::CloseCode;
pub use error::{ErrorBody, ErrorCode};
pub use frames::{ClientFrame, FrameError, Limits, ServerFrame, TypeLimits};
pub use handle::Handle;
pub use role::Role;
pub use time::{CLOCKS_APART_MS, is_ahead, millis, now_ms, rfc3339, steady_ms};

/// The websocket subprotocol, echoed when a client offers it.
pub const SUBPROTOCOL: &str = "soundoff.v1";

/// The most characters in a client's message `id`.
pub const MAX_ID_CHARS: usize = 64;

/// The most characters in a `device`.
pub const MAX_DEVICE_CHARS: usize = 64;
