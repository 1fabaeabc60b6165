//! `media.checked`: stores what the check found, and tells the owner, in one transaction.

use schemars::JsonSchema;
use serde::Serialize;
use soundoff_common::model::ids;
use soundoff_common::model::media::{self, Media, State};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{
    Context, Failure, FollowUp, MessageType, Nothing, Outcome, Push, Request, Source, Told, raw,
};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{ErrorCode, now_ms};

use crate::messages::{Body, CHECK, CHECKED, Checked, Finding};

/// What the owner hears of a picture that may be shown.
#[derive(Debug, Serialize, JsonSchema)]
struct MediaReady {
    /// The picture.
    media: Media,
}

/// What the owner hears of one that must not be shown.
#[derive(Debug, Serialize, JsonSchema)]
struct MediaFailed<'a> {
    /// The medium's id.
    id: &'a str,
    /// Why.
    reason: &'a str,
}

/// The handler.
pub(crate) struct MediaChecked;

impl MessageType for MediaChecked {
    const TYPE: &'static str = CHECKED;
    const SUMMARY: &'static str = "Makes a checked picture visible, or ends it, and tells its owner.";
    const SOURCE: Source = Source::Internal;
    const ARCHIVED: Archived = Archived::Not;
    const TELLS: &'static [Told] = &[
        Told::push::<MediaReady>("media.ready", "Your picture may be shown."),
        Told::push::<MediaFailed<'_>>(
            "media.failed",
            "Your upload is no picture that may be shown, and is gone.",
        ),
    ];
    const CAUSES: &'static [&'static str] = &[CHECK];
    type Body = Body;
    type Reply = Nothing;

    async fn handle(cx: &Context, request: &Request<Body>) -> Result<Outcome<Nothing>, Failure> {
        let Body { media: text, finding } = &request.body;
        let id = ids::parse(text).ok_or_else(|| Failure::reject(ErrorCode::BadMessage, "not an id"))?;
        let keys = [(Table::Entities, media::key(id)), (Table::Relationships, privacy::key(&request.from))];
        let mut found = cx.tables.get_many(&keys).await?.into_iter();
        let stored = media::parse(found.next().flatten())?;
        let privacy = Privacy::parse(found.next().flatten())?;
        // A client may have uploaded again after the bytes were read. This message finds what was uploaded until now;
        // what is uploaded later finds a medium that is not in state `Checking` any more, and is deleted for that.
        let again = raw(&Checked { media: text.clone(), ended: true });
        let sweep = FollowUp { message_type: CHECK, about: None, body: again };
        // The result was stored before, or the medium was collected meanwhile.
        let Some(stored) = stored.filter(|stored| stored.state == State::Checking) else {
            return Ok(Outcome::read(Nothing {}).then(sweep));
        };
        let (writes, push_type, body) = match finding {
            Finding::Ready(renditions) => {
                let full = &renditions.full;
                let media = match privacy.private {
                    true => Media::signed(id, full, &cx.pictures.sign(id, &stored.owner, now_ms() / 1000)),
                    false => Media::of(id, full),
                };
                let body = raw(&MediaReady { media });
                (media::pass(id, &stored, renditions), "media.ready", body)
            }
            Finding::Refused(reason) => {
                (media::end(id, &stored), "media.failed", raw(&MediaFailed { id: text, reason }))
            }
        };
        let owner = stored.owner;
        let push = Push { to: owner.clone(), push_type, by: owner, body };
        Ok(Outcome::effect(Nothing {}, writes).push(push).then(sweep))
    }
}
