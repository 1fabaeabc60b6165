// What others did that concerns this user, in the order of arrival, the newest on top.
import { avatar, h, moment, slidingRows, text, user } from "./dom.js";
import { nameOf } from "./group.js";
import { changed, keep, kept, me, onClient, onKept } from "./live.js";
import { textOf } from "./posts.js";
import { link, load } from "./requests.js";

const MOST = 200;
const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
let items = [];
let seen = 0;

/** When a message was sent: its id begins with the time. */
const sentAt = (mid) => [...mid.slice(0, 10)].reduce((ms, digit) => ms * 32 + DIGITS.indexOf(digit), 0);

const yours = (id) => h("a", { href: `#/post/${id}` }, "your post");

const there = (id, more = "") => h("a", { href: `#/groups/${id}${more}` }, "a group");

/** Who did what, and its text. */
const KINDS = {
  "like.added": ({ by, post }) => [by, [" likes ", yours(post)], () => textOf(post)],
  "comment.created": ({ comment: { author, post, text } }) => [author, [" commented on ", yours(post)], () => text],
  "group.asked": ({ group, by }) => [by, [" asks to join ", there(group, "/members")], () => nameOf(group)],
  "group.invited": ({ group, by }) => [by, [" invites you into ", there(group)], () => nameOf(group)],
  "group.joined": ({ group, user }) => [user, [user === me() ? ", you are a member of " : " is a member of ", there(group)], () => nameOf(group)],
  "group.role": ({ group, role }) => [null, [`You are now ${role === "owner" ? "an" : "a"} ${role} of `, there(group)], () => nameOf(group)],
  "follow.added": ({ by }) => [by, [" follows you"]],
  "follow.requested": ({ by }) => [by, [" asks to follow you: ", h("a", { href: "#/requests" }, "answer")]],
  "follow.accepted": ({ user }) => [user, [" lets you follow them"]],
  "post.removed": ({ post, reason }) => [null, ["A moderator has taken down ", yours(post)], () => reason ?? ""],
  "post.restored": ({ post }) => [null, ["A moderator shows again ", yours(post)], () => textOf(post)],
};

onClient((client) => {
  items = kept("notifications", []);
  seen = kept("seen", 0);
  client.on("push", ({ seq, type, mid, body }) => {
    if (!KINDS[type] || items.some((item) => item.seq === seq)) return;
    items = [{ seq, type, at: sentAt(mid), body }, ...items].slice(0, MOST);
    keep("notifications", items);
    changed();
  });
  onKept("seen", (now) => (seen = now));
});

const isNew = ({ seq }) => seq > seen;
export const unseen = () => items.filter(isNew).length;

function row(item) {
  const [by, did, quote] = KINDS[item.type](item.body);
  const when = moment();
  const said = h("bdi.note.quote");
  const line = h("li.panel.row", avatar(by ?? "!"), h("div", h("p", by && user(by), ...did, " ", when), said));
  line.toggleAttribute("data-new", isNew(item));
  line.update = () => {
    when.update(item.at);
    text(said, quote?.() ?? "");
  };
  return line;
}

export function notifications() {
  const list = h("ol.list", { "aria-label": "Notifications", "aria-live": "polite" });
  const asks = link("a.panel.row.asks");
  const empty = h("div.empty", h("h2", "Nothing yet"), h("p", "Likes and comments on your posts come in here, who follows you, and who asks to."));
  const element = h("div", h("h1", "Notifications"), asks, empty, list);
  load();
  const update = () => {
    asks.update();
    slidingRows(list, items, ({ seq }) => seq, row);
    empty.hidden = items.length > 0;
    if (document.hidden || unseen() === 0) return;
    seen = items[0].seq;
    keep("seen", seen);
    changed();
  };
  return { title: "Notifications", element, update };
}
