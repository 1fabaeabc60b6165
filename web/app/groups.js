// Groups: this user's, those that they find, one of them, and who is in it.
import { attribute, avatar, button, confirm, h, person, plural, rich, rows, status, text } from "./dom.js";
import { act, because, pending } from "./effects.js";
import { composer } from "./compose.js";
import { group, isAtLeast, learnGroup, loadGroup } from "./group.js";
import { ask, changed, client, me, pages } from "./live.js";
import { cards } from "./post_card.js";
import { learn } from "./posts.js";
import { go } from "./router.js";
import { atMost, handleIn } from "./texts.js";
import { ending } from "./timeline.js";

const GONE = "There is no such group, or it is not there for you.";
const INSIDE = "Only members see who and what is in this group.";
const SIGHTS = { public: "Public: everybody sees what is in it", closed: "Closed: members see what is in it", secret: "Secret: only members and who is invited know of it" };
const ENTRIES = { open: "Who joins is in", ask: "Who joins asks, and a moderator answers", invite: "Only who a moderator invites joins" };
const STATES = { asked: "You have asked to join", invited: "You are invited" };
const ROLES = { member: "Member", moderator: "Moderator", owner: "Owner" };
const LISTS = [["in", "Members"], ["asked", "Who asks to join"], ["invited", "Who is invited"], ["barred", "Who is barred"]];

const why = (error) => (error.code === "not_found" ? GONE : error.code === "forbidden" ? INSIDE : because(error));
const to = (id) => `/groups/${id}`;

/** Calls `heard(type, sent, reply)` for what has taken effect in groups, until `signal` is aborted. */
function onGroups(signal, heard) {
  const listen = ({ type, sent, body, error }) => !error && type.startsWith("group.") && heard(type, sent, body);
  signal.addEventListener("abort", client.on("reply", listen));
}

const options = (words) => Object.entries(words).map(([value, label]) => h("option", { value }, label));
const field = (label, input) => h("div.field", h("label", { for: input.id }, label), input);

/** What a group is, as fields; `done` gets them. */
function editor({ name = "", about = "", sight = "public", entry = "open" }, label, done, close) {
  const called = atMost(h("input", { id: "group-name", value: name, required: true, minlength: 2 }), 50);
  const what = atMost(h("textarea", { id: "group-about", rows: 3 }, about), 500);
  const [seen, joined] = [h("select", { id: "group-sight" }, ...options(SIGHTS)), h("select", { id: "group-entry" }, ...options(ENTRIES))];
  [seen.value, joined.value] = [sight, entry];
  const save = (event) => {
    event.preventDefault();
    done({ name: called.value.trim(), about: what.value.trim(), sight: seen.value, entry: joined.value });
  };
  return h("form.panel.editor", { onsubmit: save }, field("Name", called), field("What it is about", what), field("Who sees it", seen), field("How somebody joins", joined),
    h("p.buttons", button("Cancel", close), h("button.primary", label)));
}

/** A button that opens the fields in `place`, and puts them away. */
function opener(label, place, make) {
  const close = () => (place.replaceChildren(), open.focus());
  const open = button(label, () => {
    place.replaceChildren(make(close));
    place.querySelector("input").focus();
  });
  return open;
}

function line({ id }) {
  const { name } = group(id).group;
  const [title, words] = [h("bdi"), h("span.note.quote")];
  const row = h("li", h("a.panel.row", { href: `#${to(id)}` }, avatar(name), h("span", h("b", title), words)));
  row.update = () => {
    const { group: now, state } = group(id);
    text(title, now.name);
    text(words, [plural(now.members, "member"), STATES[state]].filter(Boolean).join(" · "));
  };
  return row;
}

export function groups(signal) {
  const known = (items) => items.map((one) => (learnGroup(one), { id: one.group.id }));
  const mine = pages("group.list", { limit: 50 }, { signal, turn: known });
  const [list, found, note, said, place] = [h("ol.list", { "aria-label": "Your groups" }), h("ol.list", { "aria-label": "Found" }), status(), status(), h("div")];
  const end = ending(mine.more);
  const input = h("input", { id: "find", type: "search", required: true, minlength: 2, maxlength: 50 });
  let results = [];
  const find = async (event) => {
    event.preventDefault();
    text(said, "Looking…");
    await ask("group.find", { name: input.value.trim() }, signal).then(({ groups }) => {
      // What is found does not say what this user is in it.
      results = groups.map((seen) => (learnGroup({ state: "out", ...group(seen.id), group: seen }), { id: seen.id }));
      text(said, results.length === 0 ? "No group is called so." : "");
    }, (error) => text(said, because(error)));
    changed();
  };
  const create = opener("New group", place, (close) => editor({}, "Create", (body) => act("group.create", body), close));
  onGroups(signal, (type, sent, { group: made }) => type === "group.create" && go(to(made.id)));
  const element = h("div.groups", h("h1", "Groups"), h("p.buttons", create), place, note, list, end, h("h2", "Find a group"),
    h("form.writer", { role: "search", "aria-label": "Find a group", onsubmit: find }, field("How its name begins", input), h("button.primary", "Find")), said, found);
  mine.more();
  const update = () => {
    const there = mine.items.filter(({ id }) => (group(id)?.state ?? "out") !== "out");
    rows(list, there, ({ id }) => id, line);
    rows(found, results.filter(({ id }) => group(id)), ({ id }) => id, line);
    text(note, mine.error ? because(mine.error) : there.length > 0 ? "" : mine.loaded ? "You are in no group yet. Find one below, or make one." : "Loading…");
    end.update(!mine.error && mine.next);
  };
  return { title: "Groups", element, update };
}

/** What this user may do to be in a group, or out of it; each is hidden while it cannot be done. */
function doors(id) {
  const body = { group: id };
  const leave = async () => {
    const isSure = await confirm("Leave this group?", "What you have posted in it stays in it.", "Leave", "Stay");
    if (isSure) act("group.leave", body);
  };
  const all = [
    [button("Join", () => act("group.join", body), { kind: "primary" }), ({ state, group }) => state === "out" && group.entry === "open"],
    [button("Ask to join", () => act("group.join", body), { kind: "primary" }), ({ state, group }) => state === "out" && group.entry === "ask"],
    [button("Requested", () => act("group.leave", body), { "aria-description": "Press to take your request back" }), ({ state }) => state === "asked"],
    [button("Accept invitation", () => act("group.answer", { ...body, accept: true }), { kind: "primary" }), ({ state }) => state === "invited"],
    [button("Decline", () => act("group.answer", { ...body, accept: false })), ({ state }) => state === "invited"],
    [button("Leave", leave), ({ state }) => state === "in"],
  ];
  return { buttons: all.map(([press]) => press), update: (one) => all.forEach(([press, fits]) => (press.hidden = !fits(one))) };
}

export function groupPage(id, signal) {
  const [name, about, facts, list, note, place] = [h("bdi"), h("p.said"), h("p.note"), h("div.list"), status("Loading…"), h("div")];
  const members = h("a", { href: `#${to(id)}/members` });
  const door = doors(id);
  const edit = opener("Edit group", place, (close) => editor(group(id).group, "Save", (body) => (act("group.update", { group: id, ...body }), close()), close));
  const end = async () => {
    const isSure = await confirm("Delete this group?", "It goes for everybody and for good. Its posts are seen by who wrote them only.", "Delete", "Keep it");
    if (isSure) act("group.delete", { group: id });
  };
  const gone = button("Delete group", end);
  const panel = h("div.panel", h("h1", name), about, facts, h("p.note.counts", members), h("p.buttons", ...door.buttons, edit, gone));
  const write = composer({ group: id, signal });
  const take = (posts) => posts.map((post) => (learn(post), { id: post.id, post }));
  const posts = pages("group.posts", { group: id }, { signal, turn: take });
  const more = ending(posts.more);
  const element = h("div.profile.group", panel, place, write, h("h2", "Posts"), note, list, more);
  let [error, wasShut] = [null, false];
  loadGroup(id, signal).catch((failed) => ((error = failed), changed()));
  const come = ({ post }) => post.group === id && !posts.items.some((item) => item.id === post.id) && (posts.items = [...take([post]), ...posts.items]);
  signal.addEventListener("abort", client.on("event:post.created", come));
  signal.addEventListener("abort", client.on("reply", ({ type, body }) => type === "post.create" && body && come(body)));
  onGroups(signal, (type, sent) => type === "group.delete" && sent.group === id && go("/groups"));

  const update = () => {
    const one = group(id);
    const isOwner = one?.role === "owner";
    panel.hidden = !one;
    write.hidden = one?.state !== "in";
    edit.hidden = gone.hidden = !isOwner;
    const isShut = one ? one.state !== "in" && one.group.sight !== "public" : one === null;
    if (wasShut && !isShut) Object.assign(posts, { items: [], next: null, loaded: false, error: null });
    wasShut = isShut;
    if (one) {
      text(name, one.group.name);
      if (about.said !== one.group.about) about.replaceChildren(...rich((about.said = one.group.about)));
      text(facts, [SIGHTS[one.group.sight], ENTRIES[one.group.entry], one.role && `You are: ${ROLES[one.role]}`, STATES[one.state]].filter(Boolean).join(". "));
      text(members, plural(one.group.members, "member"));
      attribute(members, "href", !isShut && `#${to(id)}/members`);
      door.update(one);
    }
    write.update();
    const shown = cards(list, isShut ? [] : posts.items, !isShut && ((body) => body.group === id));
    const trouble = (one ? null : error) ?? posts.error;
    text(note, one === null ? GONE : isShut ? INSIDE : trouble ? why(trouble) : shown > 0 ? "" : posts.loaded ? "No posts yet." : "Loading…");
    more.update(!isShut && !trouble && (posts.next || !posts.loaded));
  };
  return { title: "Group", element, update };
}

/** Users who are in one state in a group, with what this user may do about each. */
function among(id, state, title, signal) {
  const [list, note, heading] = [h("ol.list", { "aria-label": title }), status(), h("h2", title)];
  let found = null;
  const read = () => pages("group.members", { group: id, state, limit: 50 }, { signal, turn: (items) => items.map((one) => ({ id: one.user, ...one })) });
  const load = async () => {
    const fresh = read();
    await fresh.more();
    if (fresh.loaded || !found) found = fresh;
    changed();
  };
  const end = ending(() => found?.more());
  const does = (label, type, user, more, look) => button(label, () => act(type, { group: id, user, ...more }), { "aria-label": `${label} @${user}`, ...look });
  const bar = async (user) => {
    const isSure = await confirm(`Bar @${user}?`, "They are out, and for them there is no such group. They are not told. You can let them come back.", "Bar", "Leave them");
    if (isSure) act("group.bar", { group: id, user });
  };
  const row = ({ user }) => {
    if (state === "asked") return person(user, does("Accept", "group.answer", user, { accept: true }, { kind: "primary" }), does("Reject", "group.answer", user, { accept: false }));
    if (state === "invited") return person(user, does("Take back", "group.answer", user, { accept: false }));
    if (state === "barred") return person(user, does("Let come back", "group.bar", user, { barred: false }));
    const choice = h("select", { "aria-label": `Role of @${user}`, onchange: () => act("group.role", { group: id, user, role: choice.value }) }, ...options(ROLES));
    const [role, out] = [h("span.mark"), button("Bar", () => bar(user), { "aria-label": `Bar @${user}` })];
    const line = person(user, role, choice, out);
    line.update = ({ role: now }) => {
      const isMe = user === me();
      choice.hidden = !(isAtLeast("owner", id) && (isMe || now !== "owner")) && !(isMe && now === "moderator");
      role.hidden = !choice.hidden;
      text(role, ROLES[now]);
      const set = pending("group.role", (body) => body.group === id && body.user === user).at(-1)?.body.role ?? now;
      if (choice.value !== set) choice.value = set;
      out.hidden = isMe || now === "owner" || !isAtLeast(now === "moderator" ? "owner" : "moderator", id);
    };
    return line;
  };
  const element = h("section.among", heading, note, list, end);
  element.load = load;
  element.update = () => {
    const { items = [], loaded, error, next } = found ?? {};
    const shown = items.filter(({ user }) => pending("group.answer group.bar", (body) => body.group === id && body.user === user).length === 0);
    element.hidden = state !== "in" && shown.length === 0;
    rows(list, shown, (one) => one.id, row);
    text(note, error ? why(error) : shown.length > 0 ? "" : loaded ? "Nobody." : "Loading…");
    end.update(!error && next);
  };
  return element;
}

export function membersPage(id, signal) {
  const title = h("a", { href: `#${to(id)}` }, h("bdi"));
  const input = h("input", { id: "invited", maxlength: 31, autocapitalize: "none", autocomplete: "off", oninput: () => input.setCustomValidity("") });
  const send = (event) => {
    event.preventDefault();
    const user = handleIn(input);
    if (!user) return;
    act("group.invite", { group: id, user });
    input.value = "";
  };
  const invite = h("form.writer", { onsubmit: send }, field("Invite a handle", input), h("button.primary", "Invite"));
  const lists = LISTS.map(([state, name]) => among(id, state, name, signal));
  const [all, ...ours] = lists;
  const note = status();
  let [wasOurs, failed] = [false, null];
  const read = () => (wasOurs ? lists : [all]).forEach((list) => list.load());
  onGroups(signal, (type, sent) => sent.group === id && /\.(answer|bar|role|invite)$/.test(type) && read());
  for (const type of ["asked", "joined"]) signal.addEventListener("abort", client.on(`push:group.${type}`, ({ group }) => group === id && read()));
  const element = h("div.groups", h("h1", "Members of ", title), note, invite, ...lists);
  loadGroup(id, signal).catch((error) => ((failed = error), changed()));
  all.load();
  const update = () => {
    const one = group(id);
    text(title.firstChild, one?.group.name ?? "a group");
    const isOurs = isAtLeast("moderator", id);
    invite.hidden = !one || !isAtLeast(one.group.entry === "invite" ? "moderator" : "member", id);
    if (isOurs && !wasOurs) ours.forEach((list) => list.load());
    wasOurs = isOurs;
    lists.forEach((list) => list.update());
    if (!isOurs) ours.forEach((list) => (list.hidden = true));
    text(note, failed && !one ? why(failed) : "");
    if (!one) all.hidden = failed !== null;
  };
  return { title: "Members", element, update };
}
