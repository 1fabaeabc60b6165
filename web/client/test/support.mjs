// What several tests need: a client that records what it hears, sockets that can be tampered with, and a browser's
// locks.
import WebSocket from "ws";
import { SoundOff, memoryStore } from "./under.mjs";

const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 15_000);

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until a condition is true. */
export async function until(found, what = found.toString()) {
  for (const end = Date.now() + PATIENCE_MS; ; await pause(5)) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`it does not happen: ${what}`);
  }
}

/** Times that are short enough for a test with a local server. */
export const QUICK = { connectMs: 2000, acceptMs: 500, replyMs: 1000, backoffMs: [5, 100], steadyMs: 500, ackMs: 10 };

/** A WebSocket class whose frames a test can see, drop and forge, and whose network it can switch off. */
export function wire() {
  const hooks = { out: () => true, in: () => true, offline: false, sockets: [], sent: [], received: [] };
  hooks.WebSocket = class extends WebSocket {
    constructor(url, protocol) {
      super(hooks.offline ? "ws://127.0.0.1:1/" : url, protocol, { perMessageDeflate: false });
      hooks.sockets.push(this);
    }

    send(text) {
      const frame = JSON.parse(text);
      hooks.sent.push(frame);
      if (hooks.out(frame, this)) super.send(text);
    }

    set onmessage(listener) {
      this.hear = listener;
      super.onmessage = (event) => {
        const frame = JSON.parse(event.data);
        hooks.received.push(frame);
        if (hooks.in(frame, this)) listener?.(event);
      };
    }

    /** As if the server had sent it. */
    forge(frame) {
      this.hear({ data: JSON.stringify(frame) });
    }
  };
  /** No network from here on, or again. */
  hooks.cut = (offline = true) => {
    hooks.offline = offline;
    for (const socket of hooks.sockets) socket.terminate();
  };
  hooks.last = () => hooks.sockets.at(-1);
  return hooks;
}

const open = new Set();

/** A running client, with everything that it reports. */
export function app(server, token, { net = wire(), ...options } = {}) {
  const client = new SoundOff({
    url: server.url,
    token: typeof token === "function" ? token : async () => token,
    WebSocket: net.WebSocket,
    store: memoryStore(),
    ...options,
    timings: { ...QUICK, ...options.timings },
  });
  const heard = { client, net, states: [], pushes: [], events: [], replies: [], gaps: [], lists: [], faults: [] };
  client.on("state", (change) => void heard.states.push(change));
  client.on("push", (push) => void heard.pushes.push(push));
  client.on("event", (event) => void heard.events.push(event));
  client.on("reply", (reply) => void heard.replies.push(reply));
  client.on("pending", (list) => void heard.lists.push(list));
  client.on("gap", (gap) => void heard.gaps.push(gap));
  client.on("error", (error) => void heard.faults.push(error));
  heard.online = () => until(() => client.state === "online", "online");
  heard.texts = () => heard.pushes.map(({ type, body }) => `${type} ${body.message?.text ?? body.by ?? ""}`);
  /** Ends it as a crash would: it neither sends nor stores anything more. */
  heard.crash = () => {
    heard.crashed = true;
    net.cut();
    net.WebSocket.prototype.send = () => {};
  };
  open.add(heard);
  client.start();
  return heard;
}

/** Stops whatever a test has left running. */
export async function stopAll() {
  await Promise.all([...open].map(({ client }) => client.stop()));
  open.clear();
}

/** `navigator.locks` of several pages: `page()` is one page's, and `close()` on it ends the page. */
export function browser() {
  const held = new Map();
  const waiting = [];
  const grant = async (name, callback, mine) => {
    let end;
    const closed = new Promise((resolve) => (end = resolve));
    held.set(name, closed);
    mine.add(end);
    try {
      return await Promise.race([callback({ name }), closed]);
    } finally {
      held.delete(name);
      mine.delete(end);
      const next = waiting.findIndex((other) => other.name === name);
      if (next >= 0) waiting.splice(next, 1)[0].go();
    }
  };
  const page = () => {
    const mine = new Set();
    return {
      async request(name, ...rest) {
        const callback = rest.pop();
        if (!held.has(name)) return grant(name, callback, mine);
        if (rest[0]?.ifAvailable) return callback(null);
        await new Promise((go) => waiting.push({ name, go }));
        return grant(name, callback, mine);
      },
      close: () => mine.forEach((end) => end()),
    };
  };
  return { page };
}
