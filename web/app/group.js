// What is known of groups, and what this user is in each.
import { onDone, pending } from "./effects.js";
import { ask, changed, me, onClient } from "./live.js";

const MINE = "group.join group.leave group.answer";
const RANKS = ["member", "moderator", "owner"];
const known = new Map();

/** Remembers a group with what this user is in it, as replies have it. */
export const learnGroup = (one) => known.set(one.group.id, one);

/** A group to show, with what this user is in it; null when there is none for them, undefined while it is not known. */
export function group(id) {
  const found = known.get(id);
  const last = pending(MINE, (body) => body.group === id && !body.user).at(-1);
  if (!found || !last) return found;
  const joins = last.body.accept ?? last.type === "group.join";
  const state = !joins ? "out" : found.state === "invited" || found.group.entry === "open" ? "in" : "asked";
  return { ...found, state, role: state === "in" ? "member" : undefined };
}

export async function loadGroup(id, signal) {
  try {
    learnGroup(await ask("group.get", { group: id }, signal));
  } catch (error) {
    if (error.code === "not_found") known.set(id, null);
    throw error;
  } finally {
    changed();
  }
}

const reload = (id) => loadGroup(id).catch(() => {});

/** Whether this user is in a group, as `member`, `moderator` or `owner` at least. */
export const isAtLeast = (role, id) => RANKS.indexOf(group(id)?.role) >= RANKS.indexOf(role);

/** A group's name, if it is known; otherwise asks for it. */
export function nameOf(id) {
  if (!known.has(id)) {
    known.set(id, undefined);
    reload(id);
  }
  return known.get(id)?.group.name ?? "";
}

onClient((client) => {
  client.on("push:group.joined", ({ group, user }) => (user === me() || known.has(group)) && reload(group));
  client.on("push:group.role", ({ group }) => reload(group));
  client.on("push:group.invited", ({ group }) => reload(group));
});
onDone("group.create group.update", learnGroup);
onDone("group.delete", ({ group }) => known.set(group, null));
// What others are in it changes its counts.
onDone(`${MINE} group.bar group.role group.invite`, (reply, { group }) => reload(group));
