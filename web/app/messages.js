// Direct messages: the conversations, and one of them.
import { changed } from "./changes.js";
import { attribute, avatar, button, h, icon, moment, rich, rows, text } from "./dom.js";
import { act, because, keyOf } from "./effects.js";
import { unsent, writer } from "./comments.js";
import { conversations, isOnline, isTyping, load, read, tell, thread, watch } from "./conversations.js";
import { me } from "./live.js";

function line({ peer }) {
  const when = moment();
  const said = h("span", { class: "note quote" });
  const row = h("li", {}, h("a", { class: "panel row", href: `#/messages/${peer}` }, avatar(peer),
    h("span", {}, h("b", {}, `@${peer}`), " ", when, said)));
  row.update = ({ last, unread }) => {
    when.update(last.created_at);
    text(said, isTyping(peer) ? "is typing…" : (last.from === me() ? "You: " : "") + last.text);
    attribute(row.firstChild, "data-new", unread > 0);
    attribute(row.firstChild, "data-online", isOnline(peer));
  };
  return row;
}

export function messages(signal) {
  const list = h("ol", { class: "list", "aria-label": "Conversations" });
  const empty = h("div", { class: "empty" }, h("h2", {}, "No conversations yet"), h("p", {}, "Go to somebody's handle and press Message."));
  const element = h("div", {}, h("h1", {}, "Messages"), empty, list);
  watch(() => conversations().map(({ peer }) => peer), signal);
  const update = () => {
    const all = conversations();
    rows(list, all, ({ peer }) => peer, line);
    empty.hidden = all.length > 0;
  };
  return { title: "Messages", element, update };
}

function bubble({ from, text: said, id, error }) {
  const at = moment();
  const state = h("span", { class: "note" });
  const row = h("li", { class: from === me() ? "bubble mine" : "bubble" },
    h("span", { class: "hidden" }, from === me() ? "You: " : `@${from}: `), h("p", { class: "said" }, ...rich(said)),
    h("p", { class: "note" }, state, at), error ? unsent(id, error) : null);
  row.update = ({ created_at, pending }) => {
    at.update(created_at);
    text(state, pending ? "Sending… " : "");
    row.toggleAttribute("data-pending", pending === true);
  };
  return row;
}

export function conversation(peer, signal) {
  const list = h("ol", { "aria-label": "Conversation" });
  const earlier = button("Earlier messages", { class: "quiet", onclick: () => load(peer, true) });
  const note = h("p", { class: "note" });
  const log = h("div", { class: "log", role: "log", tabindex: 0, "aria-label": `Messages with @${peer}` }, earlier, note, list);
  const presence = h("span", { class: "note" });
  const typing = h("p", { class: "note typing", role: "status" });
  const write = writer({ label: "Message", most: 4000, enter: true, ontyping: () => tell(peer), send: { label: "Send", do: (text) => act("dm.send", { to: peer, text }) } });
  const element = h("div", { class: "conversation" },
    h("header", { class: "row" }, h("a", { href: "#/messages", class: "back", "aria-label": "All messages" }, icon("back")), avatar(peer),
      h("div", {}, h("h1", {}, h("a", { href: `#/u/${peer}` }, `@${peer}`)), presence)),
    log, typing, write);
  load(peer);
  watch(() => [peer], signal);

  let height = 0;
  let newest;
  const update = () => {
    const { items, next, loaded, error } = thread(peer);
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    rows(list, items, (item) => keyOf(item) + (item.error ? "!" : ""), bubble);
    attribute(earlier, "hidden", !next);
    text(note, error ? (error.code === "not_found" ? "There is nobody of that handle, or one of you has blocked the other." : because(error))
      : loaded && items.length === 0 ? "Nothing yet. Say hello!" : "");
    // At the end it stays at the end, and what comes in above moves nothing.
    const last = items.at(-1) && keyOf(items.at(-1));
    if (atEnd || height === 0 || (last !== newest && items.at(-1)?.from === me())) log.scrollTop = log.scrollHeight;
    else if (last === newest) log.scrollTop += log.scrollHeight - height;
    newest = last;
    height = log.scrollHeight;
    text(presence, isOnline(peer) ? "Online" : "");
    attribute(presence, "data-online", isOnline(peer));
    text(typing, isTyping(peer) ? `@${peer} is typing…` : "");
    if (!document.hidden) read(peer);
  };
  document.addEventListener("visibilitychange", changed, { signal });
  return { title: `@${peer}`, element, update };
}
