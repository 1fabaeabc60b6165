//! What a moderator decides about anybody's post. The later decision wins, by `mid`; nothing of the post is lost, so that
//! it can be looked at again and shown again.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::posts::{DecidedBy, News, State};
use soundoff_common::model::sight;
use soundoff_common::pipeline::handler::{Context, Failure, Outcome, Push, Request, Told, raw};
use soundoff_common::pipeline::purge;
use soundoff_common::ports::tables::{Change, Table, Write};
use ulid::Ulid;

use crate::posts::attached;
use crate::posts::post::{self, OnePost, Stored};

/// The push to the author.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Decided {
    /// The id of their post.
    post: String,
    /// What it is now.
    state: State,
    /// Why, in the moderator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The messages that may follow.
pub(crate) const CAUSES: &[&str] = &[post::FANOUT, purge::PURGE];

/// What a message decides.
pub(crate) struct Decision<'a> {
    pub(crate) state: State,
    pub(crate) reason: Option<&'a str>,
    /// Whose moderator decides, when not the deployment's.
    pub(crate) by: Option<DecidedBy>,
    /// What must hold besides.
    pub(crate) beside: Vec<Write>,
}

/// That a post is taken down.
pub(crate) const REMOVED: Told = Told::push::<Decided>(
    "post.removed",
    "A moderator of the deployment, or of its group, has taken your post down.",
);

/// That a post is shown again.
pub(crate) const RESTORED: Told = Told::push::<Decided>(
    "post.restored",
    "A moderator of the deployment, or of its group, shows your post again.",
);

impl Decision<'_> {
    /// What it comes to for a post that was read and that the sender may decide about.
    pub(crate) async fn of<B>(
        self,
        cx: &Context,
        request: &Request<B>,
        (id, before): (Ulid, Stored),
    ) -> Result<Outcome<OnePost>, Failure> {
        let mid = request.mid;
        let (author, is_done) = (before.author.clone(), before.state_mid == Some(mid));
        // The deployment's moderators decide over those of a group, whatever came first.
        let is_over = self.by.is_none() && before.state_by.is_some();
        if before.state_mid.is_some_and(|decided| mid == decided || (mid < decided && !is_over)) {
            // A later decision stands, or this one does: its first run was cut off after the commit, and followers may
            // not know yet.
            let news = is_done
                .then(|| self.news(&before, true))
                .flatten()
                .map(|news| post::tell_of_decision(&before, news, id));
            let reply = OnePost { post: sight::moderated(before, id, &request.from, &cx.pictures) };
            return Ok(news.into_iter().fold(Outcome::effect(reply, Vec::new()), Outcome::then));
        }
        let after = Stored {
            state: self.state,
            state_mid: Some(mid),
            state_by: self.by,
            reason: self.reason.map(str::to_owned),
            ..before.clone()
        };
        let news = self.news(&before, false).map(|news| post::tell_of_decision(&before, news, id));
        let mut changes = vec![Change::Set(post::attribute::STATE_MID, mid.to_string().into())];
        changes.push(match self.state {
            State::Shown => Change::Remove(post::attribute::STATE),
            state => Change::Set(post::attribute::STATE, serde_json::json!(state)),
        });
        changes.push(match self.reason {
            None => Change::Remove(post::attribute::REASON),
            Some(reason) => Change::Set(post::attribute::REASON, reason.into()),
        });
        changes.push(match self.by {
            None => Change::Remove(post::attribute::STATE_BY),
            Some(by) => Change::Set(post::attribute::STATE_BY, serde_json::json!(by)),
        });
        let mut writes =
            vec![Write::update(Table::Entities, post::key(id), changes).when(before.as_decided())];
        if before.state.is_shown() != after.state.is_shown() {
            writes.extend(post::counted(&before, -1));
            writes.extend(post::counted(&after, 1));
        }
        let (moved, shut) = attached::moved(cx, &before.media, (before.is_open(), after.is_open())).await?;
        writes.extend(moved);
        writes.extend(self.beside);
        let push_type = if self.state.is_shown() { "post.restored" } else { "post.removed" };
        let body =
            raw(&Decided { post: id.to_string(), state: self.state, reason: self.reason.map(str::to_owned) });
        let is_news = before.state != after.state;
        let reply = OnePost { post: sight::moderated(after, id, &request.from, &cx.pictures) };
        let then = news.into_iter().chain(purge::of_media(cx, &author, &shut));
        let outcome = then.fold(Outcome::effect(reply, writes), Outcome::then);
        // The author counts as the sender of the push: no block between author and moderator hides it.
        let push = Push { to: author.clone(), push_type, by: author, body };
        Ok(if is_news { outcome.push(push) } else { outcome })
    }

    /// What followers are told.
    fn news(&self, before: &Stored, is_done: bool) -> Option<News> {
        match (before.state.is_shown(), self.state.is_shown()) {
            (_, false) => Some(News::Deleted),
            (false, true) => Some(News::Created),
            // Done before, and what it was before that is not known any more: told twice is better than never.
            (true, true) => is_done.then_some(News::Created),
        }
    }
}
