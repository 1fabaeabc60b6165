//! What operators can ask: one list of commands, for a running process over loopback HTTP, or for a store that no
//! process runs on.

mod actor;
pub(crate) mod audit;
pub(crate) mod cli;
mod depths;
mod figures;
mod gate;
mod history;
pub(crate) mod page;
mod scrape;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod timeline;

use std::sync::Arc;

use anyhow::Context as _;
pub(crate) use gate::Order;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use soundoff_common::model::accounts;
use soundoff_common::model::audit::Event;
use soundoff_common::model::sign_ins;
use soundoff_common::pipeline::audit::Trail;
use soundoff_common::pipeline::deliver::Kind;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::ports::queues::{Depth, QueueName, Queues};
use soundoff_common::ports::tables::{Change, Condition, Table, TableError, Tables, Write};
use soundoff_common::protocol::{Handle, Role, now_ms};
use soundoff_timeline::{Operators, TimelineConfig};
use soundoff_users::{Reseal, Ring};

use crate::node::Node;
use crate::pool::Pool;

const NOT_RUNNING: &str = "this needs a running `soundoff up` on the data directory";

/// One command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Queues,
    /// Up to so many; `opened`: for somebody to read one.
    DeadLetters {
        queue: QueueName,
        limit: usize,
        #[serde(default)]
        opened: bool,
    },
    Redrive {
        queue: QueueName,
        limit: usize,
    },
    Revoke {
        user: Handle,
    },
    Role {
        user: Handle,
        role: Role,
    },
    RotateKeys {
        drop_old: bool,
    },
    PauseWorkers,
    ResumeWorkers,
    TimelineTick {
        users: Vec<Handle>,
    },
    TimelineStatus,
    Reseal {
        after: Option<(String, String)>,
        only_count: bool,
    },
    /// Somebody has changed the root secret's file.
    SecretRotated {
        what: String,
    },
    /// Events of the audit trail after a place.
    Audit {
        after: String,
    },
    Gate(Option<Order>),
}

/// How full one queue is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    pub(crate) queue: QueueName,
    #[serde(flatten)]
    pub(crate) depth: Depth,
}

/// What only a running process has.
pub(crate) struct Live {
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) replies: Replies,
    /// The consumers, if they are in the same process.
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) timelines: Operators,
    pub(crate) ring: Arc<Ring>,
    /// The generation of the secret that the process uses.
    pub(crate) generation: String,
}

impl Live {
    /// What a running node has; `pool` if the consumers are in the same process.
    pub(crate) fn of(node: &Node, pool: Option<Arc<Pool>>, timeline: TimelineConfig) -> anyhow::Result<Self> {
        let (tables, replies) = (node.world.tables.clone(), node.world.outward.replies.clone());
        let timelines = Operators::new(timeline.tiers, &node.world);
        let generation = node.engines.secret.generations().swap_remove(0);
        Ok(Self { tables, replies, pool, timelines, ring: node.ring()?.clone(), generation })
    }
}

/// Does what operators ask.
pub(crate) struct Ops {
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) names: Vec<QueueName>,
    /// Where the gate is. Absent for a store that no process runs on, as is `live`.
    pub(crate) tables: Option<Arc<dyn Tables>>,
    pub(crate) live: Option<Live>,
    /// Where it is recorded who did what.
    pub(crate) trail: Trail,
}

impl Ops {
    /// What a process does that works with the queues `names`.
    pub(crate) fn new(node: &Node, names: Vec<QueueName>, live: Option<Live>) -> Self {
        let tables = Some(node.world.tables.clone());
        let queues = node.engines.queues.clone();
        let trail = Trail::start(queues.clone(), node.engines.metrics.clone());
        Self { queues, names, tables, live, trail }
    }

    /// Does it for an operator, `by` whom it is recorded; returns JSON whose shape depends on the command.
    pub(crate) async fn answer(&self, ask: Ask, by: &str) -> anyhow::Result<Value> {
        let event = audit::event(&ask);
        let answer = self.done(ask).await?;
        if let Some(event) = event {
            self.trail.record_now(Event { by: Some(actor::named(by)), ..event }).await;
        }
        Ok(answer)
    }

    async fn done(&self, ask: Ask) -> anyhow::Result<Value> {
        match ask {
            Ask::Queues => {
                let mut rows = Vec::with_capacity(self.names.len());
                for queue in &self.names {
                    rows.push(QueueRow { queue: queue.clone(), depth: self.queues.depth(queue).await? });
                }
                Ok(serde_json::to_value(rows)?)
            }
            Ask::DeadLetters { queue, limit, .. } => {
                Ok(serde_json::to_value(self.queues.dead_letters(&queue, limit).await?)?)
            }
            Ask::Redrive { queue, limit } => Ok(json!(self.queues.redrive(&queue, limit).await?)),
            Ask::Revoke { user } => revoke(self.live()?, user).await,
            Ask::Role { user, role } => set_role(self.live()?, user, role).await,
            Ask::RotateKeys { drop_old } => Ok(json!(self.live()?.ring.rotate(drop_old).await?)),
            Ask::PauseWorkers => {
                self.pool()?.stop().await;
                Ok(Value::Null)
            }
            Ask::ResumeWorkers => {
                self.pool()?.start().await;
                Ok(Value::Null)
            }
            Ask::Gate(order) => {
                let tables = self.tables.as_ref().context(NOT_RUNNING)?;
                Ok(serde_json::to_value(gate::obey(&**tables, order).await?)?)
            }
            Ask::Reseal { after, only_count } => {
                let live = self.live()?;
                let reseal = Reseal::new(live.tables.clone(), live.ring.clone());
                let done = reseal.page(after, only_count).await?;
                Ok(serde_json::to_value(secret::Page { generation: live.generation.clone(), done })?)
            }
            Ask::SecretRotated { .. } => Ok(Value::Null),
            Ask::Audit { after } => {
                let tables = self.tables.as_ref().context(NOT_RUNNING)?;
                Ok(serde_json::to_value(audit::page(&**tables, &after).await?)?)
            }
            Ask::TimelineTick { users } => {
                let unknown = self.live()?.timelines.tick_now(&users).await?;
                let names: Vec<&str> = unknown.iter().map(Handle::as_str).collect();
                anyhow::ensure!(names.is_empty(), "there is no user {}", names.join(", "));
                Ok(Value::Null)
            }
            Ask::TimelineStatus => {
                let live = self.live()?;
                let why = "each process of a deployment knows its own: read /metrics of the timeline roles";
                anyhow::ensure!(live.pool.is_some(), why);
                Ok(serde_json::to_value(live.timelines.status().await?)?)
            }
        }
    }

    fn pool(&self) -> anyhow::Result<&Arc<Pool>> {
        let why = "a deployment's workers are stopped by scaling their services to zero";
        self.live()?.pool.as_ref().ok_or_else(|| anyhow::anyhow!(why))
    }

    fn live(&self) -> anyhow::Result<&Live> {
        self.live.as_ref().context(NOT_RUNNING)
    }
}

async fn revoke(live: &Live, user: Handle) -> anyhow::Result<Value> {
    let account = live.tables.get(Table::Users, accounts::key(&user)).await?;
    let before = account.and_then(|account| account.number(accounts::attribute::REVOKED_AT)).unwrap_or(0);
    let revoked_at = sign_ins::revoked_now(before, now_ms());
    change_account(live, user, Change::Set(accounts::attribute::REVOKED_AT, revoked_at.into()), Kind::Revoke)
        .await
}

/// A role is in the account and in every token issued from now on. All of the user's sockets are closed and come back
/// with a fresh token, so that a role that was taken away ends at once.
async fn set_role(live: &Live, user: Handle, role: Role) -> anyhow::Result<Value> {
    change_account(live, user, Change::Set(accounts::attribute::ROLE, role.name().into()), Kind::Renew).await
}

async fn change_account(live: &Live, user: Handle, change: Change, close: Kind) -> anyhow::Result<Value> {
    let write = Write::update(Table::Users, accounts::key(&user), vec![change]).when(Condition::Exists);
    match live.tables.write(vec![write]).await {
        Ok(()) => {}
        Err(TableError::ConditionFailed { .. }) => anyhow::bail!("there is no user {user}"),
        Err(error) => return Err(error.into()),
    }
    live.replies.close(close, user, None).await;
    Ok(Value::Null)
}
