//! `soundoff timeline …`.

use anyhow::Context as _;
use soundoff_common::protocol::Handle;
use soundoff_common::tell;
use soundoff_timeline::Status;

use super::Ask;
use super::cli::ask;
use crate::config::At;

/// `soundoff timeline tick`.
pub(crate) async fn tick(users: Vec<Handle>, at: &At) -> anyhow::Result<()> {
    let whose = match users.len() {
        0 => "everybody's timelines are".to_owned(),
        1 => format!("the timeline of {} is", users[0]),
        count => format!("{count} timelines are"),
    };
    ask(at, Ask::TimelineTick { users }).await?;
    tell!("{whose} being computed; `soundoff timeline status` shows how far it is");
    Ok(())
}

/// `soundoff timeline status`.
pub(crate) async fn status(at: &At, json: bool) -> anyhow::Result<()> {
    let answer = ask(at, Ask::TimelineStatus).await?;
    if json {
        tell!("{answer}");
        return Ok(());
    }
    show(&serde_json::from_value(answer).context("an answer of another version")?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shares and seconds are shown to a digit or two")]
fn show(status: &Status) {
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    tell!(
        "users              {:>12}   {} active, {} of them without a timeline",
        status.users,
        status.active,
        status.missing
    );
    tell!("oldest timeline    {:>10.1} s   of an active user", status.oldest_ms as f64 / 1000.0);
    tell!("queued             {:>12}   messages of ticks", status.backlog);
    tell!("computed           {:>12}   {:.0} per core-second", status.computed, status.computed_per_second);
    tell!("pages shown        {:>12}", status.fetches);
    tell!(
        "without a timeline {:>12}   {:.1} % of pages",
        status.fallbacks,
        share(status.fallbacks, status.fetches)
    );
    tell!("ticks              {:>12}   {} skipped", status.ticks, status.ticks_skipped);
    tell!();
    tell!("{:<20}{:>12}{:>12}{:>8}", "looked up", "in caches", "in tables", "hits");
    for (what, hits, misses) in &status.caches {
        tell!("{what:<20}{hits:>12}{misses:>12}{:>6.1} %", share(*hits, hits + misses));
    }
    tell!();
    tell!("{:<20}{:>12}{:>20}", "stage", "seconds", "share");
    let total: f64 = status.stages.iter().map(|(_, seconds)| seconds).sum();
    for (stage, seconds) in &status.stages {
        let share = 100.0 * seconds / total.max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 100")]
        let bar = "▇".repeat((share / 5.0).round() as usize);
        tell!("{stage:<20}{seconds:>12.3}{share:>8.1} %  {bar}");
    }
}
