/// Why the server closes a socket. 4000–4499: reconnect; 4500–4999: do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The client said `bye`.
    Normal = 1000,
    /// The edge is draining.
    Draining = 4001,
    /// The client reads too slowly.
    TooSlow = 4002,
    /// No frame for two heartbeat intervals.
    NoHeartbeat = 4003,
    /// The access token expired on a live socket.
    TokenExpired = 4005,
    /// The same device said `hello` on another socket.
    Replaced = 4006,
    /// No `hello` in time.
    NoHello = 4007,
    /// The edge sheds load; the reason holds `retry_after_ms`.
    Shedding = 4418,
    /// The user has as many sockets as one may have; the reason holds `retry_after_ms`.
    TooManySockets = 4429,
    /// The token is not valid.
    BadToken = 4500,
    /// The client does not speak this protocol.
    ProtocolViolation = 4501,
    /// The session was revoked.
    SessionRevoked = 4503,
}

impl CloseCode {
    /// All of them.
    pub const ALL: [CloseCode; 12] = [
        CloseCode::Normal,
        CloseCode::Draining,
        CloseCode::TooSlow,
        CloseCode::NoHeartbeat,
        CloseCode::TokenExpired,
        CloseCode::Replaced,
        CloseCode::NoHello,
        CloseCode::Shedding,
        CloseCode::TooManySockets,
        CloseCode::BadToken,
        CloseCode::ProtocolViolation,
        CloseCode::SessionRevoked,
    ];

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// A few words for the close frame's reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "bye",
            CloseCode::Draining => "draining: reconnect",
            CloseCode::TooSlow => "too slow: read faster, reconnect with your cursor",
            CloseCode::NoHeartbeat => "no heartbeat: ping every heartbeat_ms",
            CloseCode::TokenExpired => "token expired: reconnect with a fresh one",
            CloseCode::Replaced => "replaced: this device said hello on another socket",
            CloseCode::NoHello => "no hello in time",
            CloseCode::Shedding => "shedding load",
            CloseCode::TooManySockets => "too many sockets",
            CloseCode::BadToken => "bad token",
            CloseCode::ProtocolViolation => "protocol violation",
            CloseCode::SessionRevoked => "session revoked: sign in again",
        }
    }
}
