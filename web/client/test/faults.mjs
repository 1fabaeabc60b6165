// A proxy that knows websocket frames: it drops, delays and doubles them in both directions, and cuts the socket, as a
// seed determines.
import { once } from "node:events";
import WebSocket, { WebSocketServer } from "ws";

/** Numbers from 0 to 1 that a text determines (xmur3 and mulberry32). */
export function seeded(text) {
  let state = 1779033703 ^ text.length;
  for (const char of text) {
    state = Math.imul(state ^ char.charCodeAt(0), 3432918353);
    state = (state << 13) | (state >>> 19);
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How likely each fault is for a frame. */
const ODDS = [
  ["dropped", 0.03],
  ["delayed", 0.06],
  ["doubled", 0.03],
  ["doubled late", 0.03],
  ["cut", 0.008],
];

const LONGEST_DELAY_MS = 30;

export class FaultyProxy {
  /** How often each fault has fired, by direction. */
  fired = {};
  #server;
  #paths = new Map();

  static async to(upstream) {
    const proxy = new FaultyProxy();
    proxy.upstream = `${upstream.replace("http", "ws")}/v1/ws`;
    proxy.#server = new WebSocketServer({
      host: "127.0.0.1",
      port: 0,
      perMessageDeflate: false,
      clientTracking: false,
    });
    proxy.#server.on("connection", (socket, request) => proxy.#join(socket, request.url));
    await once(proxy.#server, "listening");
    return proxy;
  }

  /** A new address, with faults from `seed` until it is mended. */
  path(name, seed) {
    const path = { seed, faulty: true, cuts: new Set(), connections: 0 };
    this.#paths.set(`/${name}`, path);
    path.url = `ws://127.0.0.1:${this.#server.address().port}/${name}`;
    /** Ends the faults, and the sockets that have suffered them. */
    path.mend = () => {
      path.faulty = false;
      for (const cut of path.cuts) cut();
    };
    path.forget = () => this.#paths.delete(`/${name}`);
    return path;
  }

  #join(near, url) {
    const path = this.#paths.get(url.replace(/\/v1\/ws$/, ""));
    if (!path) return near.terminate();
    const far = new WebSocket(this.upstream, "soundoff.v1", { perMessageDeflate: false });
    const number = path.connections++;
    const cut = () => {
      path.cuts.delete(cut);
      near.terminate();
      far.terminate();
    };
    path.cuts.add(cut);
    near.on("error", cut);
    far.on("error", cut);
    const out = this.#line(path, `${number} out`, far, cut);
    const back = this.#line(path, `${number} back`, near, cut);
    const early = [];
    near.on("message", (data) => (far.readyState === WebSocket.CONNECTING ? early.push(data) : out(data)));
    far.on("open", () => early.splice(0).forEach(out));
    far.on("message", back);
    near.on("close", cut);
    far.on("close", (code, reason) => {
      path.cuts.delete(cut);
      if (code >= 4000 && code < 5000) near.close(code, reason);
      else near.terminate();
    });
  }

  /** One direction: frames stay in order, except those that come a second time. */
  #line(path, name, to, cut) {
    const chance = seeded(`${path.seed} ${name}`);
    const direction = name.split(" ")[1];
    const queue = [];
    let held = false;
    const write = (data) => to.readyState === WebSocket.OPEN && to.send(data, { binary: false });
    const flush = () => {
      while (!held && queue.length > 0) {
        const { data, fault } = queue.shift();
        if (fault === "delayed") {
          held = true;
          setTimeout(() => ((held = false), write(data), flush()), chance() * LONGEST_DELAY_MS);
        } else write(data);
        if (fault === "doubled") write(data);
        if (fault === "doubled late") setTimeout(() => write(data), chance() * LONGEST_DELAY_MS);
      }
    };
    return (data) => {
      const fault = path.faulty ? draw(chance()) : null;
      if (fault) this.fired[`${fault} ${direction}`] = (this.fired[`${fault} ${direction}`] ?? 0) + 1;
      if (fault === "cut") return cut();
      if (fault === "dropped") return;
      queue.push({ data, fault });
      flush();
    };
  }

  close() {
    this.#server.close();
  }
}

function draw(number) {
  for (const [fault, odds] of ODDS) {
    if (number < odds) return fault;
    number -= odds;
  }
  return null;
}
