//! `post.fanout`, an internal message: reports to the online followers of an author, or the online members of a group,
//! what happened to a post, one page of them for each message.
//!
//! A page is bounded and may be repeated. The next page is a message of its own, so that a celebrity's million
//! followers delay nobody and a crash costs one page. Followers get what the tables say at that time: a post that was
//! deleted meanwhile is not announced.

use futures_util::future::try_join;
use soundoff_common::model::posts::{News, PostFanout, State};
use soundoff_common::model::privacy::{self, Privacy};
use soundoff_common::model::{groups, sight};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::handler::{
    Context, Event, Failure, MessageType, Nothing, Outcome, Request, Source, Told, raw,
};
use soundoff_common::ports::tables::{Query, Table, TableError};
use soundoff_common::protocol::Handle;
use ulid::Ulid;

use crate::follows::follow::{self, Row};
use crate::groups::group;
use crate::posts::post::{self, OnePost, Stored};

/// The number of followers or members that one message looks at.
const FOLLOWERS_AT_ONCE: usize = 500;

/// The handler.
pub(crate) struct Fanout;

impl MessageType for Fanout {
    const TYPE: &'static str = "post.fanout";
    const SUMMARY: &'static str = "Tells online followers of a post that is new or gone.";
    const QUEUE: Option<&'static str> = Some("fanout_q");
    const SOURCE: Source = Source::Internal;
    const ARCHIVED: Archived = Archived::Not;
    const TELLS: &'static [Told] = &[
        Told::event::<OnePost>(
            "post.created",
            "Somebody whom you follow has posted, or a member of a group that you are in.",
        ),
        Told::event::<OnePost>(
            "post.deleted",
            "A post of somebody whom you follow, or in a group that you are in, is gone.",
        ),
    ];
    const CAUSES: &'static [&'static str] = &[post::FANOUT];
    type Body = PostFanout;
    type Reply = Nothing;

    async fn handle(cx: &Context, request: &Request<PostFanout>) -> Result<Outcome<Nothing>, Failure> {
        let (author, body) = (&request.from, &request.body);
        let id = post::id(&body.post)?;
        // Newest first: followers who arrive while it runs are not reached, so it always ends.
        let group = body.group.as_deref().map(group::id).transpose()?;
        let partition = group.map_or_else(|| follow::followers(author), groups::members);
        let mut query = Query::prefix(Table::Relationships, partition, follow::PREFIX, FOLLOWERS_AT_ONCE);
        query = query.newest_first();
        if let Some(before) = &body.before {
            query = query.below(before.as_str());
        }
        let keys = [(Table::Entities, post::key(id)), (Table::Relationships, privacy::key(author))];
        let (found, page) = try_join(cx.tables.get_many(&keys), cx.tables.query(query)).await?;
        let mut found = found.into_iter();
        let post = post::parse(found.next().flatten())?;
        let private = Privacy::parse(found.next().flatten())?.private;
        let Some(post) = post else { return Ok(Outcome::read(Nothing {})) };
        let is_gone = post.deleted || !matches!(post.state, State::Shown);
        if post.author != *author || post.group != group || is_gone != (body.news == News::Deleted) {
            return Ok(Outcome::read(Nothing {}));
        }
        let next = page.items.last().filter(|_| page.more).map(|(sk, _)| sk.clone());
        let followers: Result<Vec<Handle>, TableError> =
            page.items.into_iter().map(|(_, item)| Ok(item.parse::<Row>()?.who)).collect();
        let mut followers = followers?;
        // A member, too, and knows already.
        followers.retain(|follower| follower != author);
        // Who could see it before it was gone.
        let post = Stored { deleted: false, state: State::Shown, ..post };
        let online = online(cx, &post, followers).await?;
        let mut outcome = Outcome::read(Nothing {});
        for event in events(cx, (id, post), body.news, private, online) {
            outcome = outcome.event(event);
        }
        if let Some(next) = next {
            let rest = PostFanout { before: Some(next), ..body.clone() };
            outcome = outcome.then(post::fan_out(&rest));
        }
        Ok(outcome)
    }
}

/// What those who are online hear.
fn events(
    cx: &Context,
    (id, post): (Ulid, Stored),
    news: News,
    private: bool,
    online: Vec<Handle>,
) -> Vec<Event> {
    let event = |to: Vec<Handle>, event_type, post| Event { to, event_type, body: raw(&OnePost { post }) };
    let announced = |who: &Handle, post| sight::announced(post, id, who, private, &cx.pictures);
    match (news, online.first().cloned()) {
        (_, None) => Vec::new(),
        (News::Deleted, _) => vec![event(online, "post.deleted", sight::deleted(post, id))],
        (News::Created, Some(_)) if sight::is_announced_to_each(&post, private) => {
            let each = online.into_iter().map(|who| {
                let post = announced(&who, post.clone());
                event(vec![who], "post.created", post)
            });
            each.collect()
        }
        (News::Created, Some(any)) => {
            let post = announced(&any, post);
            vec![event(online, "post.created", post)]
        }
    }
}

/// Those of `followers` who have a socket and may see the post.
async fn online(cx: &Context, post: &Stored, followers: Vec<Handle>) -> Result<Vec<Handle>, Failure> {
    if followers.is_empty() {
        return Ok(followers);
    }
    let sockets = cx.sessions.get_many(&followers).await?;
    let online: Vec<Handle> =
        followers.into_iter().zip(sockets).filter(|(_, s)| !s.is_empty()).map(|(who, _)| who).collect();
    Ok(sight::audience(&*cx.tables, post, online).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::{World, user};
    use serde_json::Value;
    use serde_json::json;
    use soundoff_common::pipeline::handler::FollowUp;
    use soundoff_common::ports::tables::Tables as _;

    async fn deliver(
        world: &World,
        from: &str,
        first: &FollowUp,
    ) -> (Vec<(&'static str, Value, Vec<String>)>, u32) {
        let (mut heard, mut pages) = (Vec::new(), 0);
        let mut next = Some(first.clone());
        while let Some(FollowUp { message_type, body, .. }) = next.take() {
            let mut message = world.message(from, message_type, &json!(null));
            (message.id, message.body) = (String::new(), body);
            let done = world.run(&message).await.unwrap();
            pages += 1;
            for event in done.events {
                let to = event.to.iter().map(ToString::to_string).collect();
                heard.push((event.event_type, serde_json::from_str(event.body.get()).unwrap(), to));
            }
            next = done.follow_ups.into_iter().next();
        }
        (heard, pages)
    }

    #[tokio::test]
    async fn online_followers_hear_of_a_post_and_of_its_end_without_its_text() {
        let world = World::with(&["alice", "bobby", "carol", "david"]).await;
        for follower in ["bobby", "carol"] {
            world.ok(follower, "follow.add", json!({ "user": "alice" })).await;
        }
        for online in ["alice", "bobby", "david"] {
            world.online(online).await;
        }
        let made = world.done("alice", "post.create", json!({ "text": "hi" })).await;
        let (heard, _) = deliver(&world, "alice", &made.follow_ups[0]).await;
        let post = crate::testing::world::reply(&made);
        assert_eq!(heard, [("post.created", post.clone(), vec!["bobby".to_owned()])]);
        let gone = world.done("alice", "post.delete", json!({ "post": post["post"]["id"] })).await;
        let (heard, _) = deliver(&world, "alice", &gone.follow_ups[0]).await;
        assert_eq!((heard[0].0, &heard[0].1["post"]["id"]), ("post.deleted", &post["post"]["id"]));
        assert_eq!(heard[0].1["post"]["text"], "");
        let (late, _) = deliver(&world, "alice", &made.follow_ups[0]).await;
        assert!(late.is_empty(), "a post that is gone is not announced");
    }

    #[tokio::test]
    async fn a_follower_across_a_block_hears_nothing() {
        // A block ends follows in its own transaction; this is the page that was read before it.
        let world = World::with(&["alice", "bobby"]).await;
        world.ok("bobby", "follow.add", json!({ "user": "alice" })).await;
        world.online("bobby").await;
        let post = world.post("alice", "hi").await.parse().unwrap();
        let post = world.tables.get(Table::Entities, post::key(post)).await.unwrap();
        let post = post::parse(post).unwrap().unwrap();
        for (blocker, blocked) in [("alice", "bobby"), ("bobby", "alice")] {
            let read_before = vec![user("bobby")];
            assert_eq!(online(&world.cx, &post, read_before.clone()).await.unwrap(), read_before);
            world.ok(blocker, "block.add", json!({ "user": blocked })).await;
            assert_eq!(online(&world.cx, &post, read_before).await.unwrap(), []);
            world.ok(blocker, "block.remove", json!({ "user": blocked })).await;
        }
    }

    #[tokio::test]
    async fn many_followers_are_told_in_pages_each_once() {
        let followers: Vec<String> = (0..1203).map(|n| format!("f{n:04}")).collect();
        let mut users: Vec<&str> = followers.iter().map(String::as_str).collect();
        users.push("alice");
        let world = World::with(&users).await;
        for follower in &followers {
            world.ok(follower, "follow.add", json!({ "user": "alice" })).await;
            world.online(follower).await;
        }
        let made = world.done("alice", "post.create", json!({ "text": "hi" })).await;
        let (heard, pages) = deliver(&world, "alice", &made.follow_ups[0]).await;
        assert_eq!(pages, 3);
        let mut told: Vec<String> = heard.into_iter().flat_map(|(_, _, to)| to).collect();
        told.sort();
        assert_eq!(told, followers);
    }
}
