//! What docs/timelines.md says, as simple code: whole lists are walked and sorted, numbers are f64.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use ulid::Ulid;

const ITEMS: usize = 100;
const NEWEST_FOLLOWS: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) author: String,
    pub(crate) likes: u64,
    pub(crate) comments: u64,
    pub(crate) deleted: bool,
}

/// One item as it must be shown: the post and the parts of its score, in units of 1/1024.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) post: Ulid,
    pub(crate) author: String,
    pub(crate) parts: [u32; 3],
}

/// What a computation saw of one candidate.
#[derive(Debug, Clone)]
struct Seen {
    post: Ulid,
    author: String,
    engagement: u64,
    points: u64,
}

/// What the pages of one list are cut from, removed items included.
#[derive(Debug)]
pub(crate) struct List {
    /// What has not been on a page yet.
    pub(crate) rest: VecDeque<Item>,
    /// Whom the user followed when it was made.
    followed: Vec<String>,
}

/// What a computation left for a user.
#[derive(Debug, Clone)]
pub(crate) struct Computed {
    moves: u64,
    seen: Vec<Seen>,
}

/// A whole world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) posts: BTreeMap<Ulid, Post>,
    /// The same posts by author, deleted ones too, so that large worlds take no longer than small ones.
    by_author: HashMap<String, BTreeSet<Ulid>>,
    /// Whom each user follows, newest first.
    pub(crate) follows: BTreeMap<String, Vec<String>>,
    /// How often the follows of a user have changed.
    moves: HashMap<String, u64>,
    pub(crate) blocks: HashSet<(String, String)>,
    liked: HashSet<(String, Ulid)>,
    notified: HashSet<(String, Ulid)>,
    points: HashMap<(String, String), u64>,
    computed: HashMap<String, Computed>,
}

fn part(value: f64) -> u32 {
    (1024.0 * value).round().min(65_535.0) as u32
}

fn age(post: Ulid, computed_at: u64) -> u32 {
    let minutes = computed_at.saturating_sub(post.timestamp_ms()) / 60_000;
    part((-(minutes as f64) / 360.0).exp2())
}

/// Best first, the newer of equals first, and never more than two posts of one author in a row while there is another
/// author.
fn arranged(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| Reverse((item.parts.iter().sum::<u32>(), item.post)));
    let mut out: Vec<Item> = Vec::new();
    while !items.is_empty() {
        let bars = |item: &Item| {
            out.len() >= 2 && out[out.len() - 2..].iter().all(|before| before.author == item.author)
        };
        let next = items.iter().position(|item| !bars(item)).unwrap_or(0);
        out.push(items.remove(next));
    }
    out
}

impl Model {
    pub(crate) fn posted(&mut self, author: &str, post: Ulid) {
        self.by_author.entry(author.to_owned()).or_default().insert(post);
        let author = author.to_owned();
        self.posts.insert(post, Post { author, likes: 0, comments: 0, deleted: false });
    }

    pub(crate) fn follow(&mut self, from: &str, to: &str) {
        let follows = self.follows.entry(from.to_owned()).or_default();
        if !follows.iter().any(|known| known == to) {
            follows.insert(0, to.to_owned());
            *self.moves.entry(from.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn unfollow(&mut self, from: &str, to: &str) {
        let follows = self.follows.entry(from.to_owned()).or_default();
        if let Some(at) = follows.iter().position(|known| known == to) {
            follows.remove(at);
            *self.moves.entry(from.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn block(&mut self, from: &str, to: &str) {
        self.blocks.insert((from.to_owned(), to.to_owned()));
        self.unfollow(from, to);
        self.unfollow(to, from);
    }

    fn turned(&mut self, user: &str, author: &str, points: u64) {
        if user != author {
            *self.points.entry((user.to_owned(), author.to_owned())).or_default() += points;
        }
    }

    pub(crate) fn like(&mut self, user: &str, post: Ulid) {
        if self.liked.insert((user.to_owned(), post)) {
            let liked = self.posts.get_mut(&post).unwrap();
            liked.likes += 1;
            let author = liked.author.clone();
            if self.notified.insert((user.to_owned(), post)) {
                self.turned(user, &author, 1);
            }
        }
    }

    pub(crate) fn comment(&mut self, user: &str, post: Ulid) {
        let commented = self.posts.get_mut(&post).unwrap();
        commented.comments += 1;
        let author = commented.author.clone();
        self.turned(user, &author, 2);
    }

    pub(crate) fn message(&mut self, user: &str, to: &str) {
        self.turned(user, to, 2);
    }

    fn following(&self, user: &str) -> &[String] {
        self.follows.get(user).map_or(&[], Vec::as_slice)
    }

    /// The newest posts of an author that are not deleted.
    fn newest_of(&self, author: &str, count: usize) -> Vec<Ulid> {
        let posts = self.by_author.get(author).into_iter().flatten().rev();
        posts.filter(|id| !self.posts[*id].deleted).take(count).copied().collect()
    }

    fn friends_of_friends(&self, user: &str) -> Vec<String> {
        let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
        for friend in self.following(user).iter().take(NEWEST_FOLLOWS) {
            for theirs in self.following(friend).iter().take(NEWEST_FOLLOWS) {
                *reached.entry(theirs).or_default() += 1;
            }
        }
        let mut often: Vec<(Reverse<usize>, &str)> = reached
            .into_iter()
            .filter(|(who, paths)| {
                *paths >= 2 && *who != user && !self.following(user).iter().any(|f| f == who)
            })
            .map(|(who, paths)| (Reverse(paths), who))
            .collect();
        often.sort();
        often.into_iter().take(8).map(|(_, who)| who.to_owned()).collect()
    }

    fn candidates(&self, user: &str) -> Vec<Seen> {
        let mut posts = BTreeSet::new();
        for author in self.following(user).iter().map(String::as_str).chain([user]) {
            posts.extend(self.newest_of(author, 100));
        }
        for author in self.friends_of_friends(user) {
            posts.extend(self.newest_of(&author, 2));
        }
        let seen = |id: &Ulid| {
            let post = &self.posts[id];
            Seen {
                post: *id,
                author: post.author.clone(),
                engagement: post.likes + 2 * post.comments,
                points: self.points_of(user, &post.author),
            }
        };
        posts.iter().rev().take(ITEMS).map(seen).collect()
    }

    fn points_of(&self, user: &str, author: &str) -> u64 {
        self.points.get(&(user.to_owned(), author.to_owned())).copied().unwrap_or(0)
    }

    /// The user's timeline has been computed from the world as it is now.
    pub(crate) fn compute(&mut self, user: &str) {
        let moves = self.moves.get(user).copied().unwrap_or(0);
        let computed = Computed { moves, seen: self.candidates(user) };
        self.computed.insert(user.to_owned(), computed);
    }

    /// The computed timelines are gone, as after a restart.
    pub(crate) fn forget_computed(&mut self) {
        self.computed.clear();
    }

    /// Whether a fetch finds a timeline that was computed from the follows of now.
    pub(crate) fn is_computed(&self, user: &str) -> bool {
        let moves = self.moves.get(user).copied().unwrap_or(0);
        self.computed.get(user).is_some_and(|computed| computed.moves == moves)
    }

    /// The list that a first page fetched now is cut from.
    pub(crate) fn first(&self, user: &str, computed_at: u64) -> List {
        let rest = self.listed(user, computed_at).into();
        List { rest, followed: self.following(user).to_vec() }
    }

    fn listed(&self, user: &str, computed_at: u64) -> Vec<Item> {
        let item = |seen: &Seen| Item {
            post: seen.post,
            author: seen.author.clone(),
            parts: [
                age(seen.post, computed_at),
                part(0.5 * (1.0 + seen.points as f64).log2()),
                part(0.25 * (1.0 + seen.engagement as f64).log2()),
            ],
        };
        let Some(computed) = self.computed.get(user) else {
            return self.candidates(user).iter().map(item).collect();
        };
        if !self.is_computed(user) {
            return arranged(self.candidates(user).iter().map(item).collect());
        }
        let mut items: Vec<Item> = computed.seen.iter().map(item).collect();
        let known: HashSet<Ulid> = items.iter().map(|item| item.post).collect();
        for (id, post) in self.posts.range(Ulid::from_parts(computed_at, 0)..) {
            let mine = post.author == user || self.following(user).contains(&post.author);
            if mine && !post.deleted && !known.contains(id) {
                let points = self.points_of(user, &post.author);
                let parts = [1024, part(0.5 * (1.0 + points as f64).log2()), 0];
                items.push(Item { post: *id, author: post.author.clone(), parts });
            }
        }
        arranged(items)
    }

    /// The next page of a list: the items that may be shown now, `limit` of them while there are enough.
    pub(crate) fn page(&self, user: &str, list: &mut List, limit: usize) -> Vec<Item> {
        let mut page = Vec::new();
        while page.len() < limit
            && let Some(next) = list.rest.pop_front()
        {
            let unfollowed =
                list.followed.contains(&next.author) && !self.following(user).contains(&next.author);
            if self.is_visible(user, next.post) && !unfollowed {
                page.push(next);
            }
        }
        page
    }

    /// Whether a user may be shown a post now.
    pub(crate) fn is_visible(&self, user: &str, post: Ulid) -> bool {
        let post = &self.posts[&post];
        let blocked = |a: &str, b: &str| self.blocks.contains(&(a.to_owned(), b.to_owned()));
        !post.deleted && !blocked(user, &post.author) && !blocked(&post.author, user)
    }
}
