//! Flags and environment: the same names, read and checked before anything starts.

mod cli;
mod country;
mod engines;
mod limits;
mod memory;
mod parts;
mod passkeys;
mod providers;
mod roles;
mod timeline;
mod up;
mod users;
mod values;

pub(crate) use cli::{
    At, AuditArgs, Cli, Command, DlqCommand, GateCommand, SecretCommand, TimelineCommand, UsersCommand,
    WorkersCommand, refuse_unknown_environment,
};
pub(crate) use country::CountryArgs;
pub(crate) use engines::EngineArgs;
pub(crate) use limits::LimitArgs;
pub(crate) use parts::{Pulling, ROUTER_SLOTS};
pub(crate) use providers::ForeignArgs;
pub(crate) use roles::{EdgeRole, NodeArgs, RouterRole, TimelineRole, UsersRole, WorkersRole};
pub(crate) use up::UpConfig;

#[cfg(test)]
mod tests;
