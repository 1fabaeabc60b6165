// Users: their profiles, and whom this user follows and blocks.
import { onDone, pending } from "./effects.js";
import { ask, changed, keep, kept, me, onClient, pages } from "./live.js";

/** The most follows that are asked for. Users who follow more people may be offered to follow somebody again, which changes nothing. */
const MOST = 5000;
const STALE_MS = 60_000;
const profiles = new Map();
let asked = 0;
/** Only blocks made in this browser are known: the protocol has no list of them. */
let sets = { follow: new Set(), block: new Set() };

onClient(() => (sets = { follow: new Set(kept("follow", [])), block: new Set(kept("block", [])) }));

/** A profile to show, or undefined while it is not known. */
export function profile(handle) {
  const edit = handle === me() && pending("profile.update").at(-1);
  return profiles.get(handle) && { ...profiles.get(handle), ...(edit && edit.body) };
}

export async function loadProfile(handle, signal) {
  profiles.set(handle, (await ask("profile.get", { user: handle }, signal)).user);
  changed();
}

/** The only source of whom a user follows is the whole list, newest first. */
export async function loadFollowing() {
  if (Date.now() - asked < STALE_MS) return;
  asked = Date.now();
  const list = pages("follow.list", { direction: "following", limit: 100 });
  do await list.more();
  while (list.next && !list.error && list.items.length < MOST);
  if (!list.error) set("follow", list.items);
}

function set(family, users) {
  sets[family] = new Set(users);
  keep(family, users);
  changed();
}

/** Whether this user follows (`follow`) or blocks (`block`) another, as far as this browser knows. */
export function is(family, other) {
  const last = pending(`${family}.add ${family}.remove`, ({ user }) => user === other).at(-1);
  return last ? last.type === `${family}.add` : sets[family].has(other);
}

for (const family of Object.keys(sets)) {
  const rest = (user) => [...sets[family]].filter((other) => other !== user);
  // The reply says what holds: a later act, on another device perhaps, may have come first.
  const learn = ({ user, following, blocked }) =>
    set(family, (following ?? blocked) ? [...rest(user), user] : rest(user));
  onDone(`${family}.add ${family}.remove`, learn);
}
onDone("block.add", (reply, { user }) => set("follow", [...sets.follow].filter((other) => other !== user)));
onDone("follow.add follow.remove block.remove", (reply, { user }) => loadProfile(user).catch(() => {}));
onDone("profile.update", ({ user }) => profiles.set(user.handle, user));
