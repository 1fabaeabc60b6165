// Generated from docs/asyncapi.yaml by generate.mjs; a test fails when this copy is stale.

/** What a client sends, and what it gets back. */
export interface Messages {
  /** Blocks a user: nothing of one reaches the other, and neither follows the other any longer. */
  "block.add": { body: Whom; reply: Blocked };
  /** Takes a block back; fine when there is none. Follows do not come back. */
  "block.remove": { body: Whom; reply: Blocked };
  /** Comments on a post. Its author gets the push `comment.created`, unless it is their own. */
  "comment.create": { body: CommentCreate; reply: OneComment };
  /** A post's comments, newest first, without those of users across a block from the sender. */
  "comment.list": { body: CommentList; reply: List<Comment> };
  /** Direct messages with a user, newest first, both ways. `not_found` across a block. */
  "dm.list": { body: DmList; reply: List<DirectMessage> };
  /** Writes to a user, who gets the push `dm.received`; the sender's devices get `dm.sent`. */
  "dm.send": { body: DmSend; reply: OneMessage };
  /** Follows a user, who gets the push `follow.added`, once per follower. */
  "follow.add": { body: Whom; reply: Followed };
  /** Handles of followers or followed, newest first, without users across a block from the sender. */
  "follow.list": { body: FollowList; reply: List<Handle> };
  /** Follows a user no longer; fine when the sender did not. */
  "follow.remove": { body: Whom; reply: Followed };
  /** Likes a post. Its author gets the push `like.added`, once per liker. */
  "like.add": { body: Liked; reply: Likes };
  /** Takes the sender's like of a post back; fine when there is none. Across a block the reply has no `likes`, and without a like it is `not_found`. */
  "like.remove": { body: Liked; reply: LikesLeft };
  /** Gives a URL to upload one picture of up to 64 MiB to. The push `media.ready` or `media.failed` reports the result. */
  "media.begin": { body: MediaBegin; reply: Begun };
  /** Posts. Online followers get the event `post.created`. */
  "post.create": { body: PostCreate; reply: OnePost };
  /** Deletes a post of the sender's. Online followers get the event `post.deleted`. */
  "post.delete": { body: PostDelete; reply: OnePost };
  /** A post. `not_found` when it is deleted, or across a block. */
  "post.get": { body: PostGet; reply: PostSeen };
  /** A user's posts, newest first. `not_found` across a block. */
  "post.list": { body: PostList; reply: List<Post> };
  /** Takes anybody's post down; for moderators. The author gets the push `post.removed`, online followers the event `post.deleted`. */
  "post.remove": { body: PostRemove; reply: OnePost };
  /** Which of up to 100 users are online. Users across a block are not. */
  "presence.get": { body: PresenceGet; reply: Presence };
  /** A user's profile. `not_found` across a block. */
  "profile.get": { body: ProfileGet; reply: OneProfile };
  /** Changes the sender's name (50 characters) or bio (300 characters). */
  "profile.update": { body: ProfileUpdate; reply: OneProfile };
  /** The sender's timeline, precomputed and repaired to what is true now. Comes unasked after `welcome`, as the event `timeline`. */
  "timeline.fetch": { body: Fetch; reply: Page };
  /** Tells a user, as the event `typing`, that the sender is writing to them. */
  "typing": { body: Typing; reply: Noted };
}

/** What comes through the inbox, each once and in order. */
export interface Pushes {
  /** Somebody has commented on your post. */
  "comment.created": OneComment;
  /** Somebody has written to you. */
  "dm.received": OneMessage;
  /** You have written to somebody, on whichever device. */
  "dm.sent": OneMessage;
  /** Somebody follows you; once per follower. */
  "follow.added": FollowAdded;
  /** Somebody likes your post; once per liker. */
  "like.added": LikeAdded;
  /** Your upload is no picture that may be shown, and is gone. */
  "media.failed": MediaFailed;
  /** Your picture may be shown. */
  "media.ready": MediaReady;
  /** A moderator has taken your post down. */
  "post.removed": Removed;
  /** Holds the place of a push whose author and you have blocked each other since. */
  "withheld": Nothing;
}

/** What comes live, or not at all. */
export interface Events {
  /** Somebody whom you follow has posted. */
  "post.created": OnePost;
  /** A post of somebody whom you follow is gone. */
  "post.deleted": OnePost;
  /** The first page of your timeline, right after `welcome`. */
  "timeline": Page;
  /** Somebody writes to you. */
  "typing": TypingEvent;
}

/** A page of a list, newest first. */
export interface List<Item> {
  items: Item[];
  /** Give this as `before` to get the page after; null at the end. */
  next: string | null;
}

/** Where to upload it. */
export interface Begun {
  /** The medium's id, for `post.create` once the push `media.ready` has come. */
  media: string;
  /** Where to upload it. */
  upload: Upload;
}

/** The sender's block of a user. */
export interface Blocked {
  /** Whether the sender blocks them now. A later message of the sender's may have come first. */
  blocked: boolean;
  /** The user's handle. */
  user: Handle;
}

/** A comment. */
export interface Comment {
  /** Who wrote it. */
  author: Handle;
  /** When it was sent, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** Names the comment. */
  id: string;
  /** The post it is about. */
  post: string;
  /** What it says. */
  text: string;
}

/** A new comment. */
export interface CommentCreate {
  /** The id of the post it is about. */
  post: string;
  /** What it says. (minLength 1, maxLength 1000) */
  text: string;
}

/** Which post's comments, and which part of the list. */
export interface CommentList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
  /** The post's id. */
  post: string;
}

/** A direct message. */
export interface DirectMessage {
  /** When it was sent, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** Who wrote it. */
  from: Handle;
  /** Names the message. */
  id: string;
  /** What it says. */
  text: string;
  /** To whom. */
  to: Handle;
}

/** Which side of following. */
export type Direction = "followers" | "following";

/** With whom, and which part of the list. */
export interface DmList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
  /** The other user. */
  with: Handle;
}

/** A direct message. */
export interface DmSend {
  /** What it says. (minLength 1, maxLength 4000) */
  text: string;
  /** To whom. */
  to: Handle;
}

/** Which part of the timeline. */
export interface Fetch {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
}

/** The push to the followed user. */
export interface FollowAdded {
  /** Who follows. */
  by: Handle;
}

/** Whose list, which one, and which part of it. */
export interface FollowList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** `followers` or `following`. */
  direction: Direction;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
  /** The user; the sender when absent. */
  user?: Handle | null;
}

/** The sender's follow of a user. */
export interface Followed {
  /** Whether the sender follows them now. A later message of the sender's may have come first. */
  following: boolean;
  /** The user's handle. */
  user: Handle;
}

export type Handle = string;

/** The push to the author. */
export interface LikeAdded {
  /** Who likes it. */
  by: Handle;
  /** The id of their post. */
  post: string;
}

/** Which post. */
export interface Liked {
  /** The post's id. */
  post: string;
}

/** A post's likes, with the sender's own message counted. */
export interface Likes {
  /** Whether the sender likes it now. A later message of the sender's may have come first. */
  liked: boolean;
  /** How many like it now. */
  likes: number;
  /** The post's id. */
  post: string;
}

/** A post's likes after one was taken back. */
export interface LikesLeft {
  /** Whether the sender likes it now. A later message of the sender's may have come first. */
  liked: boolean;
  /** How many like it now; missing across a block. */
  likes?: number | null;
  /** The post's id. */
  post: string;
}

/** A medium as clients see it. */
export interface Media {
  /** How many bytes are at `url`. */
  bytes: number;
  /** Such as `image/jpeg`. */
  content_type: string;
  /** Where a smaller one for lists is, at most 1080 pixels a side. */
  feed: string;
  /** Pixels from top to bottom. */
  height: number;
  /** Names it, in `post.create`. */
  id: string;
  /** Where a small one is, at most 320 pixels a side. */
  thumb: string;
  /** The path of all of it on the server. One that has a query is for this reader only, and works for some minutes: ask
for the post again for another. */
  url: string;
  /** Pixels from left to right. */
  width: number;
}

/** What the client wants to upload. */
export interface MediaBegin {
  /** How many bytes it has, exactly. (minimum 1, maximum 67108864) */
  bytes: number;
}

/** What the owner hears of one that must not be shown. */
export interface MediaFailed {
  /** The medium's id. */
  id: string;
  /** Why. */
  reason: string;
}

/** What the owner hears of a picture that may be shown. */
export interface MediaReady {
  /** The picture. */
  media: Media;
}

/** Nothing to say. */
export type Noted = Record<string, never>;

/** An empty body or reply. */
export type Nothing = Record<string, never>;

/** What the reply and the push hold. */
export interface OneComment {
  /** The comment. */
  comment: Comment;
}

/** What replies and pushes hold of one message. */
export interface OneMessage {
  /** The message. */
  message: DirectMessage;
}

/** What replies and events hold of one post. */
export interface OnePost {
  /** The post. */
  post: Post;
}

/** What replies hold of one user. */
export interface OneProfile {
  /** The user. */
  user: Profile;
}

/** A page of a timeline. */
export interface Page {
  /** The time that the scores are of, RFC 3339 UTC with milliseconds. */
  computed_at: string;
  /** The items, in the order in which to show them. */
  items: Shown[];
  /** Give it as `before` for the page after this one; null at the end. */
  next?: string | null;
}

/** A post as clients see it. */
export interface Post {
  /** Who wrote it. */
  author: Handle;
  /** How many comments it has. */
  comments: number;
  /** When it was sent, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** Names the post. */
  id: string;
  /** How many like it. */
  likes: number;
  /** What it shows. */
  media?: Media[];
  /** What it says; empty in `post.deleted`. */
  text: string;
}

/** A new post. */
export interface PostCreate {
  /** Ids of media of the sender's that have passed their check. (maxItems 4) */
  media?: string[] | null;
  /** What it says; at least one character, unless there are media. (maxLength 2000) */
  text?: string;
}

/** Which post. */
export interface PostDelete {
  /** The id of a post of the sender. */
  post: string;
}

/** Which post. */
export interface PostGet {
  /** The post's id. */
  post: string;
}

/** Whose posts, and which part of the list. */
export interface PostList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
  /** The author; the sender when absent. */
  user?: Handle | null;
}

/** Which post. */
export interface PostRemove {
  /** The id of anybody's post. */
  post: string;
}

/** A post as the sender sees it. */
export interface PostSeen {
  /** Whether the sender likes it. */
  liked: boolean;
  /** The post. */
  post: Post;
}

/** Who is there. */
export interface Presence {
  /** Those of the users who have a live socket, in the order asked. */
  online: Handle[];
}

/** Of whom. */
export interface PresenceGet {
  /** Handles; what is no user's counts as offline. (maxItems 100) */
  users: string[];
}

/** A user's public face. */
export interface Profile {
  /** What they say of themselves; empty at first. */
  bio: string;
  /** When they joined, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** How many follow them. */
  followers: number;
  /** How many they follow. */
  following: number;
  /** Who. */
  handle: Handle;
  /** The name they chose to show; empty at first. */
  name: string;
  /** How many posts they have. */
  posts: number;
}

/** Whose profile. */
export interface ProfileGet {
  /** The user; the sender when absent. */
  user?: Handle | null;
}

/** What to change: at least one of the fields. */
export interface ProfileUpdate {
  /** What the user says of themselves; empty for nothing. (maxLength 300) */
  bio?: string | null;
  /** The name to show, one line; empty for none. (maxLength 50) */
  name?: string | null;
}

/** The push to the author. */
export interface Removed {
  /** The id of their post. */
  post: string;
}

/** One post of a timeline. */
export interface Shown {
  /** The post as it is now. */
  post: Post;
  /** What ranked it, as of `computed_at`. */
  score: number;
  /** The parts of the score. */
  why: Why;
}

/** To whom. */
export interface Typing {
  /** The user who sees it. */
  to: Handle;
}

/** What the other user sees. */
export interface TypingEvent {
  /** Who writes. */
  from: Handle;
}

/** The address of one upload. */
export interface Upload {
  /** Until when it is valid, RFC 3339 UTC with milliseconds. */
  expires_at: string;
  /** The HTTP method: `PUT`, with the picture as body. */
  method: string;
  /** A URL, or the path and query of one on this server. Anybody who has it may upload: keep it to yourself. */
  url: string;
}

/** Which user. */
export interface Whom {
  /** The user's handle. */
  user: Handle;
}

/** What an item's score is made of. The parts sum to the score exactly. */
export interface Why {
  /** For how much the reader interacts with its author. */
  affinity: number;
  /** For being new. */
  age: number;
  /** For likes and comments. */
  popularity: number;
}
