// Runs of two users each behind a faulty proxy: whatever it does, nothing is lost, doubled or out of order.
//
//   node chaos.mjs            1,000 seeds
//   RUNS=50 node chaos.mjs    fewer
//   SEED=17 node chaos.mjs    one of them again
import { deepEqual, equal } from "node:assert/strict";
import WebSocket from "ws";
import { FaultyProxy, seeded } from "./faults.mjs";
import { Server } from "./server.mjs";
import { SoundOff, memoryStore } from "./under.mjs";

const RUNS = Number(process.env.RUNS ?? 1000);
const AT_ONCE = Number(process.env.AT_ONCE ?? 40);
const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 30_000);
const TIMINGS = { connectMs: 500, acceptMs: 200, replyMs: 300, backoffMs: [5, 100], steadyMs: 500, ackMs: 20 };
const FLAGS = ["--heartbeat-ms", "1000", "--hello-timeout-ms", "1000", "--sockets-per-user", "1000"];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A user's app: it may crash, and then the next one continues with its store. */
class App {
  store = memoryStore();
  pushes = [];
  outcomes = new Map();

  constructor(handle, token, path) {
    Object.assign(this, { handle, token, path });
    this.#open();
  }

  #open() {
    const life = { dead: false, sockets: new Set() };
    const { store } = this;
    this.life = life;
    // A crashed process writes nothing more, neither to the store nor to the network.
    const kept = {
      ...store,
      set: (key, value) => life.dead || store.set(key, value),
      remove: (key) => life.dead || store.remove(key),
    };
    const client = new SoundOff({
      url: this.path.url,
      token: async () => (life.dead ? new Promise(() => {}) : this.token),
      store: kept,
      timings: TIMINGS,
      WebSocket: class extends WebSocket {
        constructor(url, protocol) {
          super(url, protocol, { perMessageDeflate: false });
          life.sockets.add(this);
          this.addEventListener("close", () => life.sockets.delete(this));
        }
      },
    });
    client.on("push", (push) => void (life.dead || this.pushes.push(push)));
    client.on("reply", (reply) => void (life.dead || this.outcomes.set(reply.id, reply)));
    // A hello that comes twice is refused the second time.
    client.on("error", (error) => error.code === "bad_frame" || this.faults.push(error));
    this.client = client;
    client.start();
  }

  faults = [];
  calls = [];

  call(type, body) {
    const id = `${this.handle}-${this.calls.length}`;
    this.calls.push(id);
    this.client.call(type, body, { id }).catch(() => {});
    return id;
  }

  crash() {
    this.life.dead = true;
    for (const socket of this.life.sockets) socket.terminate();
    this.client.stop();
    this.#open();
  }

  outcome(id) {
    return until(
      () => this.outcomes.get(id),
      () => `${id} is not answered; pending: ${JSON.stringify(this.client.pending)}`,
    );
  }
}

async function until(found, what) {
  for (const end = Date.now() + PATIENCE_MS; ; await pause(5)) {
    const value = found();
    if (value) return value;
    if (Date.now() > end) throw new Error(what());
  }
}

/** A connection without faults and without the client under test. */
async function clean(url, token) {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/ws`, "soundoff.v1", { perMessageDeflate: false });
  const waiting = new Map();
  const welcomed = new Promise((resolve) => waiting.set("welcome", resolve));
  socket.on("message", (data) => {
    const frame = JSON.parse(data);
    const key = frame.op === "welcome" ? "welcome" : frame.op === "reply" ? frame.id : null;
    waiting.get(key)?.(frame);
  });
  socket.on("open", () => socket.send(JSON.stringify({ op: "hello", token })));
  const { cursor } = await welcomed;
  let calls = 0;
  const ask = async (type, body) => {
    const id = `clean-${calls++}`;
    const replied = new Promise((resolve) => waiting.set(id, resolve));
    socket.send(JSON.stringify({ op: "send", id, type, body }));
    const { ok, body: answer, error } = await replied;
    if (!ok) throw new Error(`${type}: ${error.message}`);
    return answer;
  };
  return { cursor, ask, close: () => socket.terminate() };
}

/** What both do, at once and without waiting for answers, in an order that the seed determines. */
async function act(chance, anna, bobby) {
  const first = anna.call("post.create", { text: "post 0" });
  const { body } = await anna.outcome(first);
  const post = body.post.id;
  const said = {
    post,
    posts: ["post 0"],
    fromAnna: [],
    fromBobby: [],
    comments: [],
    liked: false,
    everLiked: false,
    follows: false,
    everFollowed: false,
  };
  const plans = [
    () => said.fromAnna.push(text(anna, "dm.send", { to: bobby.handle }, `a${said.fromAnna.length}`)),
    () => said.fromBobby.push(text(bobby, "dm.send", { to: anna.handle }, `b${said.fromBobby.length}`)),
    () => said.posts.push(text(anna, "post.create", {}, `post ${said.posts.length}`)),
    () => said.comments.push(text(bobby, "comment.create", { post }, `comment ${said.comments.length}`)),
    () => {
      said.liked = !said.liked;
      said.everLiked ||= said.liked;
      bobby.call(said.liked ? "like.add" : "like.remove", { post });
    },
    () => {
      said.follows = !said.follows;
      said.everFollowed ||= said.follows;
      bobby.call(said.follows ? "follow.add" : "follow.remove", { user: anna.handle });
    },
  ];
  let crash = chance() < 0.3 ? { from: Math.floor(chance() * 14), app: chance() < 0.5 ? anna : bobby } : null;
  for (let step = 0; step < 16; step++) {
    plans[Math.floor(chance() * plans.length)]();
    // Without a cursor in the store nobody could know that a device's very first push was dropped; no real network
    // drops one of many.
    if (step >= crash?.from && crash.app.pushes.length > 0) {
      crash.app.crash();
      crash = null;
    }
    if (chance() < 0.4) await pause(chance() * 20);
  }
  for (const app of [anna, bobby]) {
    for (const id of app.calls) {
      const { error } = await app.outcome(id);
      if (error) throw error;
    }
  }
  return said;
}

function text(app, type, body, said) {
  app.call(type, { ...body, text: said });
  return said;
}

/** What a clean connection finds. */
async function judge(url, said, anna, bobby) {
  const [a, b] = await Promise.all([clean(url, anna.token), clean(url, bobby.token)]);
  try {
    const oldestFirst = async (ask, type, body) => (await ask(type, { ...body, limit: 100 })).items.reverse();
    const dms = await oldestFirst(b.ask, "dm.list", { with: anna.handle });
    const texts = (from) => dms.filter((dm) => dm.from === from.handle).map((dm) => dm.text);
    deepEqual(texts(anna), said.fromAnna, "dm.list, from anna");
    deepEqual(texts(bobby), said.fromBobby, "dm.list, from bobby");
    deepEqual(
      (await oldestFirst(b.ask, "post.list", { user: anna.handle })).map((post) => post.text),
      said.posts,
      "post.list",
    );
    deepEqual(
      (await oldestFirst(b.ask, "comment.list", { post: said.post })).map((c) => c.text),
      said.comments,
      "comment.list",
    );
    const { post, liked } = await b.ask("post.get", { post: said.post });
    deepEqual([liked, post.likes, post.comments], [said.liked, said.liked ? 1 : 0, said.comments.length], "post.get");
    const followers = await b.ask("follow.list", { user: anna.handle, direction: "followers" });
    deepEqual(followers.items, said.follows ? [bobby.handle] : [], "follow.list");
    for (const [app, head] of [
      [anna, a.cursor],
      [bobby, b.cursor],
    ]) {
      await until(
        () => app.pushes.length >= head,
        () => `${app.handle} has ${app.pushes.length} of ${head} pushes`,
      );
      deepEqual(
        app.pushes.map((push) => push.seq),
        Array.from({ length: head }, (_, at) => at + 1),
        `${app.handle}'s pushes`,
      );
    }
    const pushed = (app, type) =>
      app.pushes
        .filter((push) => push.type === type)
        .map(({ body }) => body.message?.text ?? body.comment?.text ?? body.by);
    deepEqual(pushed(bobby, "dm.received"), said.fromAnna, "pushed to bobby");
    deepEqual(pushed(anna, "dm.received"), said.fromBobby, "pushed to anna");
    deepEqual(pushed(anna, "dm.sent"), said.fromAnna, "pushed to anna's other devices");
    deepEqual(pushed(anna, "comment.created"), said.comments, "comments pushed to anna");
    equal(pushed(anna, "like.added").length, said.everLiked ? 1 : 0, "likes pushed to anna");
    equal(pushed(anna, "follow.added").length, said.everFollowed ? 1 : 0, "follows pushed to anna");
  } finally {
    a.close();
    b.close();
  }
}

async function run(seed, server, proxy, tokens) {
  const chance = seeded(`run ${seed}`);
  const apps = ["anna", "bobby"].map((name) => {
    const handle = `${name}_${seed}`;
    return new App(handle, tokens[handle], proxy.path(handle, `${seed} ${name}`));
  });
  try {
    await until(
      () => apps.every((app) => app.client.state === "online"),
      () => "the apps do not come online",
    );
    const said = await act(chance, ...apps);
    for (const app of apps) app.path.mend();
    await judge(server.url, said, ...apps);
    for (const app of apps) deepEqual(app.faults, [], `${app.handle}'s faults`);
  } finally {
    await Promise.all(apps.map((app) => app.client.stop()));
    for (const app of apps) app.path.forget();
  }
}

async function main() {
  const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: RUNS }, (_, at) => at + 1);
  const server = await Server.start(...FLAGS);
  const proxy = await FaultyProxy.to(server.url);
  const failed = [];
  try {
    const begun = Date.now();
    const handles = seeds.flatMap((seed) => [`anna_${seed}`, `bobby_${seed}`]);
    const tokens = {};
    for (let at = 0; at < handles.length; at += 1000)
      Object.assign(tokens, await server.tokens(handles.slice(at, at + 1000)));
    const left = seeds.slice();
    const lane = async () => {
      for (let seed = left.shift(); seed !== undefined && failed.length < 10; seed = left.shift()) {
        await run(seed, server, proxy, tokens).catch((error) => {
          failed.push(seed);
          console.error(`SEED=${seed} fails: ${error.message}`);
        });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    console.log(
      `${seeds.length} runs in ${((Date.now() - begun) / 1000).toFixed(1)} s, ${failed.length} failed;`,
      `faults: ${JSON.stringify(proxy.fired)}`,
    );
    if (seeds.length >= 50) {
      for (const fault of ["dropped", "delayed", "doubled", "doubled late", "cut"]) {
        for (const direction of ["out", "back"])
          equal(proxy.fired[`${fault} ${direction}`] > 0, true, `${fault} ${direction} never fired`);
      }
    }
  } finally {
    proxy.close();
    await server.stop();
  }
  process.exitCode = failed.length ? 1 : 0;
}

await main();
