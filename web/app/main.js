// The frame around all pages: sign-in, navigation, and the state of the connection.
import { notice } from "./closed.js";
import { unread } from "./conversations.js";
import { attribute, button, confirm, h, icon, plural, rows, status, text } from "./dom.js";
import { because, failedOf, remedies } from "./effects.js";
import { refresh } from "./feed.js";
import { changed, client, closed, connect, crowded, forget, me, onChange, session } from "./live.js";
import { conversation, messages } from "./messages.js";
import { notifications, unseen } from "./notifications.js";
import { postPage } from "./post_page.js";
import { peoplePage, profilePage } from "./profile.js";
import { focusHeading, go, path, route } from "./router.js";
import { privacyPage } from "./privacy.js";
import { requests } from "./requests.js";
import { settings } from "./settings.js";
import { signIn } from "./sign_in.js";
import { handleIn } from "./texts.js";
import { home } from "./timeline.js";

/** Types whose failures are shown in their own places; all others are shown in a notice. */
const PLACED = ["post.create", "comment.create", "dm.send"];

const STATES = { online: "Online", connecting: "Connecting…", waiting: "Offline. What you do is sent once you are back.", refused: "Disconnected. Reload the page." };
const CLOSED = "Closed for now";
/** The user has as many pages open as the server or this browser has room for. */
const CROWDED = "Too many pages are open. Close one, and this one goes on.";

const $ = (id) => document.getElementById(id);
let signedIn;

async function signOut() {
  const left = client.pending.length;
  const isSure = left === 0 || (await confirm("Sign out?", `${plural(left, "thing")} you did will be lost: nothing of it has been answered yet.`, "Sign out", "Stay"));
  if (isSure) await session.signOut();
}

const signOutButton = () => button("Sign out", signOut, { kind: "out" });

/** A navigation link, with the number of new things there: a badge for the eye, a description for screen readers. */
function link(to, name, label, count = () => 0, onclick = () => {}) {
  const badge = h("span.badge", { "aria-hidden": "true" });
  const anchor = h("a", { href: `#${to}`, onclick }, icon(name), h("span", label), badge);
  onChange(() => {
    text(badge, count());
    badge.hidden = count() === 0;
    attribute(anchor, "aria-description", count() > 0 && `${count()} new`);
  });
  return anchor;
}

/** The state of the connection, shown discreetly, as everything works on meanwhile. */
function connection() {
  document.documentElement.dataset.state = client.state;
  text($("state"), closed() ? CLOSED : crowded() ? CROWDED : (STATES[client.state] ?? ""));
}

const what = ({ type, body: { user } }) => `${type.replace(".", ": ")}${user ? ` @${user}` : ""}`;

/** Failures that have no place on a page. */
function notices() {
  const failed = failedOf(PLACED, true);
  rows($("notices"), failed, ({ id }) => id, (entry) =>
    h("div.notice", { role: "alert" }, h("p", `Not done (${what(entry)}). ${because(entry.error)}`), ...remedies(entry)));
}

/** A page whose file is loaded when somebody first goes there: the first load is smaller for all others. */
const later = (load, name) => (...given) => {
  const said = status("Loading…");
  const element = h("div", h("h1.hidden", "Loading"), said);
  let page;
  load().then((file) => {
    if (given.at(-1).aborted) return;
    const isRead = element.contains(document.activeElement);
    page = file[name](...given);
    element.replaceChildren(page.element);
    changed();
    if (isRead) focusHeading(element);
  }, () => text(said, because({ code: "offline" })));
  return { get title() { return page?.title ?? "Loading" }, element, update: () => page?.update() };
};

function enter() {
  signedIn = me();
  connect();
  const top = () => path() === "/" && (scrollTo({ top: 0 }), refresh(true));
  $("nav").replaceChildren(link("/", "home", "Home", undefined, top), link("/messages", "messages", "Messages", unread),
    link("/groups", "groups", "Groups"), link("/notifications", "notifications", "Notifications", unseen), link(`/u/${me()}`, "profile", "Profile"), signOutButton());
  $("nav").hidden = $("goto").hidden = false;
  onChange(connection);
  onChange(notices);
  connection();
  route([
    { pattern: /^\/$/, page: home, lasting: true },
    { pattern: /^\/post\/(\w+)$/, page: postPage },
    { pattern: /^\/u\/(\w+)$/, page: profilePage(signOutButton) },
    { pattern: /^\/u\/(\w+)\/(followers|following)$/, page: peoplePage },
    { pattern: /^\/groups$/, page: later(() => import("./groups.js"), "groups") },
    { pattern: /^\/groups\/(\w+)$/, page: later(() => import("./groups.js"), "groupPage") },
    { pattern: /^\/groups\/(\w+)\/members$/, page: later(() => import("./groups.js"), "membersPage") },
    { pattern: /^\/messages$/, page: messages },
    { pattern: /^\/messages\/(\w+)$/, page: conversation },
    { pattern: /^\/notifications$/, page: notifications },
    { pattern: /^\/requests$/, page: requests },
    { pattern: /^\/settings$/, page: settings },
    { pattern: /^\/settings\/privacy$/, page: privacyPage },
  ], () => unread() + unseen());
}

/** Somebody signed in or out, here or on another page of this browser. Nothing about an earlier user stays in memory. */
async function arrange() {
  if (me() === signedIn) return;
  if (!signedIn) return enter();
  await client.stop();
  forget(signedIn);
  location.replace("#/");
  location.reload();
}

const to = $("goto").querySelector("input");
to.addEventListener("input", () => to.setCustomValidity(""));
$("goto").addEventListener("submit", (event) => {
  event.preventDefault();
  const handle = handleIn(to);
  if (!handle) return;
  to.value = "";
  go(`/u/${handle}`);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});

notice($("closed"));
session.on("change", arrange);
if (me()) enter();
else $("main").replaceChildren(signIn());
