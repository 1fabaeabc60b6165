// Devices that go and come back, servers that go and come back.
import { Backend } from "./backend.mjs";
import { check, equal, must } from "./checks.mjs";
import { Phone, wellFormed } from "./phone.mjs";

export function comeback() {
  return Backend.with(["--edges", "2", "--drain-ms", "1500", "--type-limits", "off"], async (backend) => {
    const rosa = await backend.token("rosa");
    const theo = await Phone.open(backend, await backend.token("theo"), { device: "theos" });
    const write = (...texts) => Promise.all(texts.map((text) => theo.get("dm.send", { to: "rosa", text })));
    await cursors(backend, rosa, write);
    await crowd(backend, rosa, write);
    await absence(backend);
    await roaming(backend, rosa, theo);
    await restart(backend, rosa, theo);
    await accident(backend);
    await check("after all comings and goings the queues are empty", () => backend.settle());
  });
}

const dms = async (phone, count) => {
  const pushes = [];
  while (pushes.length < count) pushes.push(await phone.pushed("dm.received"));
  return pushes.map((push) => push.seq);
};

async function cursors(backend, rosa, write) {
  await check("a new device starts at the newest", async () => {
    await write("1", "2", "3", "4");
    const phone = await Phone.open(backend, rosa, { device: "watch" });
    equal(phone.welcome.cursor, 4);
    await write("5");
    equal(await dms(phone, 1), [5]);
    equal(phone.seqs(), [5]);
    await phone.drop();
  });
  await check("a device without a cursor goes on after its last ack", async () => {
    await write("6", "7");
    const phone = await Phone.open(backend, rosa, { device: "watch" });
    equal(await dms(phone, 3), [5, 6, 7]);
    phone.write({ op: "ack", cursor: 6 });
    equal(await phone.bye(), 1000);
    await write("8");
    equal(await resumed(backend, rosa, "watch", 7), [7, 8]);
  });
  await check("a cursor gets all that came after it, in order, before anything newer", async () => {
    const phone = await Phone.dial(backend);
    const news = write("9");
    phone.write({ op: "hello", token: rosa, device: "tablet", cursor: 6 });
    await news;
    const seqs = await dms(phone, 3);
    equal(seqs, [7, 8, 9]);
    equal(phone.frames[0].op, "welcome");
    await phone.bye();
  });
  await check("a cursor below what every device has acked gets the place where the inbox goes on", async () => {
    // Entries that all devices have are deleted soon after the last ack.
    const deadline = Date.now() + 10_000;
    let phone, error;
    do {
      await phone?.bye();
      phone = await Phone.open(backend, rosa, { cursor: 2 });
      await phone.take((f) => f.seq === 9, "the newest push");
      error = phone.frames.find((f) => f.op === "error");
    } while (!error && Date.now() < deadline);
    equal(wellFormed(error.error).code, "not_found");
    equal(phone.seqs(), [7, 8, 9]);
    await phone.bye();
  });
  await check("an old ack does not turn the clock back", async () => {
    const phone = await Phone.open(backend, rosa, { device: "watch", cursor: 9 });
    phone.write({ op: "ack", cursor: 9 });
    phone.write({ op: "ack", cursor: 3 });
    await phone.roundTrip();
    await phone.bye();
    await write("10");
    equal(await resumed(backend, rosa, "watch", 10), [10]);
  });
}

/** The seqs that a device without a cursor gets. They may begin before `first` until the ack is stored. */
async function resumed(backend, token, device, first) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const phone = await Phone.open(backend, token, { device });
    await phone.take((f) => f.seq === phone.welcome.cursor, "the newest push");
    equal(await phone.bye(), 1000);
    if (phone.seqs()[0] === first || Date.now() > deadline) return phone.seqs();
  }
}

async function crowd(backend, rosa, write) {
  await check("all devices get all pushes, and only the sender the reply", async () => {
    const phones = await Promise.all(["a", "b", "c"].map((device) => Phone.open(backend, rosa, { device })));
    await write("11", "12");
    for (const phone of phones) equal((await dms(phone, 2)).toSorted((a, b) => a - b), [11, 12]);
    for (const phone of phones) equal(phone.seqs(), [11, 12]);
    await phones[0].get("profile.get", {}, "only-a-asks");
    for (const phone of phones.slice(1)) {
      await phone.roundTrip();
      must(phone.frames.every((f) => f.id !== "only-a-asks"), phone.frames);
    }
    await Promise.all(phones.map((phone) => phone.bye()));
  });
}

async function absence(backend) {
  await check("with the workers stopped messages are accepted; the replies come later, to another device if need be", async () => {
    const token = await backend.token("ulla");
    const [first, second] = [await Phone.open(backend, token), await Phone.open(backend, token)];
    await backend.operate("workers", "pause");
    const mine = second.post("post.create", { text: "patience" });
    const orphan = first.post("post.create", { text: "and gone" });
    await second.take((f) => f.op === "accepted" && f.id === mine, "accepted");
    await first.take((f) => f.op === "accepted" && f.id === orphan, "accepted");
    await first.drop();
    must(!second.frames.some((f) => f.op === "reply"), second.frames);
    await backend.operate("workers", "resume");
    const replies = [];
    while (replies.length < 2) replies.push(await second.take((f) => f.op === "reply", "a reply"));
    equal(replies.map((f) => f.body.post.text).toSorted(), ["and gone", "patience"]);
    await second.bye();
  });
}

async function roaming(backend, rosa, theo) {
  await check("a device that roams under a stream of messages loses none and sees them in order", async () => {
    let phone = await Phone.open(backend, rosa, { device: "roamer" });
    const start = phone.welcome.cursor;
    const total = 120;
    const sent = [];
    for (let n = 0; n < total; n++) sent.push(theo.get("dm.send", { to: "rosa", text: `stream ${n}` }));
    const seen = [];
    while (seen.length < total) {
      for (const push of [await phone.pushed("dm.received"), ...phone.unread.splice(0).filter((f) => f.op === "push")]) seen.push(push.seq);
      await phone.drop();
      phone = await Phone.open(backend, rosa, { device: "roamer", cursor: seen.at(-1) });
    }
    await Promise.all(sent);
    equal(seen, seen.map((_, i) => start + 1 + i));
    await phone.bye();
  });
}

async function restart(backend, rosa, theo) {
  let left;
  await check("SIGTERM says goaway with a window, closes 4001 and exits 0", async () => {
    const phone = await Phone.open(backend, rosa, { device: "night" });
    left = phone.welcome.cursor;
    const exit = backend.stop();
    const { reconnect_after_ms: [low, high], ...frame } = await phone.take((f) => f.op === "goaway", "goaway");
    equal(frame, { op: "goaway" });
    must(low >= 0 && high >= low, [low, high]);
    equal([await phone.closeCode(), await theo.closeCode(), await exit], [4001, 4001, 0]);
  });
  await check("after a restart the inbox goes on", async () => {
    await backend.start(["--burst", "1000", "--type-limits", "off"]);
    const again = await Phone.open(backend, await backend.token("theo"));
    await again.get("dm.send", { to: "rosa", text: "morning" });
    const phone = await Phone.open(backend, await backend.token("rosa"), { device: "night", cursor: left });
    equal(await dms(phone, 1), [left + 1]);
    equal([await phone.bye(), await again.bye()], [1000, 1000]);
  });
}

async function accident(backend) {
  await check("kill -9: accepted messages take effect once, also those sent again", async () => {
    const phone = await Phone.open(backend, await backend.token("vera"));
    const ids = Array.from({ length: 100 }, (_, n) => `crash-${n}`);
    for (const id of ids) phone.post("post.create", { text: id }, id);
    // Half of them are durable by now, and the workers are in the middle of it.
    for (let n = 0; n < 50; n++) await phone.take((f) => f.op === "accepted", "accepted");
    await backend.kill();
    const accepted = phone.frames.filter((f) => f.op === "accepted").map((f) => f.id);
    await backend.start(["--messages-per-second", "1000", "--burst", "1000", "--type-limits", "off"]);
    const again = await Phone.open(backend, await backend.token("vera"));
    for (const id of ids) again.post("post.create", { text: id }, id);
    for (const id of ids) {
      const reply = await again.take((f) => f.op === "reply" && f.id === id, `reply to ${id}`);
      must(reply.ok, reply);
    }
    must(accepted.length >= 50, accepted.length);
    const { items } = await again.get("post.list", { limit: 100 });
    equal(items.map((item) => item.text).toSorted(), ids.toSorted());
    await again.bye();
  });
  await check("a message that fails for good ends in the dead letters, and can be driven again", async () => {
    await backend.kill();
    await backend.start(["--chaos", "comment.create=1", "--max-receives", "3"]);
    const phone = await Phone.open(backend, await backend.token("vera"));
    const { post } = await phone.get("post.create", { text: "say something" });
    const { reply, mid } = await phone.call("comment.create", { post: post.id, text: "at last" });
    equal([reply.ok, wellFormed(reply.error).code], [false, "internal"]);
    const queue = (await backend.settle({ comment_create_q: 1 })).find((q) => q.dead === 1).queue;
    const [key] = (await backend.operate("dlq", "list", queue)).trim().split(/\s+/);
    must((await backend.operate("dlq", "show", queue, key)).includes(mid), "the letter is not the message");
    equal(await phone.bye(), 1000);
    await backend.kill();
    await backend.start();
    const after = await Phone.open(backend, await backend.token("vera"));
    equal((await after.get("comment.list", { post: post.id })).items, []);
    await backend.operate("dlq", "redrive", queue);
    await backend.settle();
    equal((await after.get("comment.list", { post: post.id })).items.map((item) => item.text), ["at last"]);
    await after.bye();
  });
}
