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
  "close.list": { body: Part; reply: List<Handle> };
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
  /** Answers a user who asks to join a group, who gets the push `group.joined` when they are in, or takes an invitation back; for its moderators. Without `user`, or with the sender's own handle, it answers the sender's invitation, and who invited them gets the push. `not_found` when nobody asks and nobody is invited. */
  "group.answer": { body: GroupAnswer; reply: OneMember };
  /** Bars a user from a group: they are out, and for them there is no such group. With `barred: false` they may come back. For its moderators, and of moderators for its owners; owners are not barred. Nobody is told. */
  "group.bar": { body: GroupBar; reply: OneMember };
  /** Makes a group, whose owner is the sender. */
  "group.create": { body: GroupCreate; reply: OneGroup };
  /** Deletes a group for everybody and for good; for its owners. Its posts are seen by their authors only. Nobody is told. */
  "group.delete": { body: Which; reply: Gone };
  /** Up to 20 public and closed groups whose name begins with a text, in order of their names; those that the sender may know of. */
  "group.find": { body: GroupFind; reply: Found };
  /** A group, and what the sender is in it. `not_found` when it is deleted, when the sender is barred from it, and when it is secret and they are neither in nor invited. */
  "group.get": { body: Which; reply: OneGroup };
  /** Takes a post in a group down; for the group's moderators. Nothing of it is lost. The author gets the push `post.removed` and still sees the post, online members get the event `post.deleted`. `forbidden` where a moderator of the deployment has taken it down. */
  "group.hide": { body: GroupHide; reply: OnePost };
  /** Invites a user into a group, who gets the push `group.invited`, once per group; for its moderators, and for all members where its `entry` is `open` or `ask`. Who asks to join is let in by a moderator's invitation. Fine when the user is in. */
  "group.invite": { body: WhoWhere; reply: OneMember };
  /** Becomes a member of a group whose `entry` is `open` or to which the sender is invited. Where it is `ask`, the sender asks: up to 20 moderators get the push `group.asked`, once per user. `forbidden` where it is `invite`. */
  "group.join": { body: Which; reply: OneMember };
  /** Leaves a group, takes a request back, or declines an invitation; fine when the sender is out. `conflict` for the only owner of a group. */
  "group.leave": { body: Which; reply: OneMember };
  /** Groups that the sender is in, asks to join, or is invited to, the newest of these states first. */
  "group.list": { body: Part; reply: List<OneGroup> };
  /** Who is in a group, newest first, without users across a block from the sender; `forbidden` to who is not in, unless the group is public. For its moderators also who asks to join, who is invited, and who is barred. */
  "group.members": { body: GroupMembers; reply: List<OneOf> };
  /** A group's posts, newest first, without those of users across a block from the sender; `forbidden` to who is not in, unless the group is public. */
  "group.posts": { body: GroupPosts; reply: List<Post> };
  /** Says what a member may do, who gets the push `group.role`; for a group's owners. A group may have several owners; what one is, only they themselves give up, and the last one cannot (`conflict`). Moderators may give theirs up, too. */
  "group.role": { body: GroupRole; reply: OneMember };
  /** Shows a post in a group again that a moderator of the group has taken down; for the group's moderators. Fine when it is shown. The author gets the push `post.restored`, online members the event `post.created`. `forbidden` where a moderator of the deployment has taken it down. */
  "group.show": { body: GroupShow; reply: OnePost };
  /** Changes what a group is; for its owners. From the reply on it holds for everything, what was posted before included. */
  "group.update": { body: GroupUpdate; reply: OneGroup };
  /** Likes a post. Its author gets the push `like.added`, once per liker. */
  "like.add": { body: Liked; reply: Likes };
  /** Takes the sender's like of a post back; fine when there is none. Where the sender may not see the post, the reply has no `likes`, and without a like it is `not_found`. */
  "like.remove": { body: Liked; reply: LikesLeft };
  /** Gives a URL to upload one picture of up to 64 MiB to. The push `media.ready` or `media.failed` reports the result. */
  "media.begin": { body: MediaBegin; reply: Begun };
  /** Posts. Online followers, or online members of the group, get the event `post.created`. */
  "post.create": { body: PostCreate; reply: OnePost };
  /** Deletes a post of the sender's. Online followers get the event `post.deleted`. */
  "post.delete": { body: PostDelete; reply: OnePost };
  /** A post. `not_found` when it is deleted, across a block, or not for the sender. */
  "post.get": { body: PostGet; reply: PostSeen };
  /** A user's posts, newest first, without those in groups. `not_found` across a block; `forbidden` when the user is private and the sender does not follow them. */
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
  "request.list": { body: Part; reply: List<Handle> };
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
  /** Somebody asks to join a group that you moderate; once per user. */
  "group.asked": GroupAsked;
  /** Somebody invites you into a group; once per group. */
  "group.invited": GroupInvited;
  /** You are a member of a group that you have asked to join, or somebody whom you have invited is. */
  "group.joined": Joined;
  /** What you may do in a group has changed. */
  "group.role": RoleGiven;
  /** Somebody likes your post; once per liker. */
  "like.added": LikeAdded;
  /** Your upload is no picture that may be shown, and is gone. */
  "media.failed": MediaFailed;
  /** Your picture may be shown. */
  "media.ready": MediaReady;
  /** A moderator of the deployment, or of its group, has taken your post down. */
  "post.removed": Decided;
  /** A moderator of the deployment, or of its group, shows your post again. */
  "post.restored": Decided;
  /** Holds the place of a push whose author and you have blocked each other since. */
  "withheld": Nothing;
}

/** What comes live, or not at all. */
export interface Events {
  /** Somebody whom you follow has posted, or a member of a group that you are in. */
  "post.created": OnePost;
  /** A post of somebody whom you follow, or in a group that you are in, is gone. */
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

/** Which users of a group. */
export type Among = "in" | "asked" | "invited" | "barred";

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

/** How somebody becomes a member. */
export type Entry = "open" | "ask" | "invite";

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

/** What was found. */
export interface Found {
  /** At most 20 groups, in order of their names. A longer text finds others. */
  groups: GroupSeen[];
}

/** Of whom a user takes something. Nobody needs leave from themselves. */
export type From = "everyone" | "followers" | "following" | "mutuals" | "nobody";

/** What was deleted. */
export interface Gone {
  /** The group's id. */
  group: string;
}

/** Which group, whom, and what. */
export interface GroupAnswer {
  /** Whether they become a member. */
  accept: boolean;
  /** The group's id. */
  group: string;
  /** Who asks to join, or is invited; the sender, who is invited, when absent. */
  user?: Handle | null;
}

/** The push to the moderators. */
export interface GroupAsked {
  /** Who asks to become a member. */
  by: Handle;
  /** The group's id. */
  group: string;
}

/** Which group, whom, and whether. */
export interface GroupBar {
  /** Whether they are barred from now on; `true` when absent. */
  barred?: boolean | null;
  /** The group's id. */
  group: string;
  /** The user's handle. */
  user: Handle;
}

/** A new group. */
export interface GroupCreate {
  /** What it is about; empty when absent. (maxLength 500) */
  about?: string;
  /** How somebody becomes a member: `open`, `ask` or `invite`. */
  entry: Entry;
  /** What it is called: one line of 2 characters and more. (minLength 2, maxLength 50) */
  name: string;
  /** Who sees it: `public`, `closed` or `secret`. */
  sight: Sight;
}

/** How a name begins. */
export interface GroupFind {
  /** At least 2 characters; small and capital letters are one. (minLength 2, maxLength 50) */
  name: string;
}

/** Which post, and why. */
export interface GroupHide {
  /** The group's id. */
  group: string;
  /** The id of a post in it. */
  post: string;
  /** What its author is told. (maxLength 500) */
  reason?: string | null;
}

/** The push to the invited. */
export interface GroupInvited {
  /** Who invites. */
  by: Handle;
  /** The group's id. */
  group: string;
}

/** Of which group, who, and which part of the list. */
export interface GroupMembers {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The group's id. */
  group: string;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
  /** `in` when absent; `asked`, `invited` and `barred` are for the group's moderators. */
  state?: Among | null;
}

/** Of which group, and which part of the list. */
export interface GroupPosts {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The group's id. */
  group: string;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
}

/** Which group, who, and what they may do. */
export interface GroupRole {
  /** The group's id. */
  group: string;
  /** `member`, `moderator` or `owner`. */
  role: MemberRole;
  /** The member's handle. */
  user: Handle;
}

/** A group as clients see it. */
export interface GroupSeen {
  /** What it is about; may be empty. */
  about: string;
  /** When it was made, RFC 3339 UTC with milliseconds. */
  created_at: string;
  /** How somebody becomes a member. */
  entry: Entry;
  /** Names the group. */
  id: string;
  /** How many members it has. */
  members: number;
  /** What it is called. */
  name: string;
  /** How many posts it has that are shown. */
  posts: number;
  /** Who sees it. */
  sight: Sight;
}

/** Which post. */
export interface GroupShow {
  /** The group's id. */
  group: string;
  /** The id of a post in it. */
  post: string;
}

/** Which group, and what to change: at least one of the fields. */
export interface GroupUpdate {
  /** What it is about. (maxLength 500) */
  about?: string | null;
  /** How somebody becomes a member: `open`, `ask` or `invite`. Who asks already stays one who asks. */
  entry?: Entry | null;
  /** The group's id. */
  group: string;
  /** What it is called: one line of 2 characters and more. (minLength 2, maxLength 50) */
  name?: string | null;
  /** Who sees it: `public`, `closed` or `secret`. */
  sight?: Sight | null;
}

export type Handle = string;

/** The push to who is in by an answer, and to who had invited them. */
export interface Joined {
  /** The group's id. */
  group: string;
  /** Who is a member now. */
  user: Handle;
}

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

/** What a member may do. */
export type MemberRole = "member" | "moderator" | "owner";

/** What a user is in a group. */
export type MemberState = "out" | "in" | "asked" | "invited" | "barred";

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

/** A group, and what the sender is in it. */
export interface OneGroup {
  /** The group. */
  group: GroupSeen;
  /** What the sender may do in it; missing when they are not in. */
  role?: MemberRole | null;
  /** What the sender is in it: `out`, `in`, `asked` or `invited`. */
  state: MemberState;
}

/** What somebody is in a group now. A later message may have come first. */
export interface OneMember {
  /** The group's id. */
  group: string;
  /** What they may do in it; missing when they are not in. */
  role?: MemberRole | null;
  /** What they are in it: `out`, `in`, `asked`, `invited` or `barred`. */
  state: MemberState;
  /** Who. */
  user: Handle;
}

/** What replies and pushes hold of one message. */
export interface OneMessage {
  /** The message. */
  message: DirectMessage;
}

/** One of them. */
export interface OneOf {
  /** What they may do; missing when they are not in. */
  role?: MemberRole | null;
  /** Who. */
  user: Handle;
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

/** Which part of a list, of the sender's own. */
export interface Part {
  /** The `next` of an earlier page. */
  before?: string | null;
  /** The most items; 20 when absent. (minimum 1, maximum 100) */
  limit?: number | null;
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
  /** The id of a group that the sender is in: it decides who sees the post, so `audience` is absent or `everyone`. */
  group?: string | null;
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

/** The push to the member. */
export interface RoleGiven {
  /** The group's id. */
  group: string;
  /** What they may do in it now. */
  role: MemberRole;
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

/** Who sees a group. */
export type Sight = "public" | "closed" | "secret";

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

/** Which group. */
export interface Which {
  /** The group's id. */
  group: string;
}

/** Which group, and who. */
export interface WhoWhere {
  /** The group's id. */
  group: string;
  /** The user's handle. */
  user: Handle;
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
