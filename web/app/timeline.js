// Home: write a post, read the timeline.
import { button, h, plural, status, text } from "./dom.js";
import { composer } from "./compose.js";
import { feed, letIn, more, showNew } from "./feed.js";
import { cards } from "./post_card.js";
import { onChange } from "./live.js";

/** How far from the top a reader still counts as being at the top. */
const TOP = 80;

/** The end of a list: `reached` is called while it is near the reader, as long as `update` was told that there is more. */
export function ending(reached) {
  let near = false;
  const end = h("div.ending");
  new IntersectionObserver(([entry]) => {
    near = entry.isIntersecting;
    if (near) reached();
  }, { rootMargin: "600px" }).observe(end);
  end.update = (isMore) => {
    end.hidden = !isMore;
    if (isMore && near) reached();
  };
  return end;
}

export function home() {
  const list = h("section.list", { "aria-label": "Timeline" });
  const heading = h("h1.hidden", { tabindex: -1 }, "Home");
  const news = button("", () => (showNew(), scrollTo({ top: 0 }), heading.focus()), { kind: "primary", hidden: true });
  const said = h("p.hidden", { role: "status" });
  const empty = h("div.empty", h("h2", "It is quiet here"),
    h("p", "Say something above, or go to somebody's handle and follow them: what they post comes in here by itself."));
  const loading = status();
  const end = ending(more);
  const writing = composer();
  const element = h("div", heading, writing, h("div.news", news), said, empty, list, end, loading);

  const isTyping = () => list.contains(document.activeElement) && document.activeElement.matches("textarea");
  letIn(() => element.isConnected && !document.hidden && scrollY <= TOP && !isTyping());
  const update = () => {
    if (!element.isConnected) return;
    writing.update();
    const { items, next, fresh, loaded, busy, error } = feed();
    const shown = cards(list, items, () => true);
    const words = fresh > 0 ? plural(fresh, "new post") : "";
    text(news, words);
    text(said, words);
    news.hidden = fresh === 0;
    empty.hidden = !loaded || shown > 0;
    end.update(next && !error);
    text(loading, busy || (!loaded && shown === 0) ? "Loading…" : "");
  };
  onChange(update);
  return { title: "Home", element, update };
}
