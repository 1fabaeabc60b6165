//! Whether a reply is the one that its message asked for.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::mix::Kind;

/// The most items of a page whose length was not asked for.
const PAGE: usize = 20;

/// The content of a message, as far as its reply repeats it.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its kind.
    pub(super) kind: Kind,
    /// Who sent it.
    pub(super) by: String,
    /// The user or the post it names.
    pub(super) of: String,
    /// Its text.
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Post {
    id: String,
    author: String,
    text: String,
    created_at: String,
}

#[derive(Deserialize)]
struct Posted {
    post: Post,
}

#[derive(Deserialize)]
struct Comment {
    post: String,
    author: String,
    text: String,
}

#[derive(Deserialize)]
struct Commented {
    comment: Comment,
}

/// A direct message as replies and pushes have it.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) text: String,
}

#[derive(Deserialize)]
pub(super) struct Messaged {
    pub(super) message: Message,
}

#[derive(Deserialize)]
struct Liked {
    post: String,
    likes: u64,
}

#[derive(Deserialize)]
struct Followed {
    user: String,
}

#[derive(Deserialize)]
struct Why {
    age: f64,
    affinity: f64,
    popularity: f64,
}

#[derive(Deserialize)]
struct Item {
    post: Post,
    score: f64,
    why: Why,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next: Option<String>,
    computed_at: String,
}

/// Checks a reply. Returns the id of the new post if the message has made one.
///
/// # Errors
/// The reply is wrong.
pub(super) fn judge(asked: &Asked, body: &RawValue) -> Result<Option<String>> {
    match asked.kind {
        Kind::Posts => {
            let Posted { post } = read(body)?;
            ensure!(post.author == asked.by, "it is a post of {}", post.author);
            ensure!(post.text == asked.text, "the post's text is another one");
            return Ok(Some(post.id));
        }
        Kind::Dms => {
            let Messaged { message } = read(body)?;
            ensure!(message.from == asked.by && message.to == asked.of, "it is from or to somebody else");
            ensure!(message.text == asked.text, "the message's text is another one");
        }
        Kind::Comments => {
            let Commented { comment } = read(body)?;
            ensure!(comment.author == asked.by && comment.post == asked.of, "it is by or on something else");
            ensure!(comment.text == asked.text, "the comment's text is another one");
        }
        Kind::Likes => {
            let liked: Liked = read(body)?;
            ensure!(liked.post == asked.of, "it is about another post");
            ensure!(liked.likes > 0, "nobody likes it");
        }
        Kind::Follows => {
            let Followed { user } = read(body)?;
            ensure!(user == asked.of, "it is about {user}");
        }
        Kind::Fetch => page(&read(body)?)?,
        Kind::Typing => {}
    }
    Ok(None)
}

/// Whether a timeline's page is well formed.
fn page(page: &Page) -> Result<()> {
    ensure!(page.items.len() <= PAGE, "{} items are more than {PAGE}", page.items.len());
    ensure!(is_time(&page.computed_at), "computed_at is no time: {:?}", page.computed_at);
    ensure!(page.next.as_ref().is_none_or(|next| !next.is_empty()), "next is empty");
    let mut seen = HashSet::new();
    for (Item { post, score, why }, n) in page.items.iter().zip(1..) {
        ensure!(!post.id.is_empty() && !post.author.is_empty(), "item {n} has no id or no author");
        ensure!(seen.insert(&post.id), "item {n} is there twice");
        ensure!(is_time(&post.created_at), "item {n} has no time: {:?}", post.created_at);
        let sum = why.age + why.affinity + why.popularity;
        ensure!((sum - score).abs() < 1e-6, "item {n} scores {score}, its parts {sum}");
    }
    Ok(())
}

/// RFC 3339 UTC with milliseconds.
fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00.000Z";
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    text.len() == form.len() && text.bytes().zip(form).all(fits)
}

fn read<'a, T: Deserialize<'a>>(body: &'a RawValue) -> Result<T> {
    serde_json::from_str(body.get()).context("it is not well formed")
}

/// Author and text of a push about a comment.
pub(super) fn commented(body: &RawValue) -> Result<(String, String)> {
    let Commented { comment } = read(body)?;
    Ok((comment.author, comment.text))
}

/// The message in a push of a direct message.
pub(super) fn messaged(body: &RawValue) -> Result<Message> {
    Ok(read::<Messaged>(body)?.message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn verdict(kind: Kind, body: &serde_json::Value) -> String {
        let asked = Asked { kind, by: "ann".into(), of: "bob".into(), text: "hi".into() };
        judge(&asked, &to_raw_value(body).unwrap()).map_or_else(|e| format!("{e:#}"), |_| "good".into())
    }

    #[test]
    fn a_reply_must_be_about_what_was_asked() {
        let dm = |from, to, text| json!({ "message": { "id": "1", "from": from, "to": to, "text": text } });
        for (kind, body, expected) in [
            (Kind::Dms, dm("ann", "bob", "hi"), "good"),
            (Kind::Dms, dm("ann", "eve", "hi"), "from or to somebody else"),
            (Kind::Dms, dm("ann", "bob", "ho"), "text is another one"),
            (Kind::Dms, json!({}), "not well formed: missing field `message`"),
            (Kind::Likes, json!({ "post": "bob", "likes": 1 }), "good"),
            (Kind::Likes, json!({ "post": "eve", "likes": 1 }), "another post"),
            (Kind::Follows, json!({ "user": "eve" }), "about eve"),
            (
                Kind::Posts,
                json!({ "post": { "id": "1", "author": "eve", "text": "hi", "created_at": "" } }),
                "post of eve",
            ),
        ] {
            assert!(verdict(kind, &body).contains(expected), "{body}: {}", verdict(kind, &body));
        }
    }

    #[test]
    fn a_page_must_be_well_formed() {
        let at = "2026-11-25T10:00:00.000Z";
        let item = |id: &str, score: f64| {
            json!({ "post": { "id": id, "author": "eve", "text": "", "created_at": at },
                "score": score, "why": { "age": 0.5, "affinity": 0.25, "popularity": 0.0 } })
        };
        let page = |items: Vec<serde_json::Value>| json!({ "items": items, "next": null, "computed_at": at });
        for (items, expected) in [
            (vec![], "good"),
            (vec![item("1", 0.75), item("2", 0.75)], "good"),
            (vec![item("1", 0.75), item("1", 0.75)], "item 2 is there twice"),
            (vec![item("1", 0.8)], "item 1 scores 0.8, its parts 0.75"),
            (vec![json!({ "post": {} })], "missing field `id`"),
            ((0..21).map(|n| item(&n.to_string(), 0.75)).collect(), "21 items are more than 20"),
        ] {
            let verdict = verdict(Kind::Fetch, &page(items));
            assert!(verdict.contains(expected), "{verdict}");
        }
        assert!(
            verdict(Kind::Fetch, &json!({ "items": [], "next": null, "computed_at": "now" }))
                .contains("no time")
        );
    }
}
