// Building the page, and keeping lists of it up to date without touching what has not changed.

/** An element: attributes by name, `onclick` and the like as listeners; no inline style, which the page's policy forbids. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else attribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets an attribute, or takes it away; does nothing when it is so already. */
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value)) element.setAttribute(name, value === true ? "" : value);
}

export function text(element, value) {
  if (element.textContent !== String(value)) element.textContent = value;
}

/** Makes `parent` show one row for each item: rows stay the elements they are, in their focus and with what they hold. */
export function rows(parent, items, keyOf, make) {
  const known = (parent.known ??= new Map());
  const wanted = new Set(items.map(keyOf));
  for (const [key, row] of known) {
    if (wanted.has(key)) continue;
    row.remove();
    known.delete(key);
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = known.get(key);
    if (!row) known.set(key, (row = make(item)));
    row.update?.(item);
    if (row === at) at = at.nextElementSibling;
    else parent.insertBefore(row, at);
  }
}

const PATHS = {
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
  messages: "M4 5h16v11H9l-5 4z",
  notifications: "M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4",
  profile: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20.500a7.500 7.500 0 0 1 15 0",
  out: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  like: "M12 20S4 15 4 9.500A4.300 4.300 0 0 1 12 7.500 4.300 4.300 0 0 1 20 9.500C20 15 12 20 12 20z",
  comment: "M20 12a8 7.500 0 0 1-11.500 6.700L4 20l1.200-4A8 7.500 0 1 1 20 12z",
  why: "M5 20v-7M12 20V5M19 20v-10",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9.500h.01",
  back: "M19 12H5M11 6l-6 6 6 6",
  close: "M6 6l12 12M18 6L6 18",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  attribute(svg, "viewBox", "0 0 24 24");
  attribute(svg, "aria-hidden", "true");
  svg.append(path);
  return svg;
}

export function button(label, props = {}, ...children) {
  return h("button", { type: "button", ...props }, ...(children.length ? children : [label]));
}

/** A user's initial on a colour that is always theirs. */
export function avatar(handle, big = false) {
  const sum = [...handle].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  const face = h("span", { class: big ? "avatar big" : "avatar", "aria-hidden": "true" }, handle[0].toUpperCase());
  face.style.setProperty("--hue", sum);
  return face;
}

/** Text with links to the handles and addresses in it. */
export function rich(said) {
  const pieces = said.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)]|(?<![\w@])@[a-z0-9_]{3,30}\b)/g);
  return pieces.map((piece, at) => {
    if (at % 2 === 0) return piece;
    if (piece[0] === "@") return h("a", { href: `#/u/${piece.slice(1)}` }, piece);
    return h("a", { href: piece, rel: "noopener noreferrer nofollow ugc", target: "_blank" }, piece);
  });
}

const STEPS = [[60, "min", 60_000], [24, "h", 3_600_000], [7, "d", 86_400_000]];

export function ago(at) {
  const ms = Date.now() - new Date(at);
  if (ms < 60_000) return "now";
  const step = STEPS.find(([most, , unit]) => ms < most * unit);
  return step ? `${Math.floor(ms / step[2])} ${step[1]}` : new Date(at).toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** A moment, in words that `update` keeps true. */
export function moment() {
  const time = h("time");
  time.update = (at) => {
    attribute(time, "datetime", new Date(at).toISOString());
    if (time.title === "") time.title = new Date(at).toLocaleString();
    text(time, ago(at));
  };
  return time;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** A question that wants an answer; resolves to whether it was yes. */
export function confirm({ title, detail, yes, no }) {
  return new Promise((resolve) => {
    const close = (answer) => () => {
      resolve(answer);
      dialog.close();
    };
    const dialog = h("dialog", { "aria-labelledby": "asked", onclose: () => (resolve(false), dialog.remove()) },
      h("h2", { id: "asked" }, title), h("p", {}, detail),
      h("p", { class: "buttons" }, button(no, { onclick: close(false) }), button(yes, { class: "primary", onclick: close(true) })));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Says something to those who hear the page; it is not seen. */
export function announce(words) {
  const live = document.getElementById("said") ?? h("p", { id: "said", class: "hidden", role: "status" });
  if (!live.isConnected) document.body.append(live);
  live.textContent = words;
}
