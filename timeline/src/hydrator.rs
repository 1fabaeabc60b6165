//! From ids to posts: one multi-get for posts, blocks and the reader's account, and another for what moves up in place
//! of what must not be shown.

use std::sync::Arc;

use soundoff_common::model::sight::{self, Door, Reading};
use soundoff_common::model::{accounts, posts};
use soundoff_common::pipeline::handler::Failure;
use soundoff_common::pipeline::world::World;
use soundoff_common::ports::tables::{Key, Table, Tables};
use soundoff_common::protocol::{Handle, steady_ms};
use soundoff_common::web::pictures::PictureKey;

use crate::accounts::Reads;
use crate::cursor::{Cursor, mark};
use crate::follow_lists::FollowLists;
use crate::listing::{Author, Entry, Listing};
use crate::memory::Memory;
use crate::name::Name;
use crate::page::Shown;
use crate::sources::FOLLOWED;

/// A list, and how far into it a client is.
pub(crate) struct Place {
    pub(crate) listing: Listing,
    pub(crate) cursor: Cursor,
}

/// Reads posts as they may be shown now.
pub(crate) struct Hydrator {
    follows: FollowLists,
    tables: Arc<dyn Tables>,
    pictures: PictureKey,
}

impl Hydrator {
    pub(crate) fn new(memory: &Arc<Memory>, world: &World) -> anyhow::Result<Self> {
        let (tables, pictures) = (world.tables.clone(), world.pictures()?);
        Ok(Self { follows: FollowLists::new(memory, world), tables, pictures })
    }

    /// The next `limit` items that may be shown; moves the place behind the last of them.
    pub(crate) async fn show(
        &self,
        user: &Handle,
        place: &mut Place,
        limit: usize,
    ) -> Result<Vec<Shown>, Failure> {
        let mut items = Vec::with_capacity(limit);
        loop {
            let from = usize::from(place.cursor.offset);
            let wanted = limit - items.len();
            // A few more than wanted, so that items that must not be shown cost no second call.
            let upto = (from + wanted + wanted / 8 + 2).min(place.listing.entries.len());
            if wanted == 0 || from >= upto {
                return Ok(items);
            }
            let entries = &place.listing.entries[from..upto];
            let found = self.hydrated(user, entries, &place.listing).await?;
            let mut passed = 0;
            for (entry, item) in entries.iter().zip(found) {
                if items.len() == limit {
                    break;
                }
                passed += 1;
                if let Some(item) = item {
                    place.cursor.shown.push(mark(entry.post));
                    items.push(item);
                }
            }
            place.cursor.offset += passed;
        }
    }

    /// Each entry as it may be shown now; `None` when it must not be shown.
    async fn hydrated(
        &self,
        user: &Handle,
        entries: &[Entry],
        listing: &Listing,
    ) -> Result<Vec<Option<Shown>>, Failure> {
        let author = |entry: &Entry| &listing.authors[usize::from(entry.author)];
        let mut keys: Vec<(Table, Key)> =
            entries.iter().map(|entry| (Table::Entities, posts::key(entry.post))).collect();
        let mut reading = Reading::new(user);
        for entry in entries {
            let Author { name, source } = author(entry);
            let handle = match name {
                Name::User(handle) => handle,
                // Who has posted it is known when the post is read, and costs a second read.
                Name::Group(id, _) => {
                    reading.group(*id);
                    continue;
                }
            };
            reading.blocks(handle);
            if *source == FOLLOWED {
                // Whom they follow shows them what is for everyone and for followers, private or not.
                reading.is_follower(handle);
            } else {
                reading.privacy(handle);
            }
        }
        let now = steady_ms();
        keys.push((Table::Users, accounts::key(user)));
        let (mut sighted, mut found) = reading.read_with(&*self.tables, keys).await?;
        let reads = found.pop().flatten().as_ref().map(Reads::of).unwrap_or_default();
        let mut gone = vec![false; entries.len()];
        if reads.version != listing.follows_version {
            let authors = entries.iter().map(|entry| &author(entry).name);
            let followed = self.follows.read_by(user, reads, authors, now).await?;
            for (entry, gone) in entries.iter().zip(&mut gone) {
                *gone = author(entry).source == FOLLOWED && !followed.contains(&author(entry).name);
            }
        }
        for (entry, gone) in entries.iter().zip(&mut gone) {
            if let Name::Group(id, _) = author(entry).name {
                // A public group would show it to who has left: but then it is not theirs to get unasked.
                *gone = !sighted.within(id).is_in();
            }
        }
        let found = found.into_iter().zip(gone).map(|(item, gone)| posts::parse(item.filter(|_| !gone)));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        // Posts in groups, those for close friends, and those of private authors whom they do not follow, cost another read.
        sight::look(&*self.tables, &mut sighted, found.iter().flatten()).await?;
        let shown = entries.iter().zip(found).map(|(entry, post)| {
            let post = sighted.post(post?, entry.post, Door::List, &self.pictures)?;
            Some(Shown::new(post, entry.parts))
        });
        Ok(shown.collect())
    }
}
