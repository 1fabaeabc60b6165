// Home: write a post, read the timeline.
import { onChange } from "./changes.js";
import { announce, button, h, plural, rows } from "./dom.js";
import { keyOf, open, written } from "./effects.js";
import { composer } from "./compose.js";
import { letIn, more, showNew, state } from "./feed.js";
import { postCard } from "./post_card.js";

/** How far from the top a reader still counts as being there. */
const TOP = 80;

/** What of posts this user has on the way. */
const mine = () => open("post.create").map((entry) => ({ ...written(entry), post: { ...written(entry), likes: 0, comments: 0 } })).reverse();

/** Calls `reached` when the end of a list comes near. */
export function ending(reached) {
  const end = h("div", { class: "ending", "aria-hidden": "true" });
  new IntersectionObserver(([entry]) => entry.isIntersecting && reached(), { rootMargin: "600px" }).observe(end);
  return end;
}

export function home() {
  const list = h("div", { class: "list", role: "feed", "aria-label": "Timeline" });
  const news = button("", { class: "news primary", onclick: () => (showNew(), scrollTo({ top: 0 }), list.firstElementChild?.focus()) });
  const empty = h("div", { class: "empty" },
    h("h2", {}, "It is quiet here"),
    h("p", {}, "Say something above, or go to somebody's handle and follow them: what they post comes in here by itself."));
  const loading = h("p", { class: "note", role: "status" });
  const end = ending(more);
  const element = h("div", {}, h("h1", { class: "hidden" }, "Home"), composer(), h("div", { class: "news-box" }, news), empty, list, end, loading);

  const typing = () => list.contains(document.activeElement) && document.activeElement.matches("textarea");
  letIn(() => element.isConnected && !document.hidden && scrollY <= TOP && !typing());
  let told = 0;
  const update = () => {
    if (!element.isConnected) return;
    const { items, next, fresh, loaded, reading } = state();
    const all = [...mine(), ...items.map((item) => ({ ...item, id: item.post.id }))];
    rows(list, all, (item) => keyOf(item) + (item.error ? "!" : ""), (item) => postCard(item));
    news.textContent = plural(fresh, "new post");
    news.hidden = fresh === 0;
    if (fresh > told) announce(plural(fresh, "new post"));
    told = fresh;
    empty.hidden = !loaded || all.length > 0;
    end.hidden = !next;
    loading.textContent = (!loaded && all.length === 0) || (reading && next) ? "Loading…" : "";
  };
  onChange(update);
  return { title: "Home", element, update };
}
