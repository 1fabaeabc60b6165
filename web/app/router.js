// Where the reader is: the part of the address after `#`.
import { changed, onChange } from "./changes.js";
import { attribute } from "./dom.js";

let table = [];
let leave = null;
let unread = () => 0;
let shown = { title: "" };
const lasting = new Map();

export const path = () => (location.hash.startsWith("#/") ? decodeURI(location.hash.slice(1)) : "/");
export const go = (to) => (location.hash = `#${to}`);

function named() {
  const count = unread();
  const title = `${count > 0 ? `(${count}) ` : ""}${shown.title} · Sound Off`;
  if (document.title !== title) document.title = title;
}
onChange(named);

/** Shows the page of the address. Its heading gets the focus, so that those who hear the page know where they are. */
function show(first) {
  const at = path();
  const route = table.find(({ pattern }) => pattern.test(at)) ?? table[0];
  const main = document.getElementById("main");
  leave?.();
  const stop = new AbortController();
  const page = lasting.get(route) ?? route.page(...(route.pattern.exec(at)?.slice(1) ?? []), stop.signal);
  if (route.lasting) lasting.set(route, page);
  shown = page;
  leave = () => {
    page.top = scrollY;
    stop.abort();
  };
  main.replaceChildren(page.element);
  page.update?.();
  if (page.update && !route.lasting) onChange(page.update, stop.signal);
  for (const link of document.querySelectorAll("#nav a")) attribute(link, "aria-current", isIn(link.hash.slice(1), at) ? "page" : null);
  named();
  changed();
  scrollTo({ top: page.top ?? 0, behavior: "instant" });
  if (first) return;
  const heading = main.querySelector("h1");
  attribute(heading, "tabindex", "-1");
  heading.focus({ preventScroll: true });
}

const isIn = (link, at) => (link === "/" ? at === "/" : at === link || at.startsWith(`${link}/`));
const moved = () => show(false);

/** Begins to show the pages of `routes` (`{pattern, page, lasting?}`); the first is the one for addresses that nobody knows. */
export function route(routes, counted) {
  table = routes;
  unread = counted;
  addEventListener("hashchange", moved);
  show(true);
}
