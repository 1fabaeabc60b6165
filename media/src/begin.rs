//! `media.begin`: a URL to upload one large picture to, past the socket and past the access token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use soundoff_common::model::media;
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::protocol::{ErrorBody, ErrorCode, now_ms, rfc3339};
use ulid::Ulid;

use crate::config::MAX_UPLOAD_BYTES;
use crate::items;
use crate::refusals::count;

/// How long the URL is valid, in seconds.
const URL_S: u64 = 3600;

/// What the client wants to upload.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct MediaBegin {
    /// How many bytes it has, exactly.
    #[schemars(range(min = 1, max = 67_108_864))]
    bytes: u64,
}

/// Where to upload it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Begun {
    /// The medium's id, for `post.create` once the push `media.ready` has come.
    media: String,
    /// Where to upload it.
    upload: Upload,
}

/// The address of one upload.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Upload {
    /// The HTTP method: `PUT`, with the picture as body.
    method: &'static str,
    /// A URL, or the path and query of one on this server. Anybody who has it may upload: keep it to yourself.
    url: String,
    /// Until when it is valid, RFC 3339 UTC with milliseconds.
    expires_at: String,
}

impl MessageType for MediaBegin {
    const TYPE: &'static str = "media.begin";
    const SUMMARY: &'static str = "Gives a URL to upload one picture of up to 64 MiB to. The push `media.ready` or `media.failed` reports the result.";
    const ARCHIVED: Archived = Archived::Whole;
    type Body = Self;
    type Reply = Begun;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<Begun>, Failure> {
        let bytes = request.body.bytes;
        if !(1..=MAX_UPLOAD_BYTES).contains(&bytes) {
            let message = format!("an upload has 1 to {MAX_UPLOAD_BYTES} bytes");
            return Err(Failure::reject(ErrorCode::TooLarge, message));
        }
        // Not the message's own id: ids of messages follow each other, and nobody must be able to guess a medium's id.
        let (id, expires) = (Ulid::generate(), request.at / 1000 + URL_S);
        let url = cx.uploads.url(id, bytes, expires).await?;
        let upload = Upload { method: "PUT", url, expires_at: rfc3339(expires * 1000) };
        let reply = Begun { media: id.to_string(), upload };
        let counted = items::counted(&*cx.tables, &request.from).await?;
        if let Some(wait) = counted.wait(now_ms()) {
            count(&cx.metrics, "pixels");
            let error = ErrorBody::new(ErrorCode::RateLimited, items::TOO_MANY_PIXELS);
            return Err(Failure::Reject(error.after(wait)));
        }
        let begun = media::begin(id, &request.from, request.at, counted.loose.as_ref());
        let writes = begun.map_err(|too_many| {
            count(&cx.metrics, "loose");
            Failure::reject(ErrorCode::Conflict, too_many.to_string())
        })?;
        Ok(Outcome::effect(reply, writes))
    }
}
