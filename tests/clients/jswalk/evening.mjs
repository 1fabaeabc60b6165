// A story of three friends that uses every message type, with its reply, what the others see, and what goes wrong.
import { Backend } from "./backend.mjs";
import { check, equal, must, shape } from "./checks.mjs";
import { Phone } from "./phone.mjs";

const NOBODY = "01BX5ZZKBKACTAV9WEVGEMMVRZ";

export function evening() {
  return Backend.with(["--edges", "2", "--burst", "1000", "--type-limits", "off"], async (backend) => {
    const [mara, nils, olga] = await Promise.all(
      ["mara", "nils", "olga"].map(async (handle) => Phone.open(backend, await backend.token(handle), { device: `${handle}s-phone` })),
    );
    await introductions(mara, nils);
    await following(mara, nils, olga);
    const post = await writing(mara, nils, olga);
    await talkingAboutIt(mara, nils, olga, post);
    await regrets(mara, nils, olga, post);
    await whispering(backend, mara, nils);
    await repeating(mara, nils);
    await wrongBodies(mara);
    await quarrel(mara, nils, olga);
    for (const phone of [mara, nils, olga]) {
      await check(`${phone.handle}'s inbox counts without a gap`, () => equal(phone.seqs(), phone.seqs().map((_, i) => i + 1)));
      await check(`${phone.handle} says bye and is closed with 1000`, async () => equal(await phone.bye(), 1000));
    }
    await check("after the evening all queues are empty", () => backend.settle());
  });
}

async function introductions(mara, nils) {
  await check("profile.get describes a new user", async () => {
    const { user } = await mara.get("profile.get", {});
    shape(user, { handle: "mara", name: "string", bio: "string", followers: 0, following: 0, posts: 0, created_at: "time" });
  });
  await check("profile.update changes the given fields and nothing else", async () => {
    await nils.get("profile.update", { bio: "I sail." });
    const { user } = await nils.get("profile.update", { name: "Nils 🚤" });
    equal([user.name, user.bio], ["Nils 🚤", "I sail."]);
    equal((await mara.get("profile.get", { user: "nils" })).user, { ...user, you: "none" });
  });
}

async function following(mara, nils, olga) {
  await check("follow.add pushes to the followed, with the message's mid", async () => {
    const { mid, reply } = await nils.call("follow.add", { user: "mara" });
    equal(reply, { op: "reply", id: reply.id, ok: true, body: { user: "mara", following: true, state: "following" } });
    equal(await mara.pushed("follow.added"), { op: "push", seq: 1, type: "follow.added", mid, body: { by: "nils" } });
  });
  await check("follow.remove and follow.add again: the count follows, the push does not come twice", async () => {
    equal(await nils.get("follow.remove", { user: "mara" }), { user: "mara", following: false, state: "none" });
    equal((await nils.get("profile.get", {})).user.following, 0);
    await nils.get("follow.add", { user: "mara" });
    await nils.get("follow.add", { user: "mara" });
    equal((await mara.get("profile.get", {})).user.followers, 1);
    await olga.get("follow.add", { user: "mara" });
    equal((await mara.pushed("follow.added")).body, { by: "olga" });
  });
  await check("follow.list pages through both directions", async () => {
    const first = await mara.get("follow.list", { direction: "followers", limit: 1 });
    equal(first.items, ["olga"]);
    const rest = await mara.get("follow.list", { direction: "followers", limit: 1, before: first.next });
    equal(rest.items, ["nils"]);
    equal((await olga.get("follow.list", { user: "nils", direction: "following" })), { items: ["mara"], next: null });
    equal((await olga.get("follow.list", { direction: "followers" })), { items: [], next: null });
  });
  await olga.get("follow.remove", { user: "mara" });
}

async function writing(mara, nils, olga) {
  let post;
  await check("post.create replies with the post and shows it to followers online", async () => {
    ({ post } = await mara.get("post.create", { text: "Tonight at eight?\nBring “food”." }));
    shape(post, { id: "string", author: "mara", text: "Tonight at eight?\nBring “food”.", created_at: "time", likes: 0, comments: 0 });
    equal(await nils.hears("post.created"), { post });
  });
  await check("post.create is not shown to those who do not follow", async () => {
    await olga.roundTrip();
    must(!olga.frames.some((f) => f.type === "post.created"), olga.frames);
  });
  await check("post.get and post.list find it", async () => {
    equal(await olga.get("post.get", { post: post.id }), { post, liked: false });
    equal(await olga.get("post.list", { user: "mara" }), { items: [post], next: null });
    equal(await olga.get("post.list", {}), { items: [], next: null });
  });
  await check("post.list turns pages newest first", async () => {
    const ids = [post.id];
    for (const text of ["one", "two", "three"]) ids.unshift((await mara.get("post.create", { text })).post.id);
    const seen = [];
    for (let before; ;) {
      const page = await nils.get("post.list", { user: "mara", limit: 3, ...(before && { before }) });
      seen.push(...page.items.map((item) => item.id));
      if (page.next === null) break;
      before = page.next;
    }
    equal(seen, ids);
  });
  return post;
}

async function talkingAboutIt(mara, nils, olga, { id }) {
  await check("like.add counts and pushes to the author", async () => {
    const { mid, reply } = await nils.call("like.add", { post: id });
    equal(reply.body, { post: id, likes: 1, liked: true });
    const push = await mara.pushed("like.added");
    equal([push.mid, push.body], [mid, { post: id, by: "nils" }]);
    equal((await nils.get("post.get", { post: id })).liked, true);
    equal((await olga.get("post.get", { post: id })).liked, false);
  });
  await check("like.remove takes it back; liking again does not push again", async () => {
    equal(await nils.get("like.remove", { post: id }), { post: id, likes: 0, liked: false });
    equal(await nils.get("like.add", { post: id }), { post: id, likes: 1, liked: true });
    equal(await olga.get("like.add", { post: id }), { post: id, likes: 2, liked: true });
    equal((await mara.pushed("like.added")).body.by, "olga");
  });
  await check("comment.create replies, counts and pushes to the author", async () => {
    const { mid, reply } = await olga.call("comment.create", { post: id, text: "I bring soup." });
    const { comment } = reply.body;
    shape(comment, { id: "string", post: id, author: "olga", text: "I bring soup.", created_at: "time" });
    const push = await mara.pushed("comment.created");
    equal([push.mid, push.body], [mid, { comment }]);
    const { comment: later } = await mara.get("comment.create", { post: id, text: "Good!" });
    equal(await nils.get("comment.list", { post: id }), { items: [later, comment], next: null });
    const { next } = await nils.get("comment.list", { post: id, limit: 1 });
    equal((await nils.get("comment.list", { post: id, limit: 1, before: next })).items, [comment]);
    equal((await nils.get("post.get", { post: id })).post.comments, 2);
  });
}

async function regrets(mara, nils, olga, { id }) {
  await check("post.delete is the author's alone", async () => equal(await nils.fails("post.delete", { post: id }), "forbidden"));
  await check("post.delete sends an event to followers online and leaves nothing", async () => {
    equal((await mara.get("post.delete", { post: id })).post.id, id);
    equal((await nils.hears("post.deleted")).post.id, id);
    const attempts = [["post.get", {}], ["like.add", {}], ["like.remove", {}], ["comment.create", { text: "x" }], ["comment.list", {}]];
    for (const [type, more] of attempts) equal([type, await olga.fails(type, { post: id, ...more })], [type, "not_found"]);
    equal(await mara.fails("post.delete", { post: id }), "not_found");
    must((await mara.get("post.list", {})).items.every((item) => item.id !== id), "it is still listed");
  });
}

async function whispering(backend, mara, nils) {
  const laptop = await Phone.open(backend, await backend.token("mara"), { device: "maras-laptop" });
  let message;
  await check("dm.send reaches the recipient, and the sender's other devices as dm.sent", async () => {
    const { mid, reply } = await mara.call("dm.send", { to: "nils", text: "Is the boat ready?" });
    ({ message } = reply.body);
    shape(message, { id: "string", from: "mara", to: "nils", text: "Is the boat ready?", created_at: "time" });
    const push = await nils.pushed("dm.received");
    equal([push.mid, push.body], [mid, { message }]);
    equal((await laptop.pushed("dm.sent")).body, { message });
  });
  await check("dm.list is the same from both sides", async () => {
    const { message: answer } = await nils.get("dm.send", { to: "mara", text: "Almost." });
    equal(await mara.get("dm.list", { with: "nils" }), { items: [answer, message], next: null });
    equal(await nils.get("dm.list", { with: "mara" }), { items: [answer, message], next: null });
    const { next } = await nils.get("dm.list", { with: "mara", limit: 1 });
    equal((await nils.get("dm.list", { with: "mara", before: next })).items, [message]);
    for (const phone of [mara, laptop]) equal((await phone.pushed("dm.received")).body, { message: answer });
  });
  await check("typing shows at the other's, on every device", async () => {
    equal(await nils.get("typing", { to: "mara" }), {});
    equal([await mara.hears("typing"), await laptop.hears("typing")], [{ from: "nils" }, { from: "nils" }]);
  });
  await check("presence.get knows who is there, and who has left", async () => {
    equal(await nils.get("presence.get", { users: ["mara", "nobody_at_all", "olga"] }), { online: ["mara", "olga"] });
    const guest = await Phone.open(backend, await backend.token("piet"));
    equal(await nils.get("presence.get", { users: ["piet"] }), { online: ["piet"] });
    equal(await guest.bye(), 1000);
    equal(await nils.get("presence.get", { users: ["piet"] }), { online: [] });
  });
  await laptop.bye();
}

async function repeating(mara, nils) {
  await check("the same frame again is a duplicate with the first outcome", async () => {
    const first = await mara.call("dm.send", { to: "nils", text: "Twice?" }, "twice");
    const again = await mara.call("dm.send", { to: "nils", text: "Twice?" }, "twice");
    equal(again.reply, { ...first.reply, duplicate: true });
    const texts = (await nils.get("dm.list", { with: "mara" })).items.map((item) => item.text);
    equal(texts.filter((text) => text === "Twice?").length, 1);
    equal((await nils.pushed("dm.received")).body.message.text, "Twice?");
  });
  await check("a hundred copies at once are one effect", async () => {
    const id = "copied";
    for (let n = 0; n < 100; n++) mara.post("post.create", { text: "copied" }, id);
    const replies = [];
    while (replies.length < 100) replies.push(await mara.take((f) => f.op === "reply" && f.id === id, `reply ${replies.length}`));
    equal(replies.filter((reply) => reply.ok && !reply.duplicate).length, 1);
    equal(new Set(replies.map((reply) => reply.body.post.id)).size, 1);
    equal((await mara.get("post.list", {})).items.filter((item) => item.text === "copied").length, 1);
  });
  await check("the same id for another message is a conflict", async () => {
    equal(await mara.fails("dm.send", { to: "nils", text: "Three times?" }, "twice"), "conflict");
    equal(await mara.fails("follow.add", { user: "nils" }, "twice"), "conflict");
  });
}

async function wrongBodies(mara) {
  const wrong = {
    "profile.get": [[{ user: "nobody_at_all" }, "not_found"], [{ user: "No" }, "bad_message"], [5, "bad_message"]],
    "profile.update": [[{}, "bad_message"], [{ name: "x".repeat(51) }, "too_large"], [{ bio: ["x"] }, "bad_message"]],
    "post.create": [[{ text: "x".repeat(2001) }, "too_large"], [{ text: "" }, "bad_message"], [{}, "bad_message"], [null, "bad_frame"]],
    "post.get": [[{ post: NOBODY }, "not_found"], [{ post: 1 }, "bad_message"], [{}, "bad_message"]],
    "post.delete": [[{ post: NOBODY }, "not_found"], [{}, "bad_message"]],
    "post.list": [[{ limit: 0 }, "bad_message"], [{ limit: 101 }, "bad_message"], [{ limit: "1" }, "bad_message"], [{ user: "nobody_at_all" }, "not_found"]],
    "comment.create": [[{ post: NOBODY, text: "x" }, "not_found"], [{ post: NOBODY, text: "x".repeat(1001) }, "too_large"], [{ text: "x" }, "bad_message"]],
    "comment.list": [[{ post: NOBODY }, "not_found"], [{}, "bad_message"]],
    "like.add": [[{ post: NOBODY }, "not_found"], [{}, "bad_message"]],
    "like.remove": [[{ post: NOBODY }, "not_found"], [{}, "bad_message"]],
    "follow.add": [[{ user: "nobody_at_all" }, "not_found"], [{ user: "mara" }, "bad_message"], [{}, "bad_message"]],
    "follow.remove": [[{ user: "nobody_at_all" }, "not_found"], [{ user: "" }, "bad_message"]],
    "follow.list": [[{}, "bad_message"], [{ direction: "up" }, "bad_message"], [{ user: "nobody_at_all", direction: "followers" }, "not_found"]],
    "block.add": [[{ user: "nobody_at_all" }, "not_found"], [{ user: "mara" }, "bad_message"]],
    "block.remove": [[{ user: "nobody_at_all" }, "not_found"], [{}, "bad_message"]],
    "dm.send": [[{ to: "nils", text: "x".repeat(4001) }, "too_large"], [{ to: "nobody_at_all", text: "x" }, "not_found"], [{ to: "mara", text: "x" }, "bad_message"], [{ to: "nils" }, "bad_message"]],
    "dm.list": [[{ with: "nobody_at_all" }, "not_found"], [{}, "bad_message"]],
    typing: [[{ to: "nobody_at_all" }, "not_found"], [{ to: "X" }, "bad_message"]],
    "presence.get": [[{ users: Array(101).fill("nils") }, "bad_message"], [{ users: "nils" }, "bad_message"], [{}, "bad_message"]],
    "tele.port": [[{}, "unknown_type"]],
    "post.fanout": [[{}, "unknown_type"]],
  };
  for (const [type, bodies] of Object.entries(wrong)) {
    await check(`${type} refuses what is wrong`, async () => {
      for (const [body, code] of bodies) equal([type, body, await mara.fails(type, body)], [type, body, code]);
    });
  }
  await check("a body's unknown fields are ignored", async () => {
    equal(await mara.get("typing", { to: "nils", mood: { deep: [null] } }), {});
  });
}

async function quarrel(mara, nils, olga) {
  const { post } = await mara.get("post.create", { text: "before the quarrel" });
  await check("block.add hides the two from each other", async () => {
    equal(await mara.get("block.add", { user: "nils" }), { user: "nils", blocked: true });
    equal((await mara.get("profile.get", {})).user.followers, 0);
    for (const [one, other] of [[mara, "nils"], [nils, "mara"]]) {
      equal(await one.fails("profile.get", { user: other }), "not_found");
      equal(await one.fails("post.list", { user: other }), "not_found");
      equal(await one.fails("dm.send", { to: other, text: "x" }), "forbidden");
      equal(await one.fails("follow.add", { user: other }), "forbidden");
      equal(await one.get("presence.get", { users: [other] }), { online: [] });
    }
    equal(await nils.fails("post.get", { post: post.id }), "not_found");
    equal(await nils.fails("like.add", { post: post.id }), "forbidden");
    equal(await nils.fails("comment.create", { post: post.id, text: "x" }), "forbidden");
  });
  await check("after a block nothing of the other arrives", async () => {
    const from = mara.frames.length;
    await nils.get("typing", { to: "mara" });
    await nils.get("post.create", { text: "to nobody" });
    await olga.get("dm.send", { to: "mara", text: "All well?" });
    await mara.take((f) => f.op === "push" && f.body.message?.from === "olga", "olga's message");
    const heard = mara.frames.slice(from).filter((f) => f.op === "push" || f.op === "event");
    must(heard.every((f) => !JSON.stringify(f).includes("nils")), heard);
  });
  await check("block.remove makes peace", async () => {
    equal(await mara.get("block.remove", { user: "nils" }), { user: "nils", blocked: false });
    equal((await nils.get("post.get", { post: post.id })).post, post);
    await nils.get("dm.send", { to: "mara", text: "Sorry." });
    equal((await mara.take((f) => f.body?.message?.text === "Sorry.", "the apology")).type, "dm.received");
  });
}
