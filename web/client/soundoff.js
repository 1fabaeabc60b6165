// A client of Sound Off for browsers, workers and Node 20+: one module, no dependencies. docs/clients.md says what it does and why.

const DAY_MS = 24 * 3600 * 1000;
/** How long after its first try a message may go out again: the server knows an `id` for seven days. */
const REPEATABLE_MS = 6 * DAY_MS;
/** How many pages that share a store may be online at once; a user has ten sockets. */
const SEATS = 16;
/** How many messages wait for their replies on one socket; the server takes bursts of 200. */
const WINDOW = 64;
/** How many pushes wait for slow listeners; what comes then is read again from the server's inbox. */
const PUSHES_WAITING = 1000;
/** How often a gap in the inbox that nobody explains is asked for before the client goes on and says so. */
const GAP_TRIES = 8;
/** What fits through `POST /v1/media`; larger pictures go the way of `media.begin`. */
const POST_BYTES = 16 * 1024 * 1024;

const TIMINGS = {
  connectMs: 10_000, // from opening a socket to its welcome
  acceptMs: 10_000, // a message without `accepted` goes out again
  replyMs: 10_000, // so does one without its reply; the wait doubles each time
  backoffMs: [500, 30_000], // the first and the longest wait between two tries, of which a random part is waited
  steadyMs: 10_000, // online for so long, and the next backoff begins anew
  ackMs: 250, // handled pushes are acked together
};
const LIMITS = { messages: 500, bytes: 1_000_000 };

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const jitter = ([low, high], failures) => Math.random() * Math.min(high, low * 2 ** Math.min(failures, 16));
const stopped = () => new SoundOffError("stopped", "the client is not running", { retry: true });

/** What went wrong: `code` is one of the protocol's, or `offline`, `stopped`, `expired`, `user_changed`, `signed_out`. */
export class SoundOffError extends Error {
  constructor(code, message, { retry = false, retryAfterMs, duplicate = false } = {}) {
    super(message);
    Object.assign(this, { name: "SoundOffError", code, retry, retryAfterMs, duplicate });
  }

  static of({ code, message, retry, retry_after_ms: retryAfterMs }, duplicate = false) {
    return new SoundOffError(code, message, { retry, retryAfterMs, duplicate });
  }
}

/** Listeners by name. One that fails harms no other. */
class Emitter {
  #listeners = new Map();

  on(name, listener) {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  listeners(name) {
    return [...(this.#listeners.get(name) ?? [])];
  }

  emit(name, value) {
    for (const listener of this.listeners(name)) {
      new Promise((resolve) => resolve(listener(value))).catch((error) => this.fault(error));
    }
  }

  /** A listener or the store has failed: told to whoever listens for `error`, else to the console. */
  fault(error) {
    const told = this.listeners("error");
    if (told.length === 0) console.error("soundoff:", error);
    for (const listener of told) listener(error);
  }
}

/** Keeps strings until the page or process ends. */
export function memoryStore() {
  const map = new Map();
  return { get: (key) => map.get(key) ?? null, set: (key, value) => void map.set(key, value), remove: (key) => void map.delete(key) };
}

/** localStorage, where a page has one and may use it. */
function pageStore() {
  try {
    const area = globalThis.document && globalThis.localStorage;
    area.setItem("soundoff", "1");
    return { get: (key) => area.getItem(key), set: (key, value) => area.setItem(key, value), remove: (key) => area.removeItem(key) };
  } catch {
    return null;
  }
}

/** Writes one key: never two writes at once, and of those that wait only the newest. */
class Cell {
  #next;
  #running = null;

  constructor(store, key) {
    Object.assign(this, { store, key });
  }

  write(value) {
    this.#next = value;
    this.#running ??= this.#run().finally(() => (this.#running = null));
    return this.#running;
  }

  async #run() {
    while (this.#next !== undefined) {
      const value = this.#next;
      this.#next = undefined;
      await (value === null ? this.store.remove(this.key) : this.store.set(this.key, value));
    }
  }
}

/** Takes a lock if it is free; resolves to what gives it back, or to null. */
const tryLock = (locks, name) =>
  new Promise((resolve, reject) => {
    const held = (lock) => (lock ? new Promise((release) => resolve(release)) : resolve(null));
    locks.request(name, { ifAvailable: true }, held).catch(reject);
  });

/** Whose an access token is. Its signature is the server's to check: this only says under whose name things are kept. */
function subject(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub ?? null;
  } catch {
    return null;
  }
}

/** Reads change nothing and `typing` is of the moment: neither outlives the page. `media.begin` serves only whoever waits for its URL. */
const isPassing = (type) => type === "typing" || type === "media.begin" || /\.(get|list|fetch)$/.test(type);

/** Messages of one lane take effect in the order of their calls; `null` is no lane. */
function laneOf(type, body) {
  if (isPassing(type)) return null;
  const family = type.split(".")[0];
  const about = { dm: body.to, like: body.post, comment: body.post, follow: body.user, block: body.user }[family];
  return `${family === "block" ? "follow" : family}:${about ?? ""}`;
}

/** What has been called and not answered yet, in the order of the calls. */
class Outbox {
  #entries = new Map();
  #cell = null;

  get(id) {
    return this.#entries.get(id);
  }

  all() {
    return [...this.#entries.values()];
  }

  add(entry) {
    this.#entries.set(entry.id, entry);
    const texts = this.all().filter((other) => other.passing === entry.passing);
    if (texts.length > LIMITS.messages || this.#text().length > LIMITS.bytes) {
      this.#entries.delete(entry.id);
      throw new SoundOffError("overloaded", "too much waits to be sent", { retry: true });
    }
  }

  delete(entry) {
    clearTimeout(entry.timer);
    this.#entries.delete(entry.id);
  }

  /** What may go out now: of each lane the first, and no more than the window at once. */
  ready() {
    const lanes = new Set();
    let flying = 0;
    const ready = this.all().filter((entry) => {
      const behind = lanes.has(entry.lane);
      if (entry.lane !== null) lanes.add(entry.lane);
      if (entry.flying) flying += 1;
      return entry.kept && !behind && !entry.flying;
    });
    return ready.slice(0, Math.max(0, WINDOW - flying));
  }

  #text() {
    const kept = this.all().filter((entry) => !entry.passing);
    return JSON.stringify(kept.map(({ id, type, body, since, tried, lane }) => ({ id, type, body, since, tried, lane })));
  }

  /** Resolves once all of it is in the store. */
  async save() {
    await this.#cell?.write(this.#text() === "[]" ? null : this.#text());
  }

  /** Begins to keep itself in `cell`, where an earlier page has left `text`: that comes before what was called here. */
  open(cell, text) {
    const mine = this.all();
    this.#cell = cell;
    this.#entries.clear();
    this.take(text);
    for (const entry of mine) this.#entries.set(entry.id, entry);
  }

  /** Takes over what a page that is gone has left. */
  take(text) {
    for (const entry of text ? JSON.parse(text) : []) {
      if (!this.#entries.has(entry.id)) this.#entries.set(entry.id, { ...entry, resumed: true, kept: true, tries: 0 });
    }
  }

  /** Forgets what is kept elsewhere. */
  close() {
    if (this.#cell) this.#entries.clear();
    this.#cell = null;
  }
}

/** Pushes: each once and in order to the listeners, the cursor kept when they are done. */
class Inbox {
  cursor = null;
  #taken = null;
  #waiting = [];
  #skips = false;
  #overflowed = false;
  #gap = { after: -1, tries: 0 };
  #busy = false;

  constructor(client, { failed, done, behind }) {
    Object.assign(this, { client, failed, done, behind });
  }

  /** A new socket begins after the cursor, and says again what has expired. */
  reset() {
    this.#waiting.length = this.#busy ? 1 : 0;
    this.#taken = this.#waiting[0]?.seq ?? this.cursor;
    this.#skips = this.#overflowed = false;
  }

  /** Where a device that knows nothing begins. It may have acked before: then what follows is older than `newest`. */
  welcome(newest) {
    this.#taken ??= newest;
  }

  /** The server has said that entries are gone by age. */
  skip() {
    this.#skips = true;
  }

  take(push) {
    const { seq } = push;
    if (this.cursor === null && !this.#busy && seq <= this.#taken) this.#taken = seq - 1;
    if (seq <= this.#taken || this.#overflowed) return;
    if (seq > this.#taken + 1 && !this.#mayJump(seq)) return this.behind();
    if (this.#waiting.length >= PUSHES_WAITING) return (this.#overflowed = true);
    this.#skips = false;
    this.#taken = seq;
    this.#waiting.push(push);
    if (!this.#busy) this.#drain();
  }

  #mayJump(seq) {
    if (this.#gap.after !== this.#taken) this.#gap = { after: this.#taken, tries: 0 };
    this.#gap.tries += 1;
    if (!this.#skips && this.#gap.tries <= GAP_TRIES) return false;
    this.client.emit("gap", { from: this.#taken + 1, to: seq - 1 });
    return true;
  }

  async #drain() {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const push = this.#waiting[0];
      if (!(await this.#handle(push))) break;
      this.#waiting.shift();
      this.cursor = push.seq;
      await this.done(push.seq);
    }
    this.#busy = false;
    if (this.#overflowed) this.behind();
  }

  /** Hands a push to its listeners; one that rejects gets it again. */
  async #handle(push) {
    const { client } = this;
    let left = client.listeners("push").map((listener) => () => listener(push));
    left.push(...client.listeners(`push:${push.type}`).map((listener) => () => listener(push.body)));
    for (let tries = 0; ; tries++) {
      const results = await Promise.allSettled(left.map(async (handle) => handle()));
      left = left.filter((_, at) => results[at].status === "rejected");
      if (left.length === 0) return true;
      results.filter(({ status }) => status === "rejected").forEach(({ reason }) => client.fault(reason));
      if (!(await this.failed(tries))) return false;
    }
  }
}

/** One user's connection: keeps itself up, sends what is called until it is answered, and hands over what comes. */
export class SoundOff extends Emitter {
  #token;
  #url;
  #prefix;
  #store;
  #locks;
  #WebSocket;
  #timings;
  #device;
  #user;
  #state = "stopped";
  #life = 0;
  #begun;
  #stopping;
  #seat = null;
  #loaded = false;
  #link = null;
  #timer;
  #failures = 0;
  #stale = false;
  #outbox = new Outbox();
  #inbox;
  #cursorCell;
  #ackTimer = null;
  #unsure = false;

  constructor({ url = globalThis.location?.origin, token, user, store, device, locks, WebSocket, timings } = {}) {
    super();
    const address = new URL(url);
    address.protocol = address.protocol.replace("http", "ws");
    if (address.pathname === "/") address.pathname = "/v1/ws";
    this.#url = address.href;
    this.#prefix = `soundoff/${address.host}`;
    this.#locks = locks ?? globalThis.navigator?.locks;
    // Pages that cannot tell each other apart must not share what is kept.
    this.#store = store ?? ((this.#locks && pageStore()) || memoryStore());
    this.#WebSocket = WebSocket ?? globalThis.WebSocket;
    this.#timings = { ...TIMINGS, ...timings };
    this.#token = token;
    this.#user = user ?? null;
    this.#device = device;
    this.#inbox = new Inbox(this, {
      failed: (tries) => this.#again(tries),
      done: (seq) => this.#handled(seq),
      behind: () => this.#drop(this.#link, "a push is missing"),
    });
    globalThis.addEventListener?.("online", () => this.#state === "waiting" && this.#connect(this.#life));
  }

  get state() {
    return this.#state;
  }

  get user() {
    return this.#user;
  }

  get pending() {
    const kept = this.#outbox.all().filter((entry) => !entry.passing);
    return kept.map(({ id, type, body, since }) => ({ id, type, body, since }));
  }

  start() {
    if (this.#state !== "stopped" && this.#state !== "refused") return;
    const life = ++this.#life;
    this.#failures = 0;
    this.#stale = false;
    this.#set("connecting");
    this.#begun = this.#begin(life).catch((error) => this.#life === life && this.#refuse(error));
  }

  async #begin(life) {
    await this.#stopping;
    this.#seat ??= await this.#takeSeat();
    if (this.#user) await this.#identify(this.#user);
    if (this.#life === life) this.#connect(life);
  }

  /** A place for each page that shares the store: with it go a device name and a list of pending messages. */
  async #takeSeat() {
    const key = `${this.#prefix}/device`;
    const name = this.#device ?? (await this.#store.get(key)) ?? crypto.randomUUID();
    if (!this.#device) await this.#store.set(key, name);
    if (!this.#locks) return { number: 0, device: name, leave: () => {} };
    for (let number = 0; number < SEATS; number++) {
      const leave = await tryLock(this.#locks, `${this.#prefix}/seat/${number}`);
      if (leave) return { number, device: number ? `${name}.${number}` : name, leave };
    }
    throw new SoundOffError("overloaded", `more than ${SEATS} pages share this store`);
  }

  #pendingKey(seat) {
    return `${this.#prefix}/${this.#user}/pending/${seat}`;
  }

  /** Whose connection this is, known from the app, the token or the welcome: brings back what is kept under that name. */
  async #identify(user) {
    if (this.#user !== null && this.#user !== user) {
      throw new SoundOffError("user_changed", `the token is ${user}'s, not ${this.#user}'s`);
    }
    this.#user = user;
    if (this.#loaded) return;
    const key = `${this.#prefix}/${user}/cursor`;
    this.#cursorCell = new Cell(this.#store, key);
    const cursor = await this.#store.get(key);
    this.#inbox.cursor = cursor === null || cursor === undefined ? null : Number(cursor);
    const pending = this.#pendingKey(this.#seat.number);
    this.#outbox.open(new Cell(this.#store, pending), await this.#store.get(pending));
    this.#loaded = true;
    await this.#outbox.save();
  }

  /** Takes over what pages that are gone have left unsent. */
  async #adopt() {
    for (let number = 0; this.#locks && number < SEATS; number++) {
      const key = this.#pendingKey(number);
      if (number === this.#seat?.number || !(await this.#store.get(key))) continue;
      const leave = await tryLock(this.#locks, `${this.#prefix}/seat/${number}`);
      if (!leave) continue;
      this.#outbox.take(await this.#store.get(key));
      await this.#outbox.save();
      await this.#store.remove(key);
      leave();
    }
    this.#pump();
  }

  async #connect(life) {
    clearTimeout(this.#timer);
    this.#set("connecting");
    let token;
    try {
      token = await this.#token({ refused: this.#stale });
    } catch (error) {
      if (life !== this.#life) return;
      return error?.retry === false ? this.#refuse(error) : this.#later(error);
    }
    try {
      if (life === this.#life && subject(token)) await this.#identify(subject(token));
      if (life === this.#life) this.#open(token);
    } catch (error) {
      if (life === this.#life) this.#refuse(error);
    }
  }

  #open(token) {
    const socket = new this.#WebSocket(this.#url, "soundoff.v1");
    const link = { socket, online: false, leaving: false, limit: Infinity, since: 0, heard: false };
    this.#link = link;
    this.#inbox.reset();
    link.deadline = setTimeout(() => this.#drop(link, "no welcome"), this.#timings.connectMs);
    const { cursor } = this.#inbox;
    const hello = { op: "hello", token, device: this.#seat.device, ...(cursor !== null && { cursor }) };
    socket.onopen = () => socket.send(JSON.stringify(hello));
    socket.onmessage = ({ data }) => this.#link === link && this.#frame(link, JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(link, code, String(reason ?? ""));
    socket.onerror = () => {}; // its close follows
  }

  #write(frame) {
    if (this.#link?.online && this.#link.socket.readyState === 1) this.#link.socket.send(JSON.stringify(frame));
  }

  #frame(link, frame) {
    link.heard = true;
    const entry = frame.id === undefined ? undefined : this.#outbox.get(frame.id);
    switch (frame.op) {
      case "welcome":
        return this.#welcome(link, frame);
      case "accepted":
        return entry?.flying && this.#repeatIn(entry, this.#timings.replyMs * 2 ** Math.min(entry.tries, 3));
      case "reply":
        if (frame.ok) return entry && this.#settle(entry, null, frame.body, frame.duplicate === true);
        return entry && this.#failed(entry, frame);
      case "push":
        return this.#inbox.take({ seq: frame.seq, type: frame.type, mid: frame.mid, body: frame.body });
      case "event":
        this.emit("event", { type: frame.type, body: frame.body });
        return this.emit(`event:${frame.type}`, frame.body);
      case "pong":
        clearTimeout(link.beat);
        link.beat = setTimeout(() => this.#beat(link), link.heartbeatMs);
        return;
      case "auth_due":
        return this.#renew(link);
      case "error":
        if (entry) return this.#failed(entry, frame);
        return frame.id === undefined && frame.error.code === "not_found" && this.#inbox.skip();
      case "goaway":
        return this.#leave(link, frame.reconnect_after_ms);
    }
  }

  #welcome(link, { user, cursor, heartbeat_ms: heartbeatMs, limits }) {
    if (!this.#loaded || user !== this.#user) {
      // The token did not say who it is: only now is the cursor known, and the way back brings it along.
      const back = () => this.#drop(link, "once more, with the cursor", 0);
      return this.#identify(user).then(back, (error) => this.#link === link && this.#refuse(error));
    }
    clearTimeout(link.deadline);
    Object.assign(link, { online: true, since: Date.now(), heartbeatMs, limit: limits?.frame_bytes ?? Infinity });
    link.beat = setTimeout(() => this.#beat(link), Math.random() * heartbeatMs);
    this.#stale = false;
    this.#inbox.welcome(cursor);
    if (this.#unsure) this.#ackSoon();
    this.#set("online");
    this.#pump();
    this.#adopt().catch((error) => this.fault(error));
  }

  /** Pings; whatever comes within one interval shows that the socket lives. The pong sets the next ping: browsers slow down timers that timers set. */
  #beat(link) {
    link.heard = false;
    this.#write({ op: "ping" });
    link.beat = setTimeout(() => (link.heard ? this.#beat(link) : this.#drop(link, "no pong")), link.heartbeatMs);
    this.#adopt().catch((error) => this.fault(error));
  }

  /** Hands in a fresh token. Should it fail, the socket closes with 4005, and the way back asks for a token again. */
  async #renew(link) {
    try {
      const token = await this.#token({ refused: true });
      if (this.#link === link) this.#write({ op: "auth", token });
    } catch (error) {
      if (this.#link === link && error?.retry === false) this.#refuse(error);
    }
  }

  /** The edge is about to stop: nothing more is sent there, and at a random time in the window the client goes elsewhere. */
  #leave(link, [low, high]) {
    if (link.leaving) return;
    link.leaving = true;
    link.deadline = setTimeout(() => this.#drop(link, "goaway", 0), low + Math.random() * (high - low));
  }

  #drop(link, message, waitMs) {
    if (!link || this.#link !== link) return;
    this.#discard(link);
    this.#lost(link, 1006, message, waitMs);
  }

  /** Ends a socket that may be dead: nobody waits for its answer. */
  #discard({ socket }, gently = false) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.terminate && !gently) socket.terminate();
    else socket.close();
  }

  /** The socket is gone: 4500 and above say that coming back is of no use, all else that it is. */
  #lost(link, code, message, waitMs) {
    if (this.#link !== link) return;
    this.#unlink();
    if (link.online && Date.now() - link.since >= this.#timings.steadyMs) this.#failures = 0;
    const once = code === 4500 && !this.#stale;
    if (code >= 4500 && !once) return this.#refuse({ code, message });
    if (code === 4500 || code === 4005) this.#stale = true;
    this.#later({ code, message }, code === 4418 ? retryAfter(message) : waitMs);
  }

  #unlink() {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    clearTimeout(link.deadline);
    clearTimeout(link.beat);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    for (const entry of this.#outbox.all()) {
      clearTimeout(entry.timer);
      entry.flying = null;
      if (entry.type === "typing") this.#settle(entry, new SoundOffError("offline", "not online", { retry: true }));
    }
  }

  #later({ code, message }, waitMs = jitter(this.#timings.backoffMs, this.#failures)) {
    this.#failures += 1;
    const life = this.#life;
    this.#timer = setTimeout(() => this.#connect(life), waitMs);
    this.#set("waiting", { retryInMs: waitMs, reason: { code, message } });
  }

  #refuse({ code, message }) {
    this.#halt();
    this.#set("refused", { reason: { code, message } });
    const error = new SoundOffError(code === 4503 ? "unauthorized" : String(code), message);
    for (const entry of this.#outbox.all()) if (entry.passing) this.#settle(entry, error);
  }

  #halt(gently = false) {
    this.#life += 1;
    clearTimeout(this.#timer);
    const link = this.#link;
    this.#unlink();
    if (link) this.#discard(link, gently);
  }

  #set(state, more) {
    const same = this.#state === state;
    this.#state = state;
    if (!same || more) this.emit("state", { state, ...more });
  }

  /** Acks, says bye, and gives the store free for another page. What is pending stays in the store. */
  stop() {
    if (this.#state === "stopped") return this.#stopping ?? Promise.resolve();
    if (this.#unsure) this.#ack();
    this.#write({ op: "bye" });
    const socket = this.#link?.socket;
    this.#halt(true);
    this.#set("stopped");
    for (const entry of this.#outbox.all()) entry.passing ? this.#settle(entry, stopped()) : entry.reject?.(stopped());
    return (this.#stopping = this.#finish(socket));
  }

  async #finish(socket) {
    await this.#begun;
    await this.#outbox.save().catch((error) => this.fault(error));
    this.#outbox.close();
    this.#loaded = false;
    this.#seat?.leave();
    this.#seat = null;
    for (let waited = 0; socket && socket.readyState !== 3 && waited < 1000; waited += 20) await pause(20);
    socket?.terminate?.();
  }

  /** Sends a message until it is answered, also when the page was loaded anew meanwhile; resolves to the reply's body. */
  call(type, body = {}, { id = crypto.randomUUID(), signal, ordered = true } = {}) {
    const known = this.#outbox.get(id);
    if (known) return this.#outcome(known);
    if (signal?.aborted) return Promise.reject(signal.reason);
    const passing = isPassing(type);
    const down = this.#state === "stopped" || this.#state === "refused";
    if (passing && down) return Promise.reject(stopped());
    if (type === "typing" && this.#state !== "online") {
      return Promise.reject(new SoundOffError("offline", "not online", { retry: true }));
    }
    // The very bytes belong to the id, so later changes of the object must not reach them.
    const said = JSON.parse(JSON.stringify(body));
    const entry = { id, type, body: said, since: Date.now(), lane: ordered ? laneOf(type, said) : null, passing, kept: passing, tries: 0 };
    try {
      this.#outbox.add(entry);
    } catch (error) {
      return Promise.reject(error);
    }
    const outcome = this.#outcome(entry);
    const cancel = () => this.#settle(entry, signal.reason);
    signal?.addEventListener("abort", cancel, { once: true });
    entry.forget = () => signal?.removeEventListener("abort", cancel);
    if (passing) this.#pump();
    else this.#keep(entry);
    return outcome;
  }

  /** The outcome of what was called before the page was loaded anew. */
  resumed(id) {
    const entry = this.#outbox.get(id);
    return entry ? this.#outcome(entry) : Promise.reject(new SoundOffError("not_found", `${id} is not pending`));
  }

  #outcome(entry) {
    entry.outcome ??= new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    return entry.outcome;
  }

  /** Nothing goes out that the store does not hold. */
  async #keep(entry) {
    if (this.#link?.online) entry.tried = Date.now();
    try {
      await this.#outbox.save();
    } catch (error) {
      return this.#settle(entry, new SoundOffError("overloaded", `the store does not take it: ${error.message}`, { retry: true }));
    }
    entry.kept = true;
    this.#pump();
  }

  #pump() {
    const link = this.#link;
    if (!link?.online || link.leaving) return;
    const ready = this.#outbox.ready();
    const firsts = ready.filter((entry) => !entry.passing && !entry.tried);
    for (const entry of ready) entry.flying = link;
    for (const entry of firsts) entry.tried = Date.now();
    const saved = firsts.length > 0 ? this.#outbox.save().catch((error) => this.fault(error)) : null;
    const send = () => ready.forEach((entry) => this.#transmit(link, entry));
    saved ? saved.then(send) : send();
  }

  #transmit(link, entry) {
    if (this.#link !== link || entry.flying !== link || this.#outbox.get(entry.id) !== entry) return;
    const { id, type, body } = entry;
    const text = JSON.stringify({ op: "send", id, type, body });
    if (new TextEncoder().encode(text).length > link.limit) {
      return this.#settle(entry, new SoundOffError("too_large", `a frame has at most ${link.limit} bytes`));
    }
    if (entry.tried < Date.now() - REPEATABLE_MS) {
      return this.#settle(entry, new SoundOffError("expired", "sent days ago and never answered: look before you repeat it"));
    }
    if (link.socket.readyState === 1) link.socket.send(text);
    this.#repeatIn(entry, this.#timings.acceptMs);
  }

  #repeatIn(entry, ms) {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      entry.flying = null;
      entry.tries += 1;
      this.#pump();
    }, ms);
  }

  /** A refusal that may pass is waited out; any other is the outcome. */
  #failed(entry, { error, duplicate }) {
    if (!error.retry) return this.#settle(entry, SoundOffError.of(error, duplicate === true));
    const wait = error.retry_after_ms ?? jitter(this.#timings.backoffMs, entry.tries);
    if (entry.flying) this.#repeatIn(entry, wait * (1 + Math.random() / 2));
  }

  #settle(entry, error, body, duplicate = false) {
    const { id, type, passing, resumed = false } = entry;
    if (this.#outbox.get(id) !== entry) return;
    this.#outbox.delete(entry);
    entry.forget?.();
    if (!passing) this.#outbox.save().catch((fault) => this.fault(fault));
    error ? entry.reject?.(error) : entry.resolve?.(body);
    if (!passing) this.emit("reply", { id, type, sent: entry.body, resumed, duplicate, ...(error ? { error } : { body }) });
    this.#pump();
  }

  async #again(tries) {
    const life = this.#life;
    await pause(jitter(this.#timings.backoffMs, tries));
    return life === this.#life;
  }

  /** The listeners are done with a push: the store's cursor moves, and only then is it acked. Pages that share the store share the cursor. */
  async #handled(seq) {
    try {
      const kept = Number((await this.#store.get(this.#cursorCell.key)) ?? 0);
      if (seq > kept) await this.#cursorCell.write(String(seq));
    } catch (error) {
      return this.fault(error);
    }
    this.#unsure = true;
    this.#ackSoon();
  }

  #ackSoon() {
    this.#ackTimer ??= setTimeout(() => this.#ack(), this.#timings.ackMs);
  }

  #ack() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    if (!this.#link?.online) return;
    this.#write({ op: "ack", cursor: this.#inbox.cursor });
    this.#unsure = false;
  }
}

/** How long a shedding server wants us away; it draws that at random itself. */
function retryAfter(reason) {
  try {
    return JSON.parse(reason).retry_after_ms;
  } catch {
    return undefined;
  }
}

/** How long before its end an access token is replaced; the edge asks for another a minute before. */
const LAPSING_MS = 90_000;
const REQUEST_MS = 20_000;

/** A user's sign-in: gets tokens, keeps them in the store and fresh, for all pages that share it. */
export class Session extends Emitter {
  #url;
  #key;
  #store;
  #locks;
  #held = null;
  #given = null;
  #refreshing = null;
  #channel;

  constructor({ url = globalThis.location?.origin, store, locks = globalThis.navigator?.locks } = {}) {
    super();
    this.#url = new URL(url);
    this.#key = `soundoff/${this.#url.host}/session`;
    this.#store = store ?? pageStore() ?? memoryStore();
    this.#locks = locks;
    const kept = this.#store.get(this.#key);
    if (typeof kept?.then !== "function") this.#take(kept);
    this.ready = Promise.resolve(kept).then((text) => this.#take(text));
    if (!globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(this.#key);
    this.#channel.onmessage = () => this.#read().catch((error) => this.fault(error));
    this.#channel.unref?.();
  }

  get user() {
    return this.#held?.user ?? null;
  }

  ways() {
    return this.#fetch("GET", "/v1/auth/ways");
  }

  startEmail(email) {
    return this.#fetch("POST", "/v1/auth/email/start", { email });
  }

  startPhone(phone) {
    return this.#fetch("POST", "/v1/auth/phone/start", { phone });
  }

  verifyEmail(proof, options) {
    return this.#prove("/v1/auth/email/verify", proof, options);
  }

  verifyPhone(proof, options) {
    return this.#prove("/v1/auth/phone/verify", proof, options);
  }

  apple(proof, options) {
    return this.#prove("/v1/auth/apple", proof, options);
  }

  twitter(proof, options) {
    return this.#prove("/v1/auth/twitter", proof, options);
  }

  /** Signs in with a proof; with `link`, adds this way to sign in to the account that is signed in. */
  async #prove(path, proof, { link = false } = {}) {
    const answer = await this.#fetch("POST", path, proof, link ? await this.token() : undefined);
    if (!link) await this.#keep(answer);
    const { user, created, linked } = answer;
    return { user, created, ...(linked && { linked }) };
  }

  /** An access token. `fresh`: another than the last one, which was refused or is about to lapse. */
  async token({ fresh = false } = {}) {
    await this.ready;
    const refused = fresh ? this.#given : null;
    const good = () => this.#held && this.#held.access !== refused && this.#held.lapses > Date.now();
    if (!good()) {
      this.#refreshing ??= this.#refresh(good).finally(() => (this.#refreshing = null));
      await this.#refreshing;
    }
    this.#given = this.#held?.access ?? null;
    if (!this.#held) throw new SoundOffError("signed_out", "nobody is signed in");
    return this.#given;
  }

  /** One refresh for all pages: a refresh token that is used twice ends the sign-in. */
  #refresh(good) {
    const turn = async () => {
      await this.#read();
      if (this.#held && !good()) await this.#renew();
    };
    return this.#locks ? this.#locks.request(`${this.#key}/refresh`, turn) : turn();
  }

  async #renew() {
    const { refresh } = this.#held;
    const ask = () => this.#fetch("POST", "/v1/auth/refresh", { refresh_token: refresh });
    try {
      // An answer that was lost may be asked for once more, within ten seconds.
      const again = (error) => (error.code === "offline" ? pause(1000).then(ask) : Promise.reject(error));
      await this.#keep(await ask().catch(again));
    } catch (error) {
      if (error.code === "conflict") return this.#winner(refresh, ask);
      if (error.code === "unauthorized") await this.#keep(null);
      throw error;
    }
  }

  /** Somebody else has refreshed: their answer is in the store, or will be. Should it never come, it may be asked for once more. */
  async #winner(refresh, ask) {
    for (let waited = 0; waited < 2000; waited += 50) {
      await this.#read();
      if (this.#held?.refresh !== refresh) return;
      await pause(50);
    }
    await this.#keep(await ask());
  }

  async #keep(answer) {
    if (answer) {
      const { user, access_token: access, refresh_token: refresh, expires_in: seconds } = answer;
      const early = Math.min(LAPSING_MS, seconds * 500);
      await this.#store.set(this.#key, JSON.stringify({ user, access, refresh, lapses: Date.now() + seconds * 1000 - early }));
    } else {
      await this.#store.remove(this.#key);
    }
    await this.#read();
    this.#channel?.postMessage("changed");
  }

  async #read() {
    this.#take(await this.#store.get(this.#key));
  }

  #take(text) {
    const before = this.user?.handle;
    this.#held = text ? JSON.parse(text) : null;
    if (this.user?.handle !== before) this.emit("change", this.user);
  }

  /** Ends the sign-in, here at once and for all pages, and at the server if it can be reached. */
  async signOut() {
    await this.ready;
    const refresh = this.#held?.refresh;
    await this.#keep(null);
    if (refresh) await this.#fetch("POST", "/v1/auth/logout", { refresh_token: refresh }).catch(() => {});
  }

  /** The account's ways to sign in, masked. */
  async identities() {
    return this.#fetch("GET", "/v1/auth/identities", undefined, await this.token());
  }

  async unlink(id) {
    await this.#fetch("DELETE", `/v1/auth/identities/${encodeURIComponent(id)}`, undefined, await this.token());
  }

  /** Ceases to hear of other pages. */
  close() {
    this.#channel?.close();
  }

  /** Uploads a picture: up to 16 MiB by itself, more with `begin`, which calls `media.begin`. The push `media.ready` says when it may be shown. */
  async uploadMedia(blob, { begin, onProgress, signal } = {}) {
    if (blob.size > POST_BYTES) {
      if (!begin) throw new SoundOffError("too_large", "more than 16 MiB need `begin`");
      const { media, upload } = await begin({ bytes: blob.size });
      await transfer({ method: upload.method, url: new URL(upload.url, this.#url), blob, onProgress, signal });
      return media;
    }
    const post = (token) =>
      transfer({ method: "POST", url: new URL("/v1/media", this.#url), token, blob, onProgress, signal });
    const again = async (error) => (error.code === "unauthorized" ? post(await this.token({ fresh: true })) : Promise.reject(error));
    return (await post(await this.token()).catch(again)).media;
  }

  async #fetch(method, path, body, token) {
    const headers = { ...(body && { "content-type": "application/json" }), ...(token && { authorization: `Bearer ${token}` }) };
    let response;
    let text;
    try {
      const signal = AbortSignal.timeout(REQUEST_MS);
      response = await fetch(new URL(path, this.#url), { method, headers, body: body && JSON.stringify(body), signal });
      text = await response.text();
    } catch {
      throw new SoundOffError("offline", "the server cannot be reached", { retry: true });
    }
    return answerOf(response.status, text, response.headers.get("retry-after"));
  }
}

/** The body of a good answer; the error of another (RFC 9457). */
function answerOf(status, text, retryAfterS) {
  const retryAfterMs = retryAfterS ? Number(retryAfterS) * 1000 : undefined;
  let body = {};
  try {
    body = text ? JSON.parse(text) : {};
  } catch {
    if (status < 400) throw new SoundOffError("internal", "the answer is not JSON");
  }
  if (status < 400) return body;
  const code = body.code ?? (status === 401 ? "unauthorized" : "internal");
  throw new SoundOffError(code, body.detail ?? `HTTP ${status}`, { retry: status === 429 || status >= 500, retryAfterMs });
}

/** Sends bytes, with XMLHttpRequest where there is one: fetch cannot tell how far it is. */
function transfer({ method, url, token, blob, onProgress, signal }) {
  if (!globalThis.XMLHttpRequest) {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const offline = (error) => Promise.reject(signal?.aborted ? error : new SoundOffError("offline", "the upload was cut off", { retry: true }));
    return fetch(url, { method, headers, body: blob, signal })
      .then(async (response) => answerOf(response.status, await response.text(), response.headers.get("retry-after")), offline);
  }
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    if (token) request.setRequestHeader("authorization", `Bearer ${token}`);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded / total);
    request.onload = () => {
      try {
        resolve(answerOf(request.status, request.responseText, request.getResponseHeader("retry-after")));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new SoundOffError("offline", "the upload was cut off", { retry: true }));
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(blob);
  });
}
