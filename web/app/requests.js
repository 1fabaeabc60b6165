// Who asks to follow this user, and what this user answers.
import { button, h, person, rows, status, text } from "./dom.js";
import { act, because, onDone, pending } from "./effects.js";
import { changed, onClient, pages } from "./live.js";
import { ending } from "./timeline.js";

const ANSWERS = "request.accept request.reject";
let list = { items: [] };

/** Those who wait for an answer. */
export const asking = () => list.items.filter((who) => pending(ANSWERS, ({ user }) => user === who).length === 0);

/** How many there are, as far as is known: `3`, or `50+`. */
export const howMany = () => `${asking().length}${list.next ? "+" : ""}`;

/** A link to the requests with their number, which `update` keeps correct; it is hidden while there are none. */
export function link(kind) {
  const count = h("b");
  const line = h(kind, { href: "#/requests" }, h("span", "Requests to follow you: ", count));
  line.update = () => {
    text(count, howMany());
    line.hidden = asking().length === 0;
  };
  return line;
}

export async function load() {
  const fresh = pages("request.list", { limit: 50 }, { turn: (items) => items.filter((who) => !fresh.items.includes(who)) });
  await fresh.more();
  if (fresh.loaded || !list.loaded) list = fresh;
  changed();
}

const without = (gone) => (list.items = list.items.filter((who) => who !== gone));

onClient((client) => {
  list = { items: [] };
  client.on("push:follow.requested", ({ by }) => (without(by), list.items.unshift(by), changed()));
});
onDone(`${ANSWERS} block.add`, (reply, { user }) => without(user));
// Who goes public lets in all who have asked.
onDone("privacy.update", ({ privacy }) => !privacy.private && load());

const answer = (label, type, user, look) => button(label, () => act(type, { user }), { ...look, "aria-label": `${label} @${user}` });

export function requests() {
  const [rest, note] = [h("ol.list", { "aria-label": "Requests" }), status()];
  const end = ending(() => list.more?.());
  const row = (who) => person(who, answer("Accept", "request.accept", who, { kind: "primary" }), answer("Reject", "request.reject", who));
  const element = h("div", h("h1", "Requests"),
    h("p.note.words", "Who you accept sees your posts, old ones included. Who you reject is not told, and may ask again."), note, rest, end);
  load();
  const update = () => {
    const { loaded, error, next } = list;
    rows(rest, asking(), (who) => who, row);
    text(note, error ? because(error) : asking().length > 0 ? "" : loaded ? "Nobody asks to follow you. While your account is private, who wants to follow you asks here." : "Loading…");
    end.update(!error && next);
  };
  return { title: "Requests", element, update };
}
