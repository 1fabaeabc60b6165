//! The audit trail: what operators' commands add to it, and `soundoff audit`, which prints it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use soundoff_common::model::audit::{self, Event, Kept, Kind};
use soundoff_common::ports::tables::Tables;
use soundoff_common::protocol::{Handle, now_ms, rfc3339};
use soundoff_common::tell;

use super::cli::ask;
use super::{Ask, Order};
use crate::config::AuditArgs;

/// How often `--follow` looks for more.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much later than others an event may come that happened before them, in milliseconds.
const LATE_MS: u64 = 60_000;
/// What a command is in the audit trail, if it is something: what only looks at figures is not.
pub(super) fn event(ask: &Ask) -> Option<Event> {
    let operated = |what: &str| Event { what: Some(what.to_owned()), ..Event::new(Kind::Operated) };
    let of_queue = |what: &str, queue: &dyn std::fmt::Display| operated(&format!("{what} {queue}"));
    Some(match ask {
        Ask::Role { user, role } => {
            Event { what: Some(role.name().to_owned()), ..Event::new(Kind::RoleChanged).of(user, None) }
        }
        Ask::Revoke { user } => Event::new(Kind::Revoked).of(user, None),
        Ask::RotateKeys { drop_old } => {
            let what = if *drop_old { "all others dropped" } else { "announced" };
            Event { what: Some(what.to_owned()), ..Event::new(Kind::KeyRotated) }
        }
        Ask::SecretRotated { what } => Event { what: Some(what.clone()), ..Event::new(Kind::SecretRotated) },
        // Letters hold what people wrote.
        Ask::DeadLetters { queue, opened: true, .. } => of_queue("dead letter read", queue),
        Ask::Redrive { queue, .. } => of_queue("dead letters redriven", queue),
        Ask::PauseWorkers => operated("workers paused"),
        Ask::ResumeWorkers => operated("workers resumed"),
        Ask::Reseal { after: None, only_count: false } => operated("stored values sealed again"),
        Ask::Gate(Some(Order::Close { .. })) => operated("gate closed"),
        Ask::Gate(Some(Order::Open { .. })) => operated("gate opened"),
        Ask::Gate(None)
        | Ask::DeadLetters { .. }
        | Ask::Queues
        | Ask::Reseal { .. }
        | Ask::Audit { .. }
        | Ask::TimelineTick { .. }
        | Ask::TimelineStatus => return None,
    })
}

/// Some events, and where the next ones begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page {
    events: Vec<(String, Kept)>,
    more: bool,
}

/// The events after a place.
pub(super) async fn page(tables: &dyn Tables, after: &str) -> anyhow::Result<Page> {
    let events = audit::read(tables, after, now_ms()).await?;
    Ok(Page { more: audit::is_full(events.len()), events })
}

/// What `soundoff audit` prints of an event.
fn line(Kept { at, event, .. }: &Kept) -> String {
    let Event { kind, user, session, household, by, way, created, reason, what, count } = event;
    let mut line = format!("{}  {:<16}", rfc3339(*at), kind.name());
    let shown = [
        ("user", user.as_ref().map(Handle::to_string)),
        ("way", way.clone()),
        ("created", created.filter(|created| *created).map(|created| created.to_string())),
        ("reason", reason.clone()),
        ("what", what.as_ref().map(|what| format!("{what:?}"))),
        ("count", count.map(|count| count.to_string())),
        ("by", by.as_ref().map(|by| format!("{by:?}"))),
        ("session", session.map(|session| session.to_string())),
        ("from", household.clone()),
    ];
    for (name, value) in shown {
        line.extend(value.map(|value| format!("  {name}={value}")));
    }
    line
}

/// `soundoff audit`.
pub(crate) async fn run(args: AuditArgs) -> anyhow::Result<()> {
    let AuditArgs { since, user, kind, follow, json, at } = args;
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut after = audit::place(now_ms().saturating_sub(since));
    let mut shown: BTreeSet<String> = BTreeSet::new();
    loop {
        let answer = ask(&at, Ask::Audit { after: after.clone() }).await?;
        let Page { events, more } = serde_json::from_value(answer).context("an answer of another version")?;
        for (place, kept) in &events {
            let wanted = user.as_ref().is_none_or(|user| kept.event.user.as_ref() == Some(user))
                && kind.is_none_or(|kind| kept.event.kind == kind);
            if shown.insert(place.clone()) && wanted {
                if json { tell!("{}", serde_json::to_string(kept)?) } else { tell!("{}", line(kept)) }
            }
        }
        let last = events.into_iter().next_back().map(|(place, _)| place);
        if more {
            after = last.unwrap_or(after);
            continue;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        // What happened before, and is kept only now, is shown as well.
        after = after.max(audit::place(now_ms().saturating_sub(LATE_MS)));
        shown.retain(|place| *place > after);
    }
}
