// The frame around all pages: who is signed in, where to go, and how the connection is.
import { onChange } from "./changes.js";
import { attribute, button, confirm, h, icon, text } from "./dom.js";
import { again, because, drop, homeless } from "./effects.js";
import { client, connect, disconnect, forget, me, session } from "./live.js";
import { go, route } from "./router.js";
import { conversation, messages } from "./messages.js";
import { unread } from "./conversations.js";
import { notifications, unseen } from "./notifications.js";
import { peoplePage, profilePage } from "./profile.js";
import { postPage } from "./post_page.js";
import { signIn } from "./sign_in.js";
import { home } from "./timeline.js";

/** What is shown where it belongs when it has failed; all else is told in a notice. */
const PLACED = ["post.create", "comment.create", "dm.send"];

const DOING = {
  "like.add": "Your like", "like.remove": "Taking your like back", "follow.add": "Following", "follow.remove": "Unfollowing",
  "block.add": "Blocking", "block.remove": "Unblocking", "post.delete": "Deleting the post", "profile.update": "Your profile",
};

const STATES = {
  online: "Online",
  connecting: "Connecting…",
  waiting: "Offline. What you do is sent once you are back.",
  refused: "Disconnected. Reload the page, or sign in again.",
  stopped: "",
};

const $ = (id) => document.getElementById(id);
let signedIn = null;

async function signOut() {
  const open = client.pending.length;
  const detail = `${open === 1 ? "One thing has" : `${open} things have`} not been sent yet and will be lost.`;
  if (open > 0 && !(await confirm({ title: "Sign out?", detail, yes: "Sign out", no: "Stay" }))) return;
  await session.signOut();
}

const signOutButton = () => button("Sign out", { class: "out", onclick: signOut }, icon("out"), h("span", {}, "Sign out"));

/** A way to go, with how much is new there: seen as a badge, heard as a description. */
function link(to, name, label, count = () => 0) {
  const badge = h("span", { class: "badge", "aria-hidden": "true" });
  const words = h("span", { id: `new-${name}`, hidden: true });
  onChange(() => {
    text(badge, count());
    text(words, `${count()} new`);
    badge.hidden = count() === 0;
    attribute(anchor, "aria-describedby", count() > 0 && words.id);
  });
  const anchor = h("a", { href: `#${to}` }, icon(name), h("span", {}, label), badge);
  return [anchor, words];
}

function navigation() {
  $("nav").replaceChildren(
    ...link("/", "home", "Home"), ...link("/messages", "messages", "Messages", unread),
    ...link("/notifications", "notifications", "Notifications", unseen), ...link(`/u/${me()}`, "profile", "Profile"), signOutButton());
  $("nav").hidden = $("goto").hidden = false;
}

/** How the connection is; soft-spoken, as all goes on meanwhile. */
function connection() {
  const state = client?.state ?? "stopped";
  document.documentElement.dataset.state = state;
  text($("state"), STATES[state]);
}

/** What went wrong and has no place on a page. */
function notices() {
  const rows = homeless(PLACED).map(({ id, type, error }) =>
    h("div", { class: "notice", role: "alert" }, h("p", {}, `${DOING[type] ?? "That"} did not work. ${because(error)}`),
      button("Try again", { onclick: () => again(id) }), button("Dismiss", { onclick: () => drop(id) })));
  const is = rows.map((row) => row.textContent).join();
  if ($("notices").textContent !== is.replaceAll(",", "")) $("notices").replaceChildren(...rows);
}

function enter() {
  signedIn = me();
  connect();
  navigation();
  onChange(connection);
  onChange(notices);
  connection();
  route([
    { pattern: /^\/$/, page: home, lasting: true },
    { pattern: /^\/post\/(\w+)$/, page: postPage },
    { pattern: /^\/u\/(\w+)$/, page: profilePage(signOutButton) },
    { pattern: /^\/u\/(\w+)\/(followers|following)$/, page: peoplePage },
    { pattern: /^\/messages$/, page: messages },
    { pattern: /^\/messages\/(\w+)$/, page: conversation },
    { pattern: /^\/notifications$/, page: notifications },
  ], () => unread() + unseen());
}

/** Signed in or out, here or on another page of this browser: nothing of who was here before stays in memory. */
async function arrange() {
  if (me() === signedIn) return;
  if (signedIn === null) return enter();
  const gone = signedIn;
  await disconnect();
  forget(gone);
  location.replace("#/");
  location.reload();
}

$("goto").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.querySelector("input");
  const handle = input.value.trim().toLowerCase().replace(/^@/, "");
  if (!/^[a-z0-9_]{3,30}$/.test(handle)) {
    input.setCustomValidity("A handle is 3 to 30 of a–z, 0–9 and _.");
    return input.reportValidity();
  }
  input.value = "";
  go(`/u/${handle}`);
});
$("goto").addEventListener("input", ({ target }) => target.setCustomValidity(""));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});

session.on("change", arrange);
if (me()) enter();
else {
  const { title, element } = signIn();
  document.title = `${title} · Sound Off`;
  $("main").replaceChildren(element);
}
attribute($("main"), "data-ready", true);
