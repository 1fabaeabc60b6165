// One device of one user: what an app developer would put around `ws`.
import { randomUUID } from "node:crypto";
import WebSocket from "ws";
import { brief, equal, must, shape } from "./checks.mjs";

const PATIENCE = 20_000;

export class Phone {
  frames = [];
  unread = [];
  #waiting = [];

  /** Upgrades, without saying hello. */
  static dial(backend, { protocols = ["soundoff.v1"], headers, ...options } = {}) {
    const phone = new Phone();
    phone.socket = new WebSocket(backend.url, protocols, { headers, perMessageDeflate: false, ...options });
    phone.closed = new Promise((resolve) => phone.socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() })));
    phone.closed.then(() => phone.#settle());
    phone.socket.on("message", (data, binary) => {
      must(!binary, "the server sends a binary frame");
      const frame = JSON.parse(data.toString());
      phone.frames.push(frame);
      phone.unread.push(frame);
      phone.#settle();
    });
    return new Promise((resolve, reject) => {
      phone.socket.once("open", () => resolve(phone));
      phone.socket.once("error", reject);
      phone.socket.once("unexpected-response", (_, response) => {
        let body = "";
        response.on("data", (part) => (body += part)).on("end", () => reject(Object.assign(new Error("refused"), { response, body })));
      });
    }).finally(() => phone.socket.on("error", () => {}));
  }

  /** Upgrades, says hello and is welcomed. */
  static async open(backend, token, hello = {}) {
    const phone = await Phone.dial(backend);
    phone.write({ op: "hello", token, ...hello });
    phone.welcome = await phone.take((f) => f.op === "welcome", "welcome");
    phone.handle = phone.welcome.user;
    return phone;
  }

  /** Pings as the welcome asks. */
  keepAlive() {
    this.write({ op: "ping" });
    const timer = setInterval(() => this.write({ op: "ping" }), this.welcome.heartbeat_ms * 0.6);
    this.closed.then(() => clearInterval(timer));
    return this;
  }

  write(frame) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(typeof frame === "object" && !Buffer.isBuffer(frame) ? JSON.stringify(frame) : frame);
  }

  /** Writes bytes that are no websocket frame of this library's making. */
  inject(bytes) {
    this.socket._socket.write(Buffer.from(bytes));
  }

  #settle() {
    for (const waiter of [...this.#waiting]) waiter();
  }

  /** The first unread frame that fits, now or later. */
  take(fits, what = "a frame", patience = PATIENCE) {
    return new Promise((resolve, reject) => {
      const finish = (act, value) => {
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((waiter) => waiter !== look);
        act(value);
      };
      const look = () => {
        const at = this.unread.findIndex(fits);
        if (at >= 0) finish(resolve, this.unread.splice(at, 1)[0]);
        else if (this.socket.readyState === WebSocket.CLOSED) finish(reject, new Error(`closed while waiting for ${what}`));
      };
      const timer = setTimeout(() => finish(reject, new Error(`${what} does not come; unread: ${brief(this.unread.slice(-4))}`)), patience);
      this.#waiting.push(look);
      look();
    });
  }

  post(type, body, id = randomUUID()) {
    this.write({ op: "send", id, type, body });
    return id;
  }

  /** Sends and waits for the outcome: {reply, mid}. */
  async call(type, body, id = randomUUID()) {
    this.post(type, body, id);
    const accepted = this.take((f) => f.op === "accepted" && f.id === id, `accepted of ${type}`);
    const reply = this.take((f) => f.op === "reply" && f.id === id, `reply to ${type}`);
    const [{ mid, ...rest }, outcome] = await Promise.all([accepted, reply]);
    shape({ mid }, { mid: "ulid" });
    equal(rest, { op: "accepted", id });
    return { mid, reply: outcome };
  }

  /** The body of a reply that must be good. */
  async get(type, body, id) {
    const { reply } = await this.call(type, body, id);
    must(reply.ok === true && !("error" in reply), `${type} ${brief(body)} fails: ${brief(reply)}`);
    return reply.body;
  }

  /** The code of an error that must come, be it from the edge or from the worker. */
  async fails(type, body, id = randomUUID()) {
    this.post(type, body, id);
    const frame = await this.take((f) => f.id === id && (f.op === "error" || f.op === "reply"), `an error for ${type}`);
    must(frame.op === "error" || (frame.ok === false && !("body" in frame)), `${type} ${brief(body)} succeeds: ${brief(frame)}`);
    return wellFormed(frame.error).code;
  }

  /** The next push of a type. */
  async pushed(type) {
    const frame = await this.take((f) => f.op === "push" && f.type === type, `push ${type}`);
    shape(frame, { op: "push", seq: "number", type, mid: "ulid", body: frame.body });
    return frame;
  }

  /** The body of the next event of a type. */
  async hears(type) {
    const frame = await this.take((f) => f.op === "event" && f.type === type, `event ${type}`);
    equal(Object.keys(frame).sort(), ["body", "op", "type"]);
    return frame.body;
  }

  async roundTrip() {
    this.write({ op: "ping" });
    equal(await this.take((f) => f.op === "pong", "pong"), { op: "pong" });
  }

  seqs() {
    return this.frames.filter((f) => f.op === "push").map((f) => f.seq);
  }

  /** The code the server closes with. */
  async closeCode(patience = PATIENCE) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("the server does not close")), patience); });
    return (await Promise.race([this.closed, late]).finally(() => clearTimeout(timer))).code;
  }

  bye() {
    this.write({ op: "bye" });
    return this.closeCode();
  }

  /** Is gone, as in a tunnel. */
  async drop() {
    this.socket.terminate();
    await this.closed;
  }
}

/** An error object as documented. */
export function wellFormed(error) {
  const { retry_after_ms: after, ...rest } = error;
  shape(rest, { code: "string", message: "string", retry: ["rate_limited", "overloaded"].includes(error.code) });
  must(error.message.length > 0 && (after === undefined || Number.isInteger(after)), error);
  return error;
}
