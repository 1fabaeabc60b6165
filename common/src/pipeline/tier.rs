//! The services of a deployment.

use serde::Serialize;

use crate::web::secret::Role;

/// One of a deployment's services: one command, one IAM role, and a number of tasks that follows its own load.
///
/// Under `soundoff up` all of them are one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Holds websockets.
    Edge,
    /// Pages on HTTP: signing in, media, the app.
    Users,
    /// Moves messages from main_q to the types' queues and the archive.
    Router,
    /// Runs handlers, and jobs without a tier of their own.
    Workers,
    /// Finds whose timeline is due.
    Schedule,
    /// Gathers the candidates of timelines.
    Compute,
    /// Ranks them.
    Personalize,
    /// Answers `timeline.fetch`.
    Fetch,
}

impl Tier {
    /// All of them.
    pub const ALL: [Tier; 8] = [
        Tier::Edge,
        Tier::Users,
        Tier::Router,
        Tier::Workers,
        Tier::Schedule,
        Tier::Compute,
        Tier::Personalize,
        Tier::Fetch,
    ];

    /// The name, as the deployment's service has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tier::Edge => "edge",
            Tier::Users => "users",
            Tier::Router => "router",
            Tier::Workers => "workers",
            Tier::Schedule => "schedule",
            Tier::Compute => "compute",
            Tier::Personalize => "personalize",
            Tier::Fetch => "fetch",
        }
    }

    /// The arguments of `soundoff` that run it.
    #[must_use]
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Tier::Edge => &["edge"],
            Tier::Users => &["users"],
            Tier::Router => &["router"],
            Tier::Workers => &["workers"],
            Tier::Schedule => &["timeline", "schedule"],
            Tier::Compute => &["timeline", "compute"],
            Tier::Personalize => &["timeline", "personalize"],
            Tier::Fetch => &["timeline", "fetch"],
        }
    }

    /// Whose keys its processes need.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Tier::Edge => Role::Edge,
            Tier::Users => Role::Users,
            Tier::Router => Role::Router,
            Tier::Workers => Role::Workers,
            Tier::Schedule | Tier::Compute | Tier::Personalize | Tier::Fetch => Role::Timeline,
        }
    }

    /// Whether clients reach it through the load balancer.
    #[must_use]
    pub fn is_public(self) -> bool {
        matches!(self, Tier::Edge | Tier::Users)
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
