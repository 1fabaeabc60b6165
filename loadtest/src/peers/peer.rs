//! The servers that can be measured.

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// Sound Off itself, all of it in one process.
    Up,
    /// Bun's websocket server.
    Bun,
    /// Bun, which checks tokens with the usual package `jsonwebtoken` instead of with code of its own.
    BunLibrary,
    /// Node with the package `ws`.
    Node,
    /// Node and Redis as the whole pipeline; Redis syncs its AOF before every answer.
    NodeRedis,
    /// nginx with nchan.
    Nchan,
    /// mosquitto, MQTT in websockets.
    Mosquitto,
    /// NATS in websockets.
    Nats,
}

impl Peer {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "Sound Off",
            Self::Bun => "Bun",
            Self::BunLibrary => "Bun, jsonwebtoken",
            Self::Node => "Node ws",
            Self::NodeRedis => "Node + Redis",
            Self::Nchan => "nchan",
            Self::Mosquitto => "mosquitto",
            Self::Nats => "NATS",
        }
    }
}
