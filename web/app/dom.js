// Building the page, and keeping lists of it up to date without touching what has not changed.

/** An element, such as `h("p.note", { role: "status" }, "…")`. Listeners are `onclick` and so on. No inline style: the page's policy forbids it. */
export function h(name, ...content) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const props = content[0]?.constructor === Object ? content.shift() : {};
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else attribute(element, key, value);
  }
  element.append(...content.filter((child) => child ?? false));
  return element;
}

/** Sets an attribute, or removes it; does nothing when it is right already. */
export function attribute(element, name, value) {
  if (value === false || value === undefined || value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value)) element.setAttribute(name, value === true ? "" : value);
}

export function text(element, value) {
  if (element.textContent !== String(value)) element.textContent = value;
}

/** Makes `parent` show one row for each item. Rows keep their elements and their focus. An item that has failed gets another row than one that waits. */
export function rows(parent, items, keyOf, make) {
  const known = (parent.known ??= new Map());
  const keys = items.map((item) => keyOf(item) + (item.error ? "!" : ""));
  const wanted = new Set(keys);
  let lost = null;
  for (const [key, row] of known) {
    if (wanted.has(key)) continue;
    if (row.contains(document.activeElement)) lost = row.nextElementSibling ?? row.previousElementSibling ?? parent;
    row.remove();
    known.delete(key);
  }
  let at = parent.firstElementChild;
  items.forEach((item, index) => {
    const row = known.get(keys[index]) ?? make(item);
    known.set(keys[index], row);
    row.update?.(item);
    if (row === at) at = at.nextElementSibling;
    else parent.insertBefore(row, at);
  });
  if (!lost) return;
  // Who uses the keyboard goes on at the neighbour of what is gone.
  const near = lost.isConnected && lost.querySelector("button, a");
  parent.tabIndex = -1;
  (near || parent).focus({ preventScroll: true });
}

/** The same for a list in which rows come in above others. The reader sees the others move to their new places, and nothing jumps. */
export function slidingRows(list, ...how) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return rows(list, ...how);
  // Rows come in by themselves only while the reader is at the top of the page: only the first ones can be seen.
  const before = [...list.children].slice(0, 20).map((row) => [row, row.offsetTop]);
  rows(list, ...how);
  for (const [row, top] of before) {
    const by = top - row.offsetTop;
    if (by && row.isConnected) row.animate({ transform: [`translateY(${by}px)`, "none"] }, { duration: 250, easing: "ease-out" });
  }
}

const PATHS = {
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
  messages: "M4 5h16v11H9l-5 4z",
  notifications: "M6 17V11a6 6 0 0 1 12 0v6l1.5 1.500h-15zM10 21h4",
  groups: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 13.5a6.5 6.5 0 0 1 3.5 6",
  profile: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.500a7.5 7.5 0 0 1 15 0",
  remove: "M12 3l8 3v6c0 4.5-3.5 7.5-8 9-4.5-1.5-8-4.5-8-9V6zM9 9l6 6M15 9l-6 6",
  out: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  like: "M12 20S4 15 4 9.500A4.3 4.3 0 0 1 12 7.5 4.3 4.3 0 0 1 20 9.500C20 15 12 20 12 20z",
  comment: "M20 12a8 7.5 0 0 1-11.5 6.700L4 20l1.2-4A8 7.5 0 1 1 20 12z",
  why: "M5 20v-7M12 20V5M19 20v-10",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.500h.01",
  back: "M19 12H5M11 6l-6 6 6 6",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  attribute(path, "d", PATHS[name]);
  attribute(svg, "viewBox", "0 0 24 24");
  attribute(svg, "aria-hidden", "true");
  svg.append(path);
  return svg;
}

/** A button with `label` as its text, or with an icon. */
export function button(label, onclick, { kind = "", picture, ...more } = {}) {
  const named = picture ? { "aria-label": label, title: label } : {};
  return h(`button${kind && `.${kind}`}`, { type: "button", onclick, ...named, ...more }, picture ? icon(picture) : label);
}

/** A user's initial, on a colour that is the same every time. */
export function avatar(handle) {
  const face = h("span.avatar", { "aria-hidden": "true" }, [...handle][0].toUpperCase());
  face.style.setProperty("--hue", [...handle].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 7));
  return face;
}

/** A line that screen readers read out when it changes. */
export const status = (words = "") => h("p.note", { role: "status" }, words);

export const user = (handle) => h("a", { href: `#/u/${handle}` }, `@${handle}`);

/** A row about a user, with buttons for what may be done. */
export const person = (handle, ...buttons) => h("li.panel.row.who", avatar(handle), user(handle), ...buttons);

/** Text with links to the handles and addresses in it. */
export function rich(said) {
  const pieces = said.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)]|(?<![\w@])@[a-z0-9_]{3,30}\b)/);
  return pieces.map((piece, at) => {
    if (at % 2 === 0) return piece;
    return piece[0] === "@" ? user(piece.slice(1)) : h("a", { href: piece, rel: "noopener noreferrer nofollow ugc", target: "_blank" }, piece);
  });
}

const UNITS = [[3_600_000, 60_000, "min"], [86_400_000, 3_600_000, "h"], [604_800_000, 86_400_000, "d"]];

function ago(at) {
  const ms = Date.now() - at;
  if (ms < 60_000) return "now";
  const [, unit, name] = UNITS.find(([most]) => ms < most) ?? [];
  return unit ? `${Math.floor(ms / unit)} ${name}` : at.toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** A time in words, which `update` keeps correct. */
export function moment() {
  const time = h("time");
  time.update = (said) => {
    const at = new Date(said);
    time.dateTime = at.toISOString();
    time.title ||= at.toLocaleString();
    text(time, ago(at));
  };
  return time;
}

export const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

/** Asks a question, perhaps with a field for more; resolves to whether the answer was `yes`. */
export function confirm(title, detail, yes, no, more) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "asked", onclose: () => (resolve(dialog.returnValue === yes), dialog.remove()) },
      h("h2", { id: "asked" }, title), h("p", detail), more,
      h("p.buttons", button(no, () => dialog.close()), button(yes, () => dialog.close(yes), { kind: "primary" })));
    document.body.append(dialog);
    dialog.showModal();
  });
}
