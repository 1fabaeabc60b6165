//! Media under races: whatever posts do with a medium, in whatever order, it knows whether one shows it to everybody.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use ulid::Ulid;

use crate::model::media::{self, Renditions, State, Stored};
use crate::ports::memory::MemoryTables;
use crate::ports::tables::{Change, Condition, Item, Key, Table, TableError, Tables as _, Write};
use crate::protocol::Handle;

const POSTS: usize = 4;
const MEDIA: [Ulid; 2] = [Ulid(1), Ulid(2)];

/// What a post of the test is, as its item says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    Missing,
    Open,
    Closed,
    Deleted,
}

/// What somebody does to a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Create { open: bool },
    Hide,
    Restore,
    Delete,
}

/// What was decided from what was read, and is still to be committed.
struct Decided {
    post: usize,
    becomes: Post,
    writes: Vec<Write>,
    shut: Vec<Ulid>,
}

fn ann() -> Handle {
    "ann".parse().unwrap()
}

fn post_key(post: usize) -> Key {
    Key::new(format!("post#{post}"), "post")
}

fn is(post: Post) -> Condition {
    match post {
        Post::Missing => Condition::Missing,
        found => Condition::Equals("is", format!("{found:?}").into()),
    }
}

struct World {
    tables: MemoryTables,
    /// What is committed.
    posts: [Post; POSTS],
}

impl World {
    async fn new() -> Self {
        let tables = MemoryTables::with_distinct_keys_only();
        for id in MEDIA {
            let counted = tables.get(Table::Entities, media::count_key(&ann())).await.unwrap();
            tables.write(media::begin(id, &ann(), 1, counted.as_ref()).unwrap()).await.unwrap();
            let size =
                media::Rendition { content_type: "image/png".to_owned(), bytes: 1, width: 1, height: 1 };
            let sizes = Renditions { feed: size.clone(), thumb: size.clone(), full: size };
            let passed = media::pass(id, &Stored::begun(&ann(), 1), &sizes);
            tables.write(passed).await.unwrap();
        }
        Self { tables, posts: [Post::Missing; POSTS] }
    }

    async fn stored(&self, id: Ulid) -> Stored {
        media::parse(self.tables.get(Table::Entities, media::key(id)).await.unwrap()).unwrap().unwrap()
    }

    /// What a handler would decide from what it reads now; nothing where it would refuse.
    async fn decide(&self, post: usize, act: Act) -> Option<Decided> {
        let mut read = Vec::new();
        for id in MEDIA {
            read.push((id, self.stored(id).await));
        }
        let was = self.posts[post];
        let open = was == Post::Open;
        let (becomes, writes, shut) = match (act, was) {
            (Act::Create { open }, Post::Missing) => {
                if read.iter().any(|(_, stored)| stored.state != State::Ready) {
                    return None;
                }
                let becomes = if open { Post::Open } else { Post::Closed };
                (becomes, media::attach(&ann(), &read, open), Vec::new())
            }
            (Act::Hide, Post::Open) => {
                (Post::Closed, media::close(&read), media::shut(&read, Stored::closed))
            }
            (Act::Restore, Post::Closed) => (Post::Open, media::open(&read), Vec::new()),
            (Act::Delete, Post::Open | Post::Closed) => {
                let shut = media::shut(&read, |stored| stored.detached(open));
                (Post::Deleted, media::detach(&ann(), &read, open), shut)
            }
            _ => return None,
        };
        let item = Write::update(
            Table::Entities,
            post_key(post),
            vec![Change::Set("is", format!("{becomes:?}").into())],
        );
        let writes = std::iter::once(item.when(is(was))).chain(writes).collect();
        Some(Decided { post, becomes, writes, shut })
    }

    fn shown(&self, post: Post) -> u64 {
        self.posts.iter().filter(|found| **found == post).count() as u64
    }

    fn is_open(&self) -> bool {
        self.shown(Post::Open) > 0
    }

    /// Commits what was decided; whether it was still right.
    async fn commit(&mut self, decided: Decided) -> bool {
        let was_open = self.is_open();
        match self.tables.write(decided.writes).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
        self.posts[decided.post] = decided.becomes;
        let (open, closed) = (self.shown(Post::Open), self.shown(Post::Closed));
        for id in MEDIA {
            let stored = self.stored(id).await;
            assert_eq!((stored.posts, stored.closed), (open + closed, closed), "{:?}", self.posts);
            assert_eq!(stored.is_open(), self.is_open());
            let ended = open + closed == 0;
            assert_eq!(stored.state == State::Gone, ended);
            assert_eq!(decided.shut.contains(&id), was_open && !self.is_open(), "{:?}", self.posts);
            // Data of 0.1.0 looks like this, and so nobody's conditions tell the two apart.
            let item = self.tables.get(Table::Entities, media::key(id)).await.unwrap().unwrap();
            assert_eq!(item.get(media::attribute::CLOSED).is_none(), closed == 0);
        }
        true
    }
}

#[tokio::test]
async fn a_medium_counts_the_posts_that_show_it_and_those_that_do_not_show_it_to_everybody() {
    let (mut lost, mut won, mut gone) = (0, 0, 0);
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new().await;
        let mut waiting = Vec::new();
        for _ in 0..60 {
            let act = match rng.random_range(0..5) {
                0 | 1 => Act::Create { open: rng.random() },
                2 => Act::Hide,
                3 => Act::Restore,
                _ => Act::Delete,
            };
            waiting.extend(world.decide(rng.random_range(0..POSTS), act).await);
            // Several decide from the same state, and commit in any order.
            if !waiting.is_empty() && rng.random_ratio(2, 3) {
                let at = rng.random_range(0..waiting.len());
                match world.commit(waiting.swap_remove(at)).await {
                    true => won += 1,
                    false => lost += 1,
                }
            }
        }
        gone += usize::from(world.stored(MEDIA[0]).await.state == State::Gone);
    }
    assert!(lost > 200 && won > 500 && gone > 20, "{lost} lost, {won} won, {gone} gone");
}

#[tokio::test]
async fn a_medium_of_0_1_0_is_open_and_can_be_closed() {
    let world = World::new().await;
    let mut item = Item::of(&Stored { posts: 1, loose: None, ..world.stored(MEDIA[0]).await });
    assert!(item.get(media::attribute::CLOSED).is_none());
    item = serde_json::from_value(serde_json::to_value(item).unwrap()).unwrap();
    world.tables.write(vec![Write::put(Table::Entities, media::key(MEDIA[0]), item)]).await.unwrap();
    let stored = world.stored(MEDIA[0]).await;
    assert!(stored.is_open());
    world.tables.write(media::close(&[(MEDIA[0], stored)])).await.unwrap();
    let stored = world.stored(MEDIA[0]).await;
    assert_eq!((stored.posts, stored.closed, stored.is_open()), (1, 1, false));
    world.tables.write(media::open(&[(MEDIA[0], stored)])).await.unwrap();
    assert!(world.stored(MEDIA[0]).await.is_open());
}
