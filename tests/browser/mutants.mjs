// Breaks the app in one place at a time, and shows that the walk notices: `node mutants.mjs`, or with some words of the
// mutants' names.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** By the part of the walk that must notice: what is broken, the file, the text, and its replacement. */
const MUTANTS = {
  evening: [
    ["a style inline", "app/dom.js", 'h("span.avatar", {', 'h("span.avatar", { style: "color: red",'],
    [
      "an error that nobody catches",
      "app/notifications.js",
      "seen = items[0].seq;",
      "seen = items[0].seq; null.nothing;",
    ],
    [
      "a picture of another host",
      "app/main.js",
      "const $ =",
      'new Image().src = "http://127.0.0.2/icon.svg"; const $ =',
    ],
    ["posts do not come in live", "app/feed.js", 'client.on("event:post.created"', 'client.on("event:nothing"'],
    ["what is new comes in above a reader", "app/timeline.js", "scrollY <= TOP", "true"],
    ["typing is not reported", "app/conversations.js", 'client.call("typing"', 'if (false) client.call("typing"'],
    ["typing goes on when it has been said", "app/conversations.js", "if (peer === from) typing.delete(peer);", ""],
    ["what is deleted stays", "app/posts.js", 'client.on("event:post.deleted"', 'client.on("event:nothing"'],
    ["a like is not shown before it is answered, nor after", "app/posts.js", "liked: mine", "liked: false"],
    [
      "counts grow old",
      "app/posts.js",
      "    want(target.post);\n",
      "    if (known.get(target.post)?.liked === undefined) want(target.post);\n",
    ],
    ["back leads to the top", "app/router.js", "page.top ?? 0", "0"],
    ["comments come with a reload only", "app/comments.js", "(take(comment), changed())", "changed()"],
    ["what is read stays new", "app/conversations.js", "  all.get(peer).unread = 0;\n", ""],
    ["enter does not send", "app/comments.js", "!(enter || event.ctrlKey || event.metaKey)", "true"],
    ["nobody blocks", "app/profile.js", '"block.add" : "block.remove"', '"block.remove" : "block.remove"'],
  ],
  maintenance: [
    ["nobody is told", "app/closed.js", "place.hidden = !shut;", ""],
    ["nobody is told when", "app/closed.js", "text(until, when(shut));", ""],
    ["nothing is counted down", "app/closed.js", "left >= COUNTED_MS", "true"],
    ["the notice stays", "app/live.js", 'else if (state !== "connecting") shut = null;', ""],
    ["who signs in hears nothing", "app/live.js", 'if (error.code === "closed") close(error.message', 'if (false) close(error.message'],
    ["who signs in must ask again", "app/sign_in.js", 'if (code === "closed") coming = setTimeout(look, retryAfterMs);', ""],
    ["an app that is closed out comes at once", "client/soundoff.js", "{ code, message, ...(text && { text }) }, askedMs);", "{ code, message, ...(text && { text }) }, 20);"],
    ["one press closes it", "ops/gate.js", "if (!this.#isSure) return this.#ask(true);", ""],
    ["characters are counted, not bytes", "ops/gate.js", "new TextEncoder().encode(text).length", "text.length"],
    ["how it stands comes with a reload only", "ops/gate.js", 'say(byId("stands"), this.#stands(gate, isOpening, ends));', 'if (!byId("stands").textContent) say(byId("stands"), this.#stands(gate, isOpening, ends));'],
  ],
  lan: [
    ["nobody is paired", "app/pairing.js", "localStorage.setItem(KEPT_AS, secret);", ""],
    ["the secret stays in the address", "app/pairing.js", 'history.replaceState(history.state, "", location.pathname + location.search);', ""],
    ["pages without TLS do nothing", "app/effects.js", "const id = newId();", "const id = crypto.randomUUID();"],
    ["a refusal is a lost connection", "app/codes.js", "  if (!items) throw { message: detail };\n", ""],
    ["the operators' page does not say why", "ops/ops.js", 'if (error.code === "unpaired")', "if (false)"],
  ],
  comeback: [
    [
      "nothing is sent again",
      "client/soundoff.js",
      "      entry.flying = null;\n      if (entry.type",
      "      if (entry.type",
    ],
    [
      "nothing is shown before it is answered",
      "app/effects.js",
      "const open = [...failedOf([type])",
      "const open = [].concat([]); return open; [...failedOf([type])",
    ],
    [
      "what is sent again has a new id",
      "client/soundoff.js",
      "const entry of text ? JSON.parse(text) : []",
      "const entry of (text ? JSON.parse(text) : []).map((entry) => ({ ...entry, id: randomName() }))",
    ],
    ["what waits is not kept", "client/soundoff.js", 'await this.#cell?.write(text === "[]" ? null : text);', ""],
    ["there are no lanes", "client/soundoff.js", "if (entry.lane) lanes.add(entry.lane);", ""],
    ["a post that overtook its reply is there twice", "app/effects.js", "    if (!found) continue;", "    continue;"],
    [
      "a message that comes twice is shown twice",
      "app/conversations.js",
      "if (!thread.items.some((item) => item.id === id)) ",
      "",
    ],
    [
      "what is not there yet does not say so",
      "app/messages.js",
      'row.toggleAttribute("data-pending", pending === true);',
      "",
    ],
  ],
  sessions: [
    [
      "who is signed in is not kept",
      "client/soundoff.js",
      "await this.#store.set(this.#key, JSON.stringify({ user, access, refresh, expires }));",
      "",
    ],
    ["other tabs hear nothing", "client/soundoff.js", "if (!this.#locks || !globalThis.BroadcastChannel) return;", "return;"],
    ["what was kept stays when its user has gone", "app/main.js", "  forget(signedIn);\n", ""],
    [
      "what is read in one tab stays new in another",
      "app/conversations.js",
      'onKept("conversations"',
      'onKept("nothing"',
    ],
    ["what waits is lost without a question", "app/main.js", "const isSure = left === 0 ||", "const isSure = true ||"],
    [
      "one device hears nothing of the other",
      "app/conversations.js",
      'client.on("push:dm.sent"',
      'client.on("push:nothing"',
    ],
  ],
  groups: [
    ["who is let in sees nothing until a reload", "app/groups.js", "if (wasShut && !isShut) Object.assign", "if (false) Object.assign"],
    ["who asks is in at once", "app/group.js", 'found.state === "invited" || found.group.entry === "open" ? "in" : "asked"', '"in"'],
    ["who is let in hears nothing", "app/group.js", 'client.on("push:group.joined"', 'client.on("push:nothing"'],
    ["a post in a group is for everybody", "app/compose.js", "...(group ? { group } : whom", "...(group ? {} : whom"],
    ["a post in a group comes with a reload only", "app/groups.js", 'client.on("event:post.created", come)', 'client.on("event:nothing", come)'],
    ["one's own post in a group is lost", "app/groups.js", 'type === "post.create" && body && come(body)', "false"],
    ["nothing tells in which group a post is", "app/post_card.js", "user(author), when, inside,", "user(author), when,"],
    ["a moderator of a group takes nothing down", "app/posts.js", 'isModerator() || (post?.group !== undefined && isAtLeast("moderator", post.group))', "isModerator()"],
    ["who is no moderator shows it again", "app/post_card.js", "again.hidden = !mayDecide(post);", "again.hidden = false;"],
    ["it is not said who is barred", "app/groups.js", 'onGroups(signal, (type, sent) => sent.group === id && /', 'onGroups(signal, (type, sent) => false && /'],
    ["owners may be barred", "app/groups.js", 'out.hidden = isMe || now === "owner" ||', "out.hidden ="],
    ["the pages of groups never come", "app/main.js", "element.replaceChildren(page.element);", ""],
    ["the first field of a form is not entered", "app/groups.js", 'place.querySelector("input").focus();', ""],
  ],
  privacy: [
    ["a private account shows nothing of it", "app/profile.js", "const isClosed = known?.private === true &&", "const isClosed = false &&"],
    ["what is private stays on the page", "app/profile.js", "cards(list, isShut ? [] : posts.items, isMine && outside)", "cards(list, posts.items, isMine && outside)"],
    ["who has asked cannot take it back", "app/people.js", 'known?.private ? "requested" : "following"', '"following"'],
    ["who asks is not listed", "app/requests.js", "(without(by), list.items.unshift(by), changed())", "changed()"],
    ["who is let in hears nothing", "app/people.js", 'client.on("push:follow.accepted"', 'client.on("push:nothing"'],
    ["the keyboard is lost with its row", "app/dom.js", "(near || parent).focus({ preventScroll: true });", ""],
    ["what is for close friends goes to all", "app/compose.js", 'whom.value !== "everyone" && { audience: whom.value }', "{}"],
    ["nothing tells for whom a post is", "app/post_card.js", 'AUDIENCES[first.post.audience] && h("span.mark"', 'false && h("span.mark"'],
    ["who is removed stays on the list", "app/profile.js", 'if (type === "request.reject" && !error) people.items', "if (false) people.items"],
    ["it goes public without a question", "app/privacy.js", "const isSure = box.checked ||", "const isSure = true ||"],
    ["what is let in again stays away", "app/posts.js", "  if (!gone.get(post.id)) gone.delete(post.id);\n", ""],
    ["an author loses what is taken down", "app/posts.js", 'client.on("push:post.removed", ({ post }) => known.has(post) && want(post));', 'client.on("push:post.removed", ({ post }) => lose(post));'],
    ["a picture whose address has ended stays away", "app/post_card.js", "      image.src = picture.feed;\n", ""],
    ["no reason is given", "app/post_card.js", "decide(post, true, said && { reason: said });", "decide(post, true);"],
    ["who is no moderator takes posts down", "app/post_card.js", "down.hidden = !mayDecide(post) ||", "down.hidden ="],
    ["a block is told to whom it is about", "app/profile.js", "follow.hidden = message.hidden = blocks || isNobody;", "follow.hidden = message.hidden = blocks;"],
  ],
  sight: [
    ["a button without a name", "app/dom.js", '{ "aria-label": label, title: label }', "{}"],
    ["a field without a name", "app/comments.js", '{ "aria-label": label, placeholder: label, rows: 1', "{ rows: 1"],
    ["words too faint in the light", "app/style.css", "--soft: #676056", "--soft: #a89f94"],
    ["words too faint in the dark", "app/style.css", "--soft: #aaa196", "--soft: #5a544c"],
    [
      "a picture without words",
      "app/post_card.js",
      'h("img", { src: picture.feed, alt,',
      'h("img", { src: picture.feed,',
    ],
    ["no language", "app/main.js", "const $ =", 'document.documentElement.lang = ""; const $ ='],
  ],
  budget: [
    [
      "the app is too large",
      "app/router.js",
      "// Where the reader is:",
      `// ${Array.from({ length: 4_000 }, (_, n) => Math.sin(n)).join("")}:`,
    ],
    [
      "rows jump",
      "app/dom.js",
      "return rows(list, ...how);\n",
      "return rows(list, ...how);\n  return rows(list, ...how);\n",
    ],
    [
      "pictures take their room when they are there",
      "app/post_card.js",
      'frame.style.setProperty("--shape", Math.max(0.7, width / height));',
      'frame.style.setProperty("--shape", "auto");',
    ],
    [
      "the timeline waits",
      "app/timeline.js",
      "    if (!element.isConnected) return;",
      "    if (!element.isConnected || performance.now() < 600) return setTimeout(update, 50);",
    ],
  ],
};

async function notice(part, [, ...broken]) {
  const env = { ...process.env, BROKEN: JSON.stringify(broken) };
  const run = spawn(process.execPath, [new URL("walk.mjs", import.meta.url).pathname, part], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  run.stdout.setEncoding("utf8").on("data", (text) => (said += text));
  const [code] = await once(run, "close");
  return code === 0 ? null : (said.match(/^FAILED (.*)$/m)?.[1] ?? "it did not run at all");
}

const words = process.argv.slice(2);
let survivors = 0;
for (const [part, mutants] of Object.entries(MUTANTS)) {
  for (const mutant of mutants) {
    if (words.length > 0 && !words.some((word) => `${part}: ${mutant[0]}`.includes(word))) continue;
    const noticed = await notice(part, mutant);
    if (!noticed) survivors += 1;
    console.log(
      `${noticed ? "noticed" : "UNNOTICED"} by ${part}: ${mutant[0]}${noticed ? ` — ${noticed.slice(0, 160)}` : ""}`,
    );
  }
}
process.exitCode = survivors ? 1 : 0;
