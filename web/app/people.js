// Users: their profiles, what this user's follow of them is, whom this user blocks, and what this user lets others do.
import { onDone, pending } from "./effects.js";
import { ask, changed, keep, kept, me, onClient } from "./live.js";

const profiles = new Map();
/** Only blocks made in this browser are known: the protocol has no list of them. */
let blocks = new Set();
let settings = null;

onClient((client) => {
  blocks = new Set(kept("block", []));
  settings = kept("privacy", null);
  client.on("push:follow.accepted", ({ user }) => profiles.has(user) && reload(user));
});

/** A profile to show, or undefined while it is not known. */
export function profile(handle) {
  const edit = handle === me() && pending("profile.update").at(-1);
  return profiles.get(handle) && { ...profiles.get(handle), ...(edit && edit.body) };
}

export async function loadProfile(handle, signal) {
  try {
    profiles.set(handle, (await ask("profile.get", { user: handle }, signal)).user);
  } catch (error) {
    // What was seen before is not for this user any longer.
    if (error.code === "not_found") profiles.delete(handle);
    throw error;
  } finally {
    changed();
  }
}

const reload = (handle) => loadProfile(handle).catch(() => {});

/** What this user's follow of another is, as far as is known: `none`, `requested` or `following`. */
export function followOf(other) {
  const last = pending("follow.add follow.remove", ({ user }) => user === other).at(-1);
  const known = profiles.get(other);
  if (last) return last.type === "follow.remove" ? "none" : known?.private ? "requested" : "following";
  return known?.you ?? "none";
}

/** Whether this user blocks another, as far as this browser knows. */
export function isBlocked(other) {
  const last = pending("block.add block.remove", ({ user }) => user === other).at(-1);
  return last ? last.type === "block.add" : blocks.has(other);
}

/** What this user lets others see and do, with what is on its way; null while it is not known. */
export const privacy = () => settings && Object.assign({}, settings, ...pending("privacy.update").map(({ body }) => body));

const set = ({ privacy }) => {
  settings = privacy;
  keep("privacy", privacy);
  changed();
};
export const loadPrivacy = (signal) => ask("privacy.get", {}, signal).then(set);
onDone("privacy.update", set);

// The reply says what holds: a later act, on another device perhaps, may have come first.
onDone("follow.add follow.remove", ({ user, state }) => {
  if (profiles.has(user)) profiles.set(user, { ...profiles.get(user), you: state });
});
onDone("block.add block.remove", ({ user, blocked }) => {
  blocks.delete(user);
  if (blocked) blocks.add(user);
  keep("block", [...blocks]);
});
onDone("follow.add follow.remove block.add block.remove", (reply, { user }) => reload(user));
onDone("profile.update", ({ user }) => profiles.set(user.handle, user));
