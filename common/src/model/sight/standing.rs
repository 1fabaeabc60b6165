//! What somebody is to others, as read: blocks, privacy, follows, close friends, groups.

use hashbrown::HashMap;
use ulid::Ulid;

use crate::model::groups::{self, Within};
use crate::model::posts::{Audience, Stored};
use crate::model::privacy::{self, Privacy};
use crate::model::relations::attribute;
use crate::model::{blocks, close, follows};
use crate::ports::tables::{Condition, Item, Key, Table, TableError, Tables, Write};
use crate::protocol::Handle;

/// A relation as it was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Relation {
    on: bool,
    mid: Option<String>,
}

impl Relation {
    pub(super) fn of(item: Option<&Item>) -> Self {
        let on = item.is_some_and(|item| item.flag(attribute::ON));
        Self { on, mid: item.and_then(|item| item.text(attribute::MID)).map(str::to_owned) }
    }

    fn unchanged(&self, key: Key) -> Write {
        let condition = match &self.mid {
            Some(mid) => Condition::All(vec![
                Condition::Equals(attribute::MID, mid.as_str().into()),
                Condition::Equals(attribute::ON, self.on.into()),
            ]),
            None => Condition::Missing,
        };
        Write::check(Table::Relationships, key, condition)
    }
}

/// What somebody is to another user, as far as it was read.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// They are the same.
    pub own: bool,
    /// A block stands between the two.
    pub blocked: bool,
    pub(super) seen: Option<[Option<String>; 2]>,
    pub(super) privacy: Option<Privacy>,
    pub(super) follows: Option<Relation>,
    pub(super) followed: Option<Relation>,
    pub(super) close: Option<Relation>,
    /// That they follow the other was known before.
    pub(super) is_follower: bool,
}

/// What somebody is to whom nobody has read.
static UNREAD: Standing = Standing {
    own: false,
    blocked: true,
    seen: None,
    privacy: None,
    follows: None,
    followed: None,
    close: None,
    is_follower: false,
};

/// What somebody is in a group that nobody has read.
static UNREAD_GROUP: Within = Within { group: None, member: None };

impl Standing {
    /// What the other lets people see and do, also oneself. One that was not read counts as that of a private user.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        self.privacy.unwrap_or(Privacy { private: true, ..Privacy::default() })
    }

    /// Whether the other is private.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.privacy.as_ref().is_none_or(|privacy| privacy.private)
    }

    /// Whether they follow the other. What was not read counts as no.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.is_follower || self.follows.as_ref().is_some_and(|relation| relation.on)
    }

    /// Whether the other follows them.
    #[must_use]
    pub fn followed(&self) -> bool {
        self.followed.as_ref().is_some_and(|relation| relation.on)
    }

    /// Whether the other has named them as close.
    #[must_use]
    pub fn is_close(&self) -> bool {
        self.close.as_ref().is_some_and(|relation| relation.on)
    }

    /// The other is private, and it is not known whether they follow them: it takes a second reading.
    pub(super) fn is_unsettled(&self) -> bool {
        let is_private = self.privacy.is_some_and(|privacy| privacy.private);
        is_private && !self.blocked && self.follows.is_none() && !self.is_follower
    }

    /// Checks that make a transaction fail when something of it has changed since it was read.
    #[must_use]
    pub fn unchanged(&self, viewer: &Handle, other: &Handle) -> Vec<Write> {
        let mut writes = Vec::new();
        if self.own {
            return writes;
        }
        writes.extend(self.seen.iter().flat_map(|seen| blocks::unchanged(viewer, other, seen.clone())));
        writes.extend(self.privacy.iter().map(|privacy| privacy.unchanged(other)));
        let relations = [
            (&self.follows, follows::key(viewer, other)),
            (&self.followed, follows::key(other, viewer)),
            (&self.close, close::key(other, viewer)),
        ];
        writes.extend(
            relations
                .into_iter()
                .filter_map(|(relation, key)| relation.as_ref().map(|relation| relation.unchanged(key))),
        );
        writes
    }
}

/// What is to be read of one other user: where each of it is among the keys.
#[derive(Debug, Default)]
struct Places {
    blocks: Option<usize>,
    privacy: Option<usize>,
    follows: Option<usize>,
    followed: Option<usize>,
    close: Option<usize>,
    /// Known without a read.
    is_follower: bool,
}

/// What is to be read to judge what `viewer` may see and do.
#[derive(Debug)]
pub struct Reading {
    viewer: Handle,
    keys: Vec<(Table, Key)>,
    /// Where the viewer's own privacy is among the keys.
    own_privacy: Option<usize>,
    people: HashMap<Handle, Places>,
    groups: HashMap<Ulid, usize>,
}

impl Reading {
    /// Nothing yet.
    #[must_use]
    pub fn new(viewer: &Handle) -> Self {
        Self {
            viewer: viewer.clone(),
            keys: Vec::new(),
            own_privacy: None,
            people: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Adds what `keys` are of, the viewer and the other, to what is read of the other.
    fn add<const N: usize>(
        &mut self,
        other: &Handle,
        place: fn(&mut Places) -> &mut Option<usize>,
        keys: fn(&Handle, &Handle) -> [Key; N],
    ) {
        if *other == self.viewer {
            return;
        }
        let place = place(self.people.entry_ref(other).or_default());
        if place.is_none() {
            *place = Some(self.keys.len());
            self.keys.extend(keys(&self.viewer, other).map(|key| (Table::Relationships, key)));
        }
    }

    /// Whether a block stands.
    pub fn blocks(&mut self, other: &Handle) {
        let keys = |me: &Handle, other: &Handle| blocks::keys(me, other).map(|(_, key)| key);
        self.add(other, |places| &mut places.blocks, keys);
    }

    /// What the other lets people see and do.
    pub fn privacy(&mut self, other: &Handle) {
        self.add(other, |places| &mut places.privacy, |_, other| [privacy::key(other)]);
    }

    fn author_of_pictures(&mut self, author: &Handle) {
        if *author != self.viewer {
            return self.privacy(author);
        }
        if self.own_privacy.is_none() {
            self.own_privacy = Some(self.keys.len());
            self.keys.push((Table::Relationships, privacy::key(author)));
        }
    }

    /// Whether the viewer follows the other.
    pub fn follows(&mut self, other: &Handle) {
        self.add(other, |places| &mut places.follows, |me, other| [follows::key(me, other)]);
    }

    /// Whether the other follows the viewer.
    pub fn followed(&mut self, other: &Handle) {
        self.add(other, |places| &mut places.followed, |me, other| [follows::key(other, me)]);
    }

    /// Whether the other has named the viewer as close.
    pub fn close(&mut self, other: &Handle) {
        self.add(other, |places| &mut places.close, |me, other| [close::key(other, me)]);
    }

    /// The caller knows already that the viewer follows the other.
    pub fn is_follower(&mut self, other: &Handle) {
        self.people.entry_ref(other).or_default().is_follower = true;
    }

    /// A group, and what the viewer is in it.
    pub fn group(&mut self, group: Ulid) {
        if !self.groups.contains_key(&group) {
            self.groups.insert(group, self.keys.len());
            self.keys.push((Table::Entities, groups::key(group)));
            self.keys.push((Table::Relationships, groups::member_key(group, &self.viewer)));
        }
    }

    /// What is needed to judge and show a post, as far as the post itself says so.
    pub fn post(&mut self, post: &Stored) {
        if post.is_open() && !post.media.is_empty() {
            // Of a private author its pictures open by signed URLs only.
            self.author_of_pictures(&post.author);
        }
        if post.author == self.viewer {
            return;
        }
        self.blocks(&post.author);
        if let Some(group) = post.group {
            self.group(group);
        }
        let knows = self.people.get(&post.author).is_some_and(|places| places.is_follower);
        match post.audience {
            _ if knows && post.audience != Audience::Close => {}
            Audience::Everyone => self.privacy(&post.author),
            Audience::Followers => self.follows(&post.author),
            Audience::Close => self.close(&post.author),
        }
    }

    /// What to read, for callers that read more in the same call and then [`Self::judged`].
    #[must_use]
    pub fn keys(&self) -> &[(Table, Key)] {
        &self.keys
    }

    /// What was read, in the order of [`Self::keys`].
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when an item is not what it should be.
    pub fn judged(self, mut found: Vec<Option<Item>>) -> Result<Sighted, TableError> {
        let mut people = HashMap::with_capacity(self.people.len());
        for (other, places) in self.people {
            let relation = |at: Option<usize>| at.map(|at| Relation::of(found[at].as_ref()));
            let mut standing = Standing {
                follows: relation(places.follows),
                followed: relation(places.followed),
                close: relation(places.close),
                is_follower: places.is_follower,
                ..Standing::default()
            };
            if let Some(at) = places.blocks {
                let (blocked, seen) = blocks::judge(&found[at..at + 2]);
                (standing.blocked, standing.seen) = (blocked, Some(seen));
            }
            standing.privacy = places.privacy.map(|at| Privacy::parse(found[at].take())).transpose()?;
            people.insert(other, standing);
        }
        let groups = self.groups.into_iter().map(|(id, at)| {
            let group = groups::parse(found[at].take())?;
            let member = found[at + 1].take().map(Item::parse).transpose()?;
            Ok((id, Within { group, member }))
        });
        let groups = groups.collect::<Result<_, TableError>>()?;
        let own = Standing { own: true, ..Standing::default() };
        let mut sighted = Sighted { viewer: self.viewer, own, people, groups };
        sighted.own.privacy = self.own_privacy.map(|at| Privacy::parse(found[at].take())).transpose()?;
        Ok(sighted)
    }

    /// Reads it, in one call; none when there is nothing to read.
    ///
    /// # Errors
    /// When the tables do not answer, or an item is corrupt.
    pub async fn read(self, tables: &dyn Tables) -> Result<Sighted, TableError> {
        Ok(self.read_with(tables, Vec::new()).await?.0)
    }

    /// Reads it, and the items at `keys`, in one call.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_with(
        mut self,
        tables: &dyn Tables,
        mut keys: Vec<(Table, Key)>,
    ) -> Result<(Sighted, Vec<Option<Item>>), TableError> {
        let asked = keys.len();
        keys.append(&mut self.keys);
        let mut found = if keys.is_empty() { Vec::new() } else { tables.get_many(&keys).await? };
        let judged = found.split_off(asked);
        Ok((self.judged(judged)?, found))
    }
}

/// What `viewer` is to others and in groups, as read.
#[derive(Debug)]
pub struct Sighted {
    pub(super) viewer: Handle,
    own: Standing,
    pub(super) people: HashMap<Handle, Standing>,
    groups: HashMap<Ulid, Within>,
}

impl Sighted {
    /// An eye that has seen nothing yet.
    #[must_use]
    pub fn new(viewer: &Handle) -> Self {
        let own = Standing { own: true, ..Standing::default() };
        Self { viewer: viewer.clone(), own, people: HashMap::new(), groups: HashMap::new() }
    }

    /// An eye that knows what `viewer` is to one other user.
    #[must_use]
    pub fn of(viewer: &Handle, other: &Handle, standing: Standing) -> Self {
        let mut sighted = Self::new(viewer);
        if !standing.own {
            sighted.people.insert(other.clone(), standing);
        }
        sighted
    }

    /// Whether all is read that judges a post.
    #[must_use]
    pub fn knows(&self, post: &Stored) -> bool {
        if post.author == self.viewer {
            return post.media.is_empty() || !post.is_open() || self.own.privacy.is_some();
        }
        let Some(standing) = self.people.get(&post.author) else { return false };
        let knows_author = match post.audience {
            Audience::Everyone => standing.privacy.is_some() || (standing.follows() && post.media.is_empty()),
            Audience::Followers => standing.follows.is_some() || standing.is_follower,
            Audience::Close => standing.close.is_some(),
        };
        let knows_group = post.group.is_none_or(|group| self.groups.contains_key(&group));
        standing.seen.is_some() && knows_author && knows_group
    }

    /// Whether it is read what another user lets people see and do.
    #[must_use]
    pub fn knows_privacy(&self, other: &Handle) -> bool {
        self.people.get(other).is_some_and(|standing| standing.privacy.is_some())
    }

    /// Whose eye it is.
    #[must_use]
    pub fn viewer(&self) -> &Handle {
        &self.viewer
    }

    /// What the viewer is to another user. One who was not read is blocked: what nobody has judged is not shown.
    #[must_use]
    pub fn to(&self, other: &Handle) -> &Standing {
        if *other == self.viewer { &self.own } else { self.people.get(other).unwrap_or(&UNREAD) }
    }

    /// Whether a block stands between the viewer and another user.
    #[must_use]
    pub fn is_blocked(&self, other: &Handle) -> bool {
        self.to(other).blocked
    }

    /// What the viewer is in a group.
    #[must_use]
    pub fn within(&self, group: Ulid) -> &Within {
        self.groups.get(&group).unwrap_or(&UNREAD_GROUP)
    }

    /// Those of `others` who are private, and of whom it is not known whether the viewer follows them: they need a second
    /// reading.
    fn unsettled<'a>(&self, others: impl Iterator<Item = &'a Handle>) -> Vec<&'a Handle> {
        others.filter(|other| self.people.get(*other).is_some_and(Standing::is_unsettled)).collect()
    }

    /// Reads whether the viewer follows those of `others` who turned out to be private.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn settle<'a>(
        &mut self,
        tables: &dyn Tables,
        others: impl Iterator<Item = &'a Handle>,
    ) -> Result<(), TableError> {
        let mut reading = Reading::new(&self.viewer);
        for other in self.unsettled(others) {
            reading.follows(other);
        }
        self.add(reading.read(tables).await?);
        Ok(())
    }

    /// Adds what was read later.
    pub fn add(&mut self, later: Self) {
        for (other, more) in later.people {
            let standing = self.people.entry(other).or_default();
            standing.blocked |= more.blocked;
            standing.is_follower |= more.is_follower;
            standing.seen = more.seen.or(standing.seen.take());
            standing.privacy = more.privacy.or(standing.privacy.take());
            standing.follows = more.follows.or(standing.follows.take());
            standing.followed = more.followed.or(standing.followed.take());
            standing.close = more.close.or(standing.close.take());
        }
        self.groups.extend(later.groups);
        self.own.privacy = later.own.privacy.or(self.own.privacy.take());
    }
}
