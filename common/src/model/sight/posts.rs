//! Posts as somebody sees them.

use ulid::Ulid;

use crate::model::posts::{Post, Signer, State, Stored};
use crate::model::sight::judge::{Door, may_see};
use crate::model::sight::people::is_moderator;
use crate::model::sight::standing::{Reading, Sighted};
use crate::ports::tables::{TableError, Tables};
use crate::protocol::{Handle, now_ms};
use crate::web::pictures::PictureKey;

/// A post that somebody names, and what they are to it.
#[derive(Debug)]
pub struct Opened {
    /// The post.
    pub post: Stored,
    /// What was read to judge it.
    pub sighted: Sighted,
}

impl Opened {
    /// The post as they see it: who does not see it as anybody would is its author or moderates it, and is told why.
    #[must_use]
    pub fn shown(self, id: Ulid, pictures: &PictureKey) -> Post {
        let viewer = self.sighted.viewer();
        let is_told = self.post.author == *viewer || matches!(self.post.state, State::Held | State::Hidden);
        let private = self.sighted.to(&self.post.author).is_private();
        seen(self.post, id, is_told, (viewer, private), pictures)
    }
}

/// A post as its own author sees it, who is `private` or not.
#[must_use]
pub fn own(post: Stored, id: Ulid, private: bool, pictures: &PictureKey) -> Post {
    let author = post.author.clone();
    seen(post, id, true, (&author, private), pictures)
}

/// A post as the moderator who has just decided about it sees it.
#[must_use]
pub fn moderated(post: Stored, id: Ulid, moderator: &Handle, pictures: &PictureKey) -> Post {
    seen(post, id, true, (moderator, true), pictures)
}

/// A post as it is announced to one of [`crate::model::sight::audience`]; its author is `private` or not.
#[must_use]
pub fn announced(post: Stored, id: Ulid, viewer: &Handle, private: bool, pictures: &PictureKey) -> Post {
    seen(post, id, false, (viewer, private), pictures)
}

/// Whether a post is announced to each viewer in words of their own: its pictures open for that viewer only.
#[must_use]
pub fn is_announced_to_each(post: &Stored, private: bool) -> bool {
    is_signed(post, private)
}

/// What is left of a post that is gone: its id and author, for those who have seen it.
#[must_use]
pub fn deleted(mut post: Stored, id: Ulid) -> Post {
    (post.text, post.media) = (String::new(), Vec::new());
    (post.state, post.reason) = (State::Shown, None);
    post.shown(id, None)
}

/// Whether a post's pictures open for one viewer only: those of a private author, or of a post that is not shown to
/// everybody.
fn is_signed(post: &Stored, private: bool) -> bool {
    !post.media.is_empty() && (private || !post.is_open())
}

/// The post for a viewer. Others than its author and its moderators see neither what was decided nor why.
fn seen(
    mut post: Stored,
    id: Ulid,
    is_told: bool,
    (viewer, private): (&Handle, bool),
    key: &PictureKey,
) -> Post {
    let signer = is_signed(&post, private).then(|| Signer { key, viewer, now: now_ms() / 1000 });
    if !is_told {
        (post.state, post.reason) = (State::Shown, None);
    }
    post.shown(id, signer.as_ref())
}

impl Sighted {
    /// Whether the viewer may see a post whose author and group were read.
    #[must_use]
    pub fn may_see(&self, post: &Stored, door: Door) -> bool {
        let within = post.group.map(|group| self.within(group));
        may_see(post, self.to(&post.author), within, door)
    }

    /// The post as the viewer sees it, if they may.
    #[must_use]
    pub fn post(&self, post: Stored, id: Ulid, door: Door, pictures: &PictureKey) -> Option<Post> {
        if !self.may_see(&post, door) {
            return None;
        }
        let is_told = post.author == *self.viewer();
        let private = self.to(&post.author).is_private();
        Some(seen(post, id, is_told, (self.viewer(), private), pictures))
    }
}

/// Reads what is still needed to judge some posts, in at most two calls; none when `sighted` knows it all.
///
/// # Errors
/// When the tables do not answer.
pub async fn look<'a>(
    tables: &dyn Tables,
    sighted: &mut Sighted,
    posts: impl Iterator<Item = &'a Stored> + Clone,
) -> Result<(), TableError> {
    let there = posts.filter(|post| !post.deleted);
    let mut reading = Reading::new(sighted.viewer());
    there.clone().filter(|post| !sighted.knows(post)).for_each(|post| reading.post(post));
    sighted.add(reading.read(tables).await?);
    sighted.settle(tables, there.map(|post| &post.author)).await
}

/// A post that `viewer` names by its id and that was read before, if they may see it. A moderator of the deployment sees
/// all that is not deleted. Whether blocks stand between the viewer and those `beside` it is read in the same call.
///
/// # Errors
/// When the tables do not answer.
pub async fn look_at<'a>(
    tables: &dyn Tables,
    viewer: &Handle,
    post: Stored,
    beside: impl Iterator<Item = &'a Handle>,
) -> Result<Option<Opened>, TableError> {
    if post.deleted {
        return Ok(None);
    }
    let mut reading = Reading::new(viewer);
    beside.for_each(|other| reading.blocks(other));
    reading.post(&post);
    let mut sighted = reading.read(tables).await?;
    sighted.settle(tables, std::iter::once(&post.author)).await?;
    if sighted.may_see(&post, Door::Link) || is_moderator(tables, viewer).await? {
        return Ok(Some(Opened { post, sighted }));
    }
    Ok(None)
}
