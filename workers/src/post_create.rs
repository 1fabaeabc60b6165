//! `post.create`: a post, its row in the author's list, the author's count.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::accounts;
use soundoff_common::handler::{Context, Failure, Message, Outcome, Request};
use soundoff_common::ports::tables::{Change, Condition, Item, Table, Write};
use soundoff_common::protocol::ErrorCode;

use crate::post_fanout::News;
use crate::posts::{self, OnePost, Stored};
use crate::texts;

/// A new post.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PostCreate {
    /// What it says.
    #[schemars(length(min = 1, max = 2000))]
    text: String,
    /// Ids of media. Posts have none yet: leave it out or empty.
    #[schemars(length(max = 0))]
    media: Option<Vec<String>>,
}

impl Message for PostCreate {
    const TYPE: &'static str = "post.create";
    const SUMMARY: &'static str = "Posts. Online followers get the event `post.created`.";
    type Body = Self;
    type Reply = OnePost;

    async fn handle(_: &Context, request: &Request<Self>) -> Result<Outcome<OnePost>, Failure> {
        let Self { text, media } = &request.body;
        texts::message(text, texts::MAX_POST)?;
        if media.as_ref().is_some_and(|media| !media.is_empty()) {
            return Err(Failure::reject(ErrorCode::BadMessage, "media is not available yet"));
        }
        let (id, author) = (request.mid, &request.from);
        let post = Stored {
            author: author.clone(),
            text: text.clone(),
            created_at: request.at,
            likes: 0,
            comments: 0,
            deleted: false,
            deleted_by: None,
        };
        let count = vec![Change::Add("posts", 1)];
        let writes = vec![
            Write::put(Table::Entities, posts::key(id), Item::of(&post)).when(Condition::Missing),
            Write::put(Table::Entities, posts::row_key(author, id), Item::new()),
            Write::update(Table::Entities, accounts::key(author), count).when(Condition::Exists),
        ];
        let reply = OnePost { post: post.shown(id) };
        Ok(Outcome::effect(reply, writes).then(posts::tell_followers(News::Created, id)))
    }
}
