// Direct messages: the conversations, and one of them.
import { attribute, avatar, button, h, icon, moment, rich, rows, slidingRows, text, user } from "./dom.js";
import { act, keyOf, unsent, whyNobody } from "./effects.js";
import { writer } from "./comments.js";
import { conversations, conversationWith, discover, isOnline, isTyping, read, tell, watch } from "./conversations.js";
import { me } from "./live.js";

function line({ peer }) {
  const when = moment();
  const said = h("bdi.note.quote");
  const link = h("a.panel.row", { href: `#/messages/${peer}` }, avatar(peer), h("span", h("b", `@${peer}`), " ", when, said));
  const row = h("li", link);
  row.update = ({ last, unread }) => {
    when.update(last.created_at);
    text(said, isTyping(peer) ? "is typing…" : (last.from === me() ? "You: " : "") + last.text);
    link.toggleAttribute("data-new", unread > 0);
    link.toggleAttribute("data-online", isOnline(peer));
  };
  return row;
}

export function messages(signal) {
  const list = h("ol.list", { "aria-label": "Conversations" });
  const empty = h("div.empty", h("h2", "No conversations yet"), h("p", "Go to somebody's handle and press Message."));
  const element = h("div", h("h1", "Messages"), empty, list);
  discover();
  watch(() => conversations().map(({ peer }) => peer), signal);
  const update = () => {
    slidingRows(list, conversations(), ({ peer }) => peer, line);
    empty.hidden = list.childElementCount > 0;
  };
  return { title: "Messages", element, update };
}

function bubble({ from, text: said, id, error }) {
  const at = moment();
  const state = h("span");
  const mine = from === me();
  const row = h(`li.bubble${mine ? ".mine" : ""}`, h("span.hidden", mine ? "You: " : `@${from}: `), h("p.said", ...rich(said)),
    h("p.note", state, at), error && unsent(id));
  row.update = ({ created_at, pending }) => {
    at.update(created_at);
    text(state, pending ? "Sending… " : "");
    row.toggleAttribute("data-pending", pending === true);
  };
  return row;
}

export function conversation(peer, signal) {
  const list = h("ol", { "aria-label": "Conversation" });
  const earlier = button("Earlier messages", () => conversationWith(peer).more(), { kind: "quiet" });
  const note = h("p.note");
  const log = h("div.log", { role: "log", tabindex: 0, "aria-label": `Messages with @${peer}` }, h("div", earlier, note, list));
  const presence = h("span.note");
  const typing = h("p.note.typing", { role: "status" });
  const write = writer("Message", "Send", 4000, (text) => (act("dm.send", { to: peer, text }), (log.scrollTop = 0)), { enter: true, ontyping: () => tell(peer) });
  const element = h("div.conversation",
    h("div.row", h("a.back", { href: "#/messages", "aria-label": "All messages" }, icon("back")), avatar(peer), h("div", h("h1", user(peer)), presence)),
    log, typing, write);
  watch(() => [peer], signal);

  const update = () => {
    const { items, next, loaded, error } = conversationWith(peer);
    rows(list, items, keyOf, bubble);
    earlier.hidden = !next;
    text(note, error ? whyNobody(error) : items.length > 0 ? "" : loaded ? "Nothing yet. Say hello!" : "Loading…");
    text(presence, isOnline(peer) ? "Online" : "");
    attribute(presence, "data-online", isOnline(peer));
    text(typing, isTyping(peer) ? `@${peer} is typing…` : "");
    if (!document.hidden) read(peer);
  };
  return { title: `@${peer}`, element, update };
}
