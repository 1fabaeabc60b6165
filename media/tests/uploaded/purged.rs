//! What caches are told to forget: of one post, and of all posts of somebody who has become private.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use soundoff_common::model::media::{self, Rendition};
use soundoff_common::model::posts::{self, Attached};
use soundoff_common::pipeline::consumer::Verdict;
use soundoff_common::pipeline::envelope::Envelope;
use soundoff_common::pipeline::handler::raw;
use soundoff_common::pipeline::purge::{MediaPurge, PURGE};
use soundoff_common::ports::tables::{Item, Table, Tables as _, Write};
use soundoff_media::{MediaConfig, Purger};
use ulid::Ulid;

use super::world::{World, alice};

/// What an operator's hook was told; it does not do as it is told while it is away.
#[derive(Debug, Default)]
struct Told {
    urls: Mutex<Vec<Vec<String>>>,
    is_away: Mutex<bool>,
}

#[async_trait]
impl Purger for Told {
    async fn purge(&self, urls: &[String]) -> anyhow::Result<()> {
        anyhow::ensure!(!*self.is_away.lock().unwrap(), "it is away");
        self.urls.lock().unwrap().push(urls.to_vec());
        Ok(())
    }
}

fn with_hook() -> (World, Arc<Told>) {
    let told = Arc::<Told>::default();
    (World::of(MediaConfig { purger: Some(told.clone()), ..MediaConfig::default() }), told)
}

async fn queue(world: &World, body: &MediaPurge) {
    let envelope = Envelope {
        mid: Ulid::generate(),
        id: String::new(),
        message_type: PURGE.to_owned(),
        from: alice(),
        origin: None,
        at: 1,
        body: raw(body),
    };
    world.send(PURGE, envelope.bytes()).await;
}

/// A post of alice that shows these.
async fn post(world: &World, media: &[Ulid]) {
    let id = Ulid::generate();
    let full = Rendition { content_type: "image/png".to_owned(), bytes: 1, width: 1, height: 1 };
    let shows: Vec<_> = media.iter().map(|id| Attached { id: *id, full: full.clone() }).collect();
    let item =
        Item::of(&json!({ "author": "alice", "created_at": 1, "likes": 0, "comments": 0, "media": shows }));
    let writes = vec![
        Write::put(Table::Entities, posts::key(id), item),
        Write::put(Table::Entities, posts::row_key(&alice(), id), Item::new()),
    ];
    world.tables.write(writes).await.unwrap();
}

#[tokio::test]
async fn the_paths_that_everybody_opens_are_named_and_again_while_the_hook_is_away() {
    let (world, told) = with_hook();
    let ids = [Ulid::generate(), Ulid::generate()];
    queue(&world, &MediaPurge::Media(ids.iter().map(Ulid::to_string).collect())).await;
    *told.is_away.lock().unwrap() = true;
    let verdict = world.step(PURGE).await;
    assert!(matches!(&verdict, Some(Verdict::Retry(why)) if why.contains("it is away")), "{verdict:?}");
    *told.is_away.lock().unwrap() = false;
    assert_eq!(world.step(PURGE).await, Some(Verdict::Done));
    let expected: Vec<_> = ids.into_iter().flat_map(media::urls).collect();
    assert_eq!(*told.urls.lock().unwrap(), [expected]);
    queue(&world, &MediaPurge::Media(vec!["../x".to_owned()])).await;
    assert!(matches!(world.step(PURGE).await, Some(Verdict::Dead(_))));
}

#[tokio::test]
async fn all_pictures_of_an_owner_are_named_a_page_of_posts_at_a_time() {
    let (world, told) = with_hook();
    queue(&world, &MediaPurge::Posts(None)).await;
    assert_eq!(world.step(PURGE).await, Some(Verdict::Done), "of somebody who has posted nothing");
    assert!(world.step(PURGE).await.is_none() && told.urls.lock().unwrap().is_empty());
    let mut all = BTreeSet::new();
    for n in 0..120 {
        let media: Vec<_> = (0..n % 3).map(|_| Ulid::generate()).collect();
        all.extend(media.iter().copied().flat_map(media::urls));
        post(&world, &media).await;
    }
    queue(&world, &MediaPurge::Posts(None)).await;
    let mut pages = 0;
    while let Some(verdict) = world.step(PURGE).await {
        assert_eq!(verdict, Verdict::Done);
        pages += 1;
    }
    let told = told.urls.lock().unwrap();
    assert_eq!((pages, told.len()), (3, 3), "50 posts a page");
    let named: Vec<_> = told.iter().flatten().cloned().collect();
    assert_eq!(named.len(), all.len(), "each once");
    assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), all);
}
