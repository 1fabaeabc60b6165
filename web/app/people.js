// Users: who they are, and who follows or blocks whom, as far as this browser knows.
import { changed } from "./changes.js";
import { onDone, pending } from "./effects.js";
import { ask, keep, kept, me, onClient } from "./live.js";

/** The most follows that are asked for; who follows more may be offered to follow somebody twice, which changes nothing. */
const MOST = 5000;
const profiles = new Map();
let following = new Set();
let blocked = new Set();
let asked = false;

onClient(() => {
  following = new Set(kept("following", []));
  blocked = new Set(kept("blocked", []));
});

/** A profile as it is to be shown, or undefined while it is not known. */
export function profile(handle) {
  const known = profiles.get(handle);
  const edit = handle === me() ? pending(["profile.update"], () => true).at(-1) : null;
  return known && { ...known, ...edit?.body };
}

export async function loadProfile(handle, signal) {
  const { user } = await ask("profile.get", { user: handle }, signal);
  profiles.set(handle, user);
  changed();
}

/** Nothing says whom a user follows but the list of all. */
export async function loadFollowing() {
  if (asked) return;
  asked = true;
  const found = new Set();
  let before = null;
  try {
    do {
      const page = await ask("follow.list", { direction: "following", limit: 100, ...(before && { before }) });
      page.items.forEach((handle) => found.add(handle));
      before = page.next;
    } while (before && found.size < MOST);
    following = found;
    keep("following", [...following]);
  } catch {
    asked = false;
  }
  changed();
}

const last = (family, user) => pending([`${family}.add`, `${family}.remove`], (body) => body.user === user).at(-1)?.type;
const is = (family, set, user) => (last(family, user) ?? (set.has(user) ? `${family}.add` : "")) === `${family}.add`;
export const isFollowed = (user) => is("follow", following, user);
/** There is no list of blocks: known are those of this browser. */
export const isBlocked = (user) => is("block", blocked, user);

function settle(type, change) {
  onDone(type, (reply, { user }) => {
    change(user);
    keep("following", [...following]);
    keep("blocked", [...blocked]);
    loadProfile(user).catch(() => {});
  });
}

settle("follow.add", (user) => following.add(user));
settle("follow.remove", (user) => following.delete(user));
settle("block.add", (user) => (blocked.add(user), following.delete(user)));
settle("block.remove", (user) => blocked.delete(user));
onDone("profile.update", ({ user }) => profiles.set(user.handle, user));
