// Generated from docs/asyncapi.yaml by generate.mjs; a test fails when this copy is stale.

/** What a client sends, and what it gets back. */
export interface Messages {
  /** Blocks a user: nothing of one reaches the other, and neither follows the other any longer. */
  "block.add": { body: Whom; reply: Blocked };
  /** Takes a block back; fine when there is none. Follows do not come back. */
  "block.remove": { body: Whom; reply: Blocked };
  /** Names a user as close: they see the sender's posts of the audience `close`. They are not told. */
  "close.add": { body: Whom; reply: Named };
  /** Handles of those whom the sender has named as close, newest first, without users across a block. */
  "close.list": { body: CloseList; reply: List<Handle> };
  /** Names a user as close no longer; fine when the sender did not. From the reply on they see none of the posts for close friends, old ones included. */
  "close.remove": { body: Whom; reply: Named };
  /** Comments on a post. Its author gets the push `comment.created`, unless it is their own. */
  "comment.create": { body: CommentCreate; reply: OneComment };
  /** A post's comments, newest first, without those of users across a block from the sender. */
  "comment.list": { body: CommentList; reply: List<Comment> };
  /** Direct messages with a user, newest first, both ways. `not_found` across a block. */
  "dm.list": { body: DmList; reply: List<DirectMessage> };
  /** Writes to a user, who gets the push `dm.received`; the sender's devices get `dm.sent`. */
  "dm.send": { body: DmSend; reply: OneMessage };
  /** Follows a user, who gets the push `follow.added`, once per follower. A private user is asked, by the push `follow.requested`, and `state` is `requested`. */
  "follow.add": { body: Whom; reply: Followed };
  /** Handles of followers or followed, newest first, without users across a block from the sender. `forbidden` when the user is private and the sender does not follow them. */
  "follow.list": { body: FollowList; reply: List<Handle> };
  /** Follows a user no longer, and asks no longer to follow them; fine when the sender did not. */
  "follow.remove": { body: Whom; reply: Followed };
  /** Likes a post. Its author gets the push `like.added`, once per liker. */
  "like.add": { body: Liked; reply: Likes };
  /** Takes the sender's like of a post back; fine when there is none. Where the sender may not see the post, the reply has no `likes`, and without a like it is `not_found`. */
  "like.remove": { body: Liked; reply: LikesLeft };
  /** Gives a URL to upload one picture of up to 64 MiB to. The push `media.ready` or `media.failed` reports the result. */
  "media.begin": { body: MediaBegin; reply: Begun };
  /** Posts. Online followers get the event `post.created`. */
  "post.create": { body: PostCreate; reply: OnePost };
  /** Deletes a post of the sender's. Online followers get the event `post.deleted`. */
  "post.delete": { body: PostDelete; reply: OnePost };
  /** A post. `not_found` when it is deleted, across a block, or not for the sender. */
  "post.get": { body: PostGet; reply: PostSeen };
  /** A user's posts, newest first. `not_found` across a block; `forbidden` when the user is private and the sender does not follow them. */
  "post.list": { body: PostList; reply: List<Post> };
  /** Takes anybody's post down; for moderators. Nothing of it is lost. The author gets the push `post.removed` and still sees the post, online followers get the event `post.deleted`. */
  "post.remove": { body: PostRemove; reply: OnePost };
  /** Shows a post again that a moderator has taken down; for moderators. Fine when it is shown. The author gets the push `post.restored`, online followers the event `post.created`. */
  "post.restore": { body: PostRestore; reply: OnePost };
  /** Which of up to 100 users are online. Users across a block are not, nor are private users whom the sender does not follow. */
  "presence.get": { body: PresenceGet; reply: Presence };
  /** What the sender lets others see and do. */
  "privacy.get": { body: PrivacyGet; reply: OnePrivacy };
  /** Changes what the sender lets others see and do. From the reply on it holds for everything, what was posted before included. */
  "privacy.update": { body: PrivacyUpdate; reply: OnePrivacy };
  /** A user's profile. `not_found` across a block. */
  "profile.get": { body: ProfileGet; reply: OneProfile };
  /** Changes the sender's name (50 characters) or bio (300 characters). */
  "profile.update": { body: ProfileUpdate; reply: OneProfile };
  /** Lets a user follow the sender who has asked; they get the push `follow.accepted`. Fine when they follow already; `not_found` when they have not asked. */
  "request.accept": { body: Whom; reply: Answered };
  /** Handles of those who have asked to follow the sender, newest first. */
  "request.list": { body: RequestList; reply: List<Handle> };
  /** Refuses a user who has asked to follow the sender, and ends their follow if they do. Nobody is told. They may ask again. */
  "request.reject": { body: Whom; reply: Answered };
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
  /** Somebody whom you have asked lets you follow them. */
  "follow.accepted": Accepted;
  /** Somebody follows you; once per follower. */
  "follow.added": FollowAdded;
  /** Somebody asks to follow you; once per user. */
  "follow.requested": FollowAdded;
  /** Somebody likes your post; once per liker. */
  "like.added": LikeAdded;
  /** Your upload is no picture that may be shown, and is gone. */
  "media.failed": MediaFailed;
  /** Your picture may be shown. */
  "media.ready": MediaReady;
  /** A moderator has taken your post down. */
  "post.removed": Decided;
  /** A moderator shows your post again. */
  "post.restored": Decided;
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

/** The push to who has asked. */
export interface Accepted {
  /** Whom they follow now. */
  user: Handle;
}

/** A user's follow of the sender. */
export interface Answered {
  /** What their follow of the sender is now. */
  state: FollowState;
  /** The user's handle. */
  user: Handle;
}

/** Whom an author lets see a post. */
export type Audience = "everyone" | "followers" | "close";

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

/** Which part of the list. */
export interface CloseList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
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

/** The push to the author. */
export interface Decided {
  /** The id of their post. */
  post: string;
  /** Why, in the moderator's words. */
  reason?: string | null;
  /** What it is now. */
  state: State;
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

/** The push to the followed user, or to the one who is asked. */
export interface FollowAdded {
  /** Who follows, or wants to. */
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

/** What the sender's follow of a user is. */
export type FollowState = "none" | "requested" | "following";

/** The sender's follow of a user. */
export interface Followed {
  /** Whether the sender follows them now. A later message of the sender's may have come first. */
  following: boolean;
  /** The same, and whether the sender has asked to follow them, who are private. */
  state: FollowState;
  /** The user's handle. */
  user: Handle;
}

/** Of whom a user takes something. Nobody needs leave from themselves. */
export type From = "everyone" | "followers" | "following" | "mutuals" | "nobody";

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
  /** How many like it now; missing where the sender may not see the post. */
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

/** Whether a user is close to the sender. */
export interface Named {
  /** Whether the sender has named them as close. A later message of the sender's may have come first. */
  close: boolean;
  /** The user's handle. */
  user: Handle;
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

/** What replies hold of it. */
export interface OnePrivacy {
  /** The settings. */
  privacy: Settings;
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
  /** Whom its author lets see it; missing when that is `everyone`. */
  audience?: Audience;
  /** Who wrote it. */
  author: Handle;
  /** How many comments it has. */
  comments: number;
  /** When it was sent, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** The group that it is in. */
  group?: string | null;
  /** Names the post. */
  id: string;
  /** How many like it. */
  likes: number;
  /** What it shows. */
  media?: Media[];
  /** Why, in the moderator's words. */
  reason?: string | null;
  /** What moderators have decided; missing when it is `shown`. */
  state?: State;
  /** What it says; empty in `post.deleted`. */
  text: string;
}

/** A new post. */
export interface PostCreate {
  /** Whom it is for; everyone when absent. A private user's posts are for followers in any case. */
  audience?: Audience | null;
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

/** Which post, and what it is to be. */
export interface PostRemove {
  /** The id of anybody's post. */
  post: string;
  /** What its author is told. (maxLength 500) */
  reason?: string | null;
  /** `hidden` when absent. */
  state?: Removed | null;
}

/** Which post. */
export interface PostRestore {
  /** The id of a post that a moderator has taken down. */
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

/** Nothing to say. */
export type PrivacyGet = Record<string, never>;

/** What to change: at least one of the settings. */
export interface PrivacyUpdate {
  /** Who may comment on their posts, of those who see them. */
  comment_from?: From | null;
  /** Who may write to them: `everyone`, `followers`, `following`, `mutuals` or `nobody`. */
  dm_from?: From | null;
  /** Whose mentions reach them. */
  mention_from?: From | null;
  /** Only followers see the sender's posts and lists, and who wants to follow them must ask. Who follows them goes on.
With `false`, all who have asked follow them. */
  private?: boolean | null;
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
  /** Only their followers see their posts and lists, and who wants to follow them must ask; missing when that is not
so. Of oneself `privacy.get` says it. */
  private: boolean;
  /** What the sender's follow of them is; missing of oneself. */
  you?: FollowState | null;
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

/** How far a post is taken down. */
export type Removed = "hidden" | "held" | "limited";

/** Which part of the list. */
export interface RequestList {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
}

/** What the sender lets others see and do. */
export interface Settings {
  /** Who may comment on their posts, of those who see them. */
  comment_from: From;
  /** Who may write to them. */
  dm_from: From;
  /** Whose mentions reach them. */
  mention_from: From;
  /** Only followers see the sender's posts and lists, and who wants to follow them must ask. */
  private: boolean;
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

/** What moderators have decided about a post. */
export type State = "shown" | "limited" | "held" | "hidden";

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
