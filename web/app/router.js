// Where the reader is: the part of the address after `#`.
import { attribute } from "./dom.js";
import { changed, onChange } from "./live.js";

let table = [];
let leave = () => {};
let unread;
let shown;
const lasting = new Map();

export const path = () => (location.hash.startsWith("#/") ? decodeURI(location.hash.slice(1)) : "/");
export const go = (to) => (location.hash = `#${to}`);

/** Shows the page of the address. Its heading gets the focus, so that users of screen readers know where they are. */
function show() {
  const at = path();
  const route = table.find(({ pattern }) => pattern.test(at)) ?? table[0];
  const main = document.getElementById("main");
  const isFirst = shown === undefined;
  leave();
  const stop = new AbortController();
  const page = lasting.get(route) ?? route.page(...(route.pattern.exec(at)?.slice(1) ?? []), stop.signal);
  if (route.lasting) lasting.set(route, page);
  else onChange(page.update, stop.signal);
  shown = page;
  leave = () => {
    page.top = scrollY;
    stop.abort();
  };
  main.replaceChildren(page.element);
  page.update();
  for (const link of document.querySelectorAll("#nav a")) attribute(link, "aria-current", isIn(link.hash.slice(1), at) && "page");
  changed();
  scrollTo({ top: page.top ?? 0, behavior: "instant" });
  if (!isFirst) focusHeading(main);
}

export function focusHeading(place) {
  const heading = place.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

const isIn = (link, at) => at === link || (link !== "/" && at.startsWith(`${link}/`));

/** Begins to show the pages of `routes` (`{pattern, page, lasting?}`); the first is for unknown addresses. Titles show what is unread. */
export function route(routes, counted) {
  table = routes;
  unread = counted;
  addEventListener("hashchange", show);
  onChange(() => {
    const title = `${unread() > 0 ? `(${unread()}) ` : ""}${shown.title} · Sound Off`;
    if (document.title !== title) document.title = title;
  });
  show();
}
