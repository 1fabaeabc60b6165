//! The media of a post: checks that they are the author's and have passed.

use soundoff_common::model::ids;
use soundoff_common::model::media::{self, MAX_PER_POST, State, Stored};
use soundoff_common::model::posts::Attached;
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::pipeline::handler::{Context, Failure};
use soundoff_common::ports::tables::{Key, Table, TableError, Write};
use soundoff_common::protocol::{ErrorCode, Handle};
use ulid::Ulid;

fn keys(ids: &[Ulid]) -> Vec<(Table, Key)> {
    ids.iter().map(|id| (Table::Entities, media::key(*id))).collect()
}

/// What a post shows of the media that its author names.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) attached: Vec<Attached>,
    /// The writes by which it shows them.
    pub(crate) writes: Vec<Write>,
    /// Whether its author is private: their pictures open by signed URLs only. Read where there are media.
    pub(crate) private: bool,
}

/// What a post shows of the media that its author names, to everybody if it is `open`.
pub(crate) async fn chosen(
    cx: &Context,
    author: &Handle,
    named: &[String],
    open: bool,
) -> Result<Chosen, Failure> {
    if named.len() > MAX_PER_POST {
        let message = format!("a post shows at most {MAX_PER_POST} media");
        return Err(Failure::reject(ErrorCode::TooLarge, message));
    }
    let mut ids = Vec::with_capacity(named.len());
    for text in named {
        let id = ids::parse(text).ok_or_else(|| not_found(text))?;
        if ids.contains(&id) {
            return Err(Failure::reject(ErrorCode::BadMessage, format!("{text} is named twice")));
        }
        ids.push(id);
    }
    if ids.is_empty() {
        return Ok(Chosen::default());
    }
    let mut keys = keys(&ids);
    keys.push((Table::Relationships, privacy::key(author)));
    let mut found = cx.tables.get_many(&keys).await?;
    let private = Privacy::parse(found.pop().flatten())?.private;
    let (mut attached, mut media) = (Vec::new(), Vec::new());
    for (id, (item, text)) in ids.into_iter().zip(found.into_iter().zip(named)) {
        let stored = media::parse(item)?.filter(|stored| stored.owner == *author);
        let stored = stored.filter(|stored| stored.state != State::Gone).ok_or_else(|| not_found(text))?;
        let (State::Ready, Some(renditions)) = (stored.state, &stored.renditions) else {
            let message = format!("{text} has not passed its check yet: wait for the push media.ready");
            return Err(Failure::reject(ErrorCode::Conflict, message));
        };
        attached.push(Attached { id, full: renditions.full.clone() });
        media.push((id, stored));
    }
    Ok(Chosen { attached, writes: media::attach(author, &media, open), private })
}

/// The media of a post, as they are now.
async fn read(cx: &Context, attached: &[Attached]) -> Result<Vec<(Ulid, Stored)>, TableError> {
    if attached.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Ulid> = attached.iter().map(|attached| attached.id).collect();
    let found = cx.tables.get_many(&keys(&ids)).await?;
    let mut media = Vec::with_capacity(ids.len());
    for (id, item) in ids.into_iter().zip(found) {
        if let Some(stored) = media::parse(item)? {
            media.push((id, stored));
        }
    }
    Ok(media)
}

/// The writes by which a post that is taken down releases its media, and those of them that nobody can open any more
/// who could until then; `was_open` says whether the post showed them to everybody.
pub(crate) async fn released(
    cx: &Context,
    author: &Handle,
    attached: &[Attached],
    was_open: bool,
) -> Result<(Vec<Write>, Vec<Ulid>), TableError> {
    let media = read(cx, attached).await?;
    let shut = media::shut(&media, |stored| stored.detached(was_open));
    Ok((media::detach(author, &media, was_open), shut))
}

/// The writes by which a post that was shown to everybody is so no longer, or one that was not is, and those of its media
/// that nobody can open any more who could until then.
pub(crate) async fn moved(
    cx: &Context,
    attached: &[Attached],
    (was_open, open): (bool, bool),
) -> Result<(Vec<Write>, Vec<Ulid>), TableError> {
    if was_open == open {
        return Ok((Vec::new(), Vec::new()));
    }
    let media = read(cx, attached).await?;
    Ok(match open {
        true => (media::open(&media), Vec::new()),
        false => (media::close(&media), media::shut(&media, Stored::closed)),
    })
}

fn not_found(text: &str) -> Failure {
    Failure::reject(ErrorCode::NotFound, format!("you have no media {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use soundoff_common::model::media::{self, State};
    use soundoff_common::ports::tables::{Change, Table, Tables as _, Write};
    use soundoff_common::protocol::ErrorCode;
    use ulid::Ulid;

    use crate::testing::world::{START, World, user};

    /// A medium of alice in this state.
    async fn medium(world: &World, state: State) -> Ulid {
        let id = Ulid::generate();
        let alice = user("alice");
        let counted = world.tables.get(Table::Entities, media::count_key(&alice)).await.unwrap();
        world.tables.write(media::begin(id, &alice, START + 1, counted.as_ref()).unwrap()).await.unwrap();
        let size = json!({ "content_type": "image/png", "bytes": 9, "width": 2, "height": 1 });
        let sizes = json!({ "full": size, "feed": size, "thumb": size });
        let changes = vec![state.set(), Change::Set(media::attribute::RENDITIONS, sizes)];
        world.tables.write(vec![Write::update(Table::Entities, media::key(id), changes)]).await.unwrap();
        id
    }

    async fn stored(world: &World, id: Ulid) -> media::Stored {
        media::parse(world.tables.get(Table::Entities, media::key(id)).await.unwrap()).unwrap().unwrap()
    }

    async fn is_loose(world: &World, id: Ulid, since: u64) -> bool {
        world.tables.get(Table::Entities, media::loose_key(id, since)).await.unwrap().is_some()
    }

    async fn loose(world: &World) -> u64 {
        let counted = world.tables.get(Table::Entities, media::count_key(&user("alice"))).await.unwrap();
        counted.and_then(|item| item.number(media::counted::N)).unwrap_or(0)
    }

    #[tokio::test]
    async fn a_medium_stays_while_a_post_shows_it_and_is_gone_with_the_last() {
        let world = World::with(&["alice"]).await;
        let id = medium(&world, State::Ready).await;
        assert_eq!(loose(&world).await, 1);
        let mut posts = Vec::new();
        for _ in 0..2 {
            let reply =
                world.ok("alice", "post.create", json!({ "text": "look", "media": [id.to_string()] })).await;
            assert_eq!(reply["post"]["media"][0]["url"], format!("/v1/media/{id}"));
            assert!(!is_loose(&world, id, START + 1).await, "it is not collected while it is shown");
            assert_eq!(loose(&world).await, 0);
            posts.push(reply["post"]["id"].clone());
        }
        let list = world.ok("alice", "post.list", json!({})).await;
        assert_eq!(list["items"][0]["media"][0]["width"], 2);
        world.ok("alice", "post.delete", json!({ "post": posts[0] })).await;
        assert_eq!(stored(&world, id).await.state, State::Ready, "another post shows it");
        world.ok("alice", "post.delete", json!({ "post": posts[1] })).await;
        let last = stored(&world, id).await;
        assert_eq!((last.state, last.posts, last.loose), (State::Gone, 0, Some(0)));
        assert!(is_loose(&world, id, 0).await);
        assert_eq!(loose(&world).await, 1, "until it is collected");
        let again = json!({ "text": "again", "media": [id.to_string()] });
        assert_eq!(world.refused("alice", "post.create", again).await, ErrorCode::NotFound);
        world.audit();
    }

    #[tokio::test]
    async fn caches_are_told_when_the_last_post_that_shows_it_goes_if_there_is_a_way_to_tell_them() {
        for purges in [true, false] {
            let mut world = World::with(&["alice", "modmo"]).await;
            world.cx.purges = purges;
            let [kept, gone] = [medium(&world, State::Ready).await, medium(&world, State::Ready).await];
            let both = json!({ "text": "look", "media": [kept, gone] });
            let first = world.ok("alice", "post.create", both).await["post"]["id"].take();
            world.ok("alice", "post.create", json!({ "text": "again", "media": [kept] })).await;
            let done = world.done("modmo", "post.remove", json!({ "post": first })).await;
            let told: Vec<_> =
                done.follow_ups.iter().filter(|then| then.message_type == "media.purge").collect();
            assert_eq!(told.len(), usize::from(purges));
            for told in told {
                assert_eq!(told.about, Some(user("alice")), "not the moderator");
                let body: serde_json::Value = serde_json::from_str(told.body.get()).unwrap();
                assert_eq!(body, json!({ "media": [gone] }), "another post shows the other");
            }
        }
    }

    #[tokio::test]
    async fn only_the_owners_and_only_what_has_passed() {
        let world = World::with(&["alice", "bob"]).await;
        let ready = medium(&world, State::Ready).await.to_string();
        let post = |media: &[&str]| json!({ "text": "x", "media": media });
        for (who, body, code) in [
            ("bob", post(&[&ready]), ErrorCode::NotFound),
            ("alice", post(&[&Ulid::generate().to_string()]), ErrorCode::NotFound),
            ("alice", post(&["../x"]), ErrorCode::NotFound),
            ("alice", post(&[&ready, &ready]), ErrorCode::BadMessage),
            ("alice", post(&["a", "b", "c", "d", "e"]), ErrorCode::TooLarge),
        ] {
            assert_eq!(world.refused(who, "post.create", body).await, code);
        }
        for (state, code) in [
            (State::Uploading, ErrorCode::Conflict),
            (State::Checking, ErrorCode::Conflict),
            (State::Gone, ErrorCode::NotFound),
        ] {
            let id = medium(&world, state).await.to_string();
            assert_eq!(world.refused("alice", "post.create", post(&[&id])).await, code, "{state:?}");
        }
    }

    /// The URL by which somebody sees a post's first picture.
    async fn url(world: &World, who: &str, post: &serde_json::Value) -> String {
        let seen = world.ok(who, "post.get", json!({ "post": post })).await;
        seen["post"]["media"][0]["url"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_picture_that_is_not_for_everybody_opens_for_each_viewer_apart() {
        let world = World::with(&["alice", "bobby"]).await;
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
        world.online("bobby").await;
        for (audience, open) in [("everyone", true), ("followers", false)] {
            let id = medium(&world, State::Ready).await;
            let body = json!({ "text": "look", "media": [id.to_string()], "audience": audience });
            let made = world.done("alice", "post.create", body).await;
            let post = crate::testing::world::reply(&made)["post"]["id"].clone();
            let plain = format!("/v1/media/{id}");
            assert_eq!(stored(&world, id).await.is_open(), open, "{audience}");
            for who in ["alice", "bobby"] {
                let url = url(&world, who, &post).await;
                let signed = url.starts_with(&format!("{plain}?for={who}&until="));
                assert!(if open { url == plain } else { signed }, "{audience}, {who}: {url}");
            }
            let list = world.ok("bobby", "post.list", json!({ "user": "alice", "limit": 1 })).await;
            assert_eq!(list["items"][0]["media"][0]["url"], url(&world, "bobby", &post).await);
            let mut fanout = world.message("alice", "post.fanout", &json!(null));
            (fanout.id, fanout.body) = (String::new(), made.follow_ups[0].body.clone());
            let told = world.run(&fanout).await.unwrap().events;
            let told: serde_json::Value = serde_json::from_str(told[0].body.get()).unwrap();
            assert_eq!(told["post"]["media"][0]["url"], url(&world, "bobby", &post).await, "{audience}");
            // A private author's pictures are for followers, and so is the author's own sight of them.
            world.ok("alice", "privacy.update", json!({ "private": true })).await;
            for who in ["alice", "bobby"] {
                assert!(url(&world, who, &post).await.contains(&format!("?for={who}&")), "{audience}, {who}");
            }
            world.ok("alice", "privacy.update", json!({ "private": false })).await;
        }
    }

    #[tokio::test]
    async fn what_a_moderator_takes_down_closes_its_pictures_and_keeps_them() {
        let mut world = World::with(&["alice", "modmo"]).await;
        world.cx.purges = true;
        let id = medium(&world, State::Ready).await;
        let body = json!({ "text": "look", "media": [id.to_string()] });
        let post = world.ok("alice", "post.create", body).await["post"]["id"].clone();
        for (state, open) in [("limited", true), ("hidden", false), ("held", false)] {
            let done = world.done("modmo", "post.remove", json!({ "post": post, "state": state })).await;
            let purged = done.follow_ups.iter().any(|then| then.message_type == "media.purge");
            assert_eq!(purged, state == "hidden", "{state}: caches forget what could be opened");
            assert_eq!(stored(&world, id).await.is_open(), open, "{state}");
            assert_eq!(stored(&world, id).await.state, State::Ready, "{state}: nothing is lost");
        }
        world.ok("modmo", "post.restore", json!({ "post": post })).await;
        let again = stored(&world, id).await;
        assert!(again.is_open() && again.closed == 0, "{again:?}");
        world.ok("modmo", "post.remove", json!({ "post": post })).await;
        world.ok("alice", "post.delete", json!({ "post": post })).await;
        let gone = stored(&world, id).await;
        assert_eq!((gone.state, gone.posts, gone.closed), (State::Gone, 0, 0));
        world.audit();
    }
}
