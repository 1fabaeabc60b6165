//! `privacy.update`: what the sender lets others see and do, each setting last-writer-wins by `mid`. After its reply
//! nobody sees or does what it forbids: every act checks in its transaction that the settings are as it read them.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::accounts;
use soundoff_common::model::privacy::{self, From, Kept};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::pipeline::purge;
use soundoff_common::pipeline::terms::Terms;
use soundoff_common::ports::tables::{Change, Condition, Item, Table, Write};
use soundoff_common::protocol::ErrorCode;

use crate::privacy::settings::OnePrivacy;
use crate::requests::sweep;
use crate::rules::latest::set;

/// What to change: at least one of the settings.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PrivacyUpdate {
    /// Only followers see the sender's posts and lists, and who wants to follow them must ask. Who follows them goes on.
    /// With `false`, all who have asked follow them.
    private: Option<bool>,
    /// Who may write to them: `everyone`, `followers`, `following`, `mutuals` or `nobody`.
    dm_from: Option<From>,
    /// Who may comment on their posts, of those who see them.
    comment_from: Option<From>,
    /// Whose mentions reach them.
    mention_from: Option<From>,
}

impl MessageType for PrivacyUpdate {
    const TYPE: &'static str = "privacy.update";
    const SUMMARY: &'static str = "Changes what the sender lets others see and do. From the reply on it holds for \
                                   everything, what was posted before included.";
    const TERMS: Terms = Terms::USUAL.critical();
    const CAUSES: &'static [&'static str] = &[sweep::TYPE, purge::PURGE];
    type Body = Self;
    type Reply = OnePrivacy;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OnePrivacy>, Failure> {
        let Self { private, dm_from, comment_from, mention_from } = &request.body;
        if private.is_none() && dm_from.is_none() && comment_from.is_none() && mention_from.is_none() {
            let message = "name a setting to change: private, dm_from, comment_from or mention_from";
            return Err(Failure::reject(ErrorCode::BadMessage, message));
        }
        let (from, mid) = (&request.from, request.mid);
        let key = privacy::key(from);
        let kept = cx.tables.get(Table::Relationships, key.clone()).await?;
        let mut kept: Kept = kept.map(Item::parse).transpose()?.unwrap_or_default();
        let before = kept.privacy;
        let after = &mut kept.privacy;
        let mut changed = set(&mut after.private, &mut kept.private_mid, *private, mid);
        changed |= set(&mut after.dm_from, &mut kept.dm_from_mid, *dm_from, mid);
        changed |= set(&mut after.comment_from, &mut kept.comment_from_mid, *comment_from, mid);
        changed |= set(&mut after.mention_from, &mut kept.mention_from_mid, *mention_from, mid);
        let mut writes = Vec::new();
        if changed {
            after.v += 1;
            writes.push(Write::put(Table::Relationships, key, Item::of(&kept)).when(before.as_read()));
            if before.v == 0 {
                // Of accounts without it nobody reads the settings.
                let guarded = Change::Set(accounts::attribute::GUARDED, true.into());
                let account = Write::update(Table::Users, accounts::key(from), vec![guarded]);
                writes.push(account.when(Condition::Exists));
            }
        }
        let after = kept.privacy;
        let outcome = Outcome::effect(OnePrivacy::of(after), writes);
        // Asked for again when this is not the first run: what was queued may have been cut off.
        let opens = *private == Some(false) && !after.private;
        let outcome = if opens { outcome.then(sweep::next()) } else { outcome };
        // Caches in front forget what was public.
        let purged = (*private == Some(true) && after.private).then(|| purge::of_owner(cx, from)).flatten();
        Ok(purged.into_iter().fold(outcome, Outcome::then))
    }
}
