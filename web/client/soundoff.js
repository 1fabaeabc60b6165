// A client of Sound Off for browsers, workers and Node 20+. It does what docs/clients.md says that a client must do.

/** For how long after its first try a message may be sent again: the server remembers an `id` for seven days. */
const REPEATABLE_MS = 6 * 24 * 3600 * 1000;
/** How many pages that share a store run at once; others wait. The server allows ten sockets for each user. */
const SEATS = 16;
/** How many messages may wait for their replies on one socket; the server allows bursts of 200. */
const WINDOW = 64;
/** How many calls may wait for their replies, and how many characters of those that are stored. */
const CALLS_WAITING = 500;
const KEPT_CHARACTERS = 1_000_000;
/** How many pushes may wait for slow listeners. Further ones are read from the server's inbox later. */
const PUSHES_WAITING = 1000;
/** How often the client asks for an unexplained gap in the inbox before it continues and reports it. */
const GAP_TRIES = 8;
/** The most bytes that `POST /v1/media` takes. */
const POST_BYTES = 16 * 1024 * 1024;
/** How long before it expires an access token is replaced. The edge asks for another a minute before. */
const EXPIRING_MS = 90_000;
/** A refusal that passes later than this is the outcome: nobody waits that long for an answer. */
const LONGEST_WAIT_MS = 10 * 60_000;
/** How long an upload waits by itself when it is refused for now, and how often it is sent. */
const COME_AGAIN_MS = 10_000;
const UPLOAD_TRIES = 5;
/** What matters only now is not tried again after a longer wait. */
const PASSING_WAIT_MS = 60_000;
/** How long an HTTP request may take. */
const REQUEST_MS = 20_000;

const TIMINGS = {
  connectMs: 10_000, // from opening a socket to its welcome
  acceptMs: 10_000, // a message without `accepted` is sent again
  replyMs: 10_000, // so is one without its reply, after twice the wait each time
  probeMs: 5_000, // how long a socket has to show that it is alive when the page wakes up
  backoffMs: [500, 30_000], // the wait doubles from the first to the second; a random part of it is waited
  steadyMs: 10_000, // after this long online, the next backoff starts from the beginning
  ackMs: 250, // pushes that are handled within this time are acked together
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Unlike `crypto.randomUUID`, it works on pages without TLS, too. */
const randomName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const jitter = ([low, high], failures) => Math.random() * Math.min(high, low * 2 ** Math.min(failures, 16));

/**
 * What went wrong. `code` is one of the protocol's or `offline`, `cors`, `stopped`, `refused`, `expired`, `user_changed`,
 * `signed_out`, `no_passkey`.
 */
export class SoundOffError extends Error {
  constructor(code, message, { retry = false, retryAfterMs, duplicate = false } = {}) {
    super(message);
    Object.assign(this, { name: "SoundOffError", code, retry, retryAfterMs, duplicate });
  }
}

/** Where a server is, with its slash: `https://example.org/`, or `https://example.org/soundoff/` behind a proxy. */
function baseOf(url) {
  const base = new URL(url);
  base.protocol = base.protocol.replace("ws", "http");
  // The websocket's own address is good as well.
  base.pathname = base.pathname.replace(/\/v1\/ws\/?$/, "").replace(/\/*$/, "/");
  return base;
}

/** What keeps apart the stores of servers on one origin. */
const nameOf = (base) => `${base.host}${base.pathname.slice(0, -1)}`;
/** The address of a path of the server's, or of a whole URL elsewhere. */
const at = (base, path) => new URL(path.replace(/^\//, ""), base);

/** Listeners by name. One that fails does not affect the others. */
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

  /** A listener or the store has failed: listeners for `error` are called; without any, the console reports it. */
  fault(error) {
    const told = this.listeners("error");
    if (told.length === 0) console.error("soundoff:", error);
    for (const listener of told) listener(error);
  }
}

/** Keeps strings until the page or process ends. */
export function memoryStore() {
  const map = new Map();
  return {
    get: (key) => map.get(key) ?? null,
    set: (key, value) => void map.set(key, value),
    remove: (key) => void map.delete(key),
  };
}

/**
 * Where things are kept, and the locks with which the pages that share the store avoid each other. Without locks
 * nothing is shared.
 */
function keeping(store, locks) {
  if (store) return { store, locks };
  try {
    const shared = globalThis.document && globalThis.navigator.locks;
    const area = shared && globalThis.localStorage;
    area.setItem("soundoff", "");
    area.removeItem("soundoff");
    const set = (key, value) => area.setItem(key, value);
    return { store: { get: (key) => area.getItem(key), set, remove: (key) => area.removeItem(key) }, locks: shared };
  } catch {
    return { store: memoryStore() };
  }
}

/** Takes a lock if it is free; resolves to a function that releases it, or to null. */
const tryLock = (locks, name) =>
  new Promise((resolve, reject) => {
    const held = (lock) => (lock ? new Promise((release) => resolve(release)) : resolve(null));
    locks.request(name, { ifAvailable: true }, held).catch(reject);
  });

/** One key of a store: one write at a time, and only the newest of those that wait. */
class Cell {
  #next;
  #busy = false;
  #written;

  constructor(store, key) {
    Object.assign(this, { store, key });
  }

  write(value) {
    this.#next = value;
    if (!this.#busy) this.#written = this.#run();
    return this.#written;
  }

  async #run() {
    this.#busy = true;
    try {
      while (this.#next !== undefined) {
        const value = this.#next;
        this.#next = undefined;
        const done = value === null ? this.store.remove(this.key) : this.store.set(this.key, value);
        // A synchronous store has written when `call` returns.
        if (done?.then) await done;
      }
    } finally {
      this.#busy = false;
    }
  }
}

/** The user of an access token. The server checks it: this only decides under which name things are kept. */
function subject(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub ?? null;
  } catch {
    return null;
  }
}

/** How long a server without room wants us to wait (drawn at random), and perhaps why. */
function told(reason) {
  try {
    return JSON.parse(reason) ?? {};
  } catch {
    return {};
  }
}

function checked(app) {
  if (app == null || /^[A-Za-z0-9.-]{1,64}$/.test(app)) return app;
  throw new TypeError('`app` is a name such as "web-1.0": letters, digits, - and .');
}

/**
 * Reads and `typing` matter only now, and the URL of `media.begin` only to the caller: none of them outlives the
 * page.
 */
const isPassing = (type) => type === "typing" || type === "media.begin" || /\.(get|list|fetch|find|members|posts)$/.test(type);

/** Messages of one lane take effect in the order of their calls. */
function laneOf(type, body) {
  const family = type.split(".")[0];
  const about = { dm: body.to, like: body.post, comment: body.post, follow: body.user, block: body.user }[family];
  return `${family === "block" ? "follow" : family}:${about ?? ""}`;
}

/** The calls that are not answered yet, in their order. */
class Outbox {
  #entries = new Map();
  #cell = null;

  get(id) {
    return this.#entries.get(id);
  }

  all() {
    return [...this.#entries.values()];
  }

  kept() {
    return this.all().filter((entry) => !entry.passing);
  }

  add(entry) {
    this.#entries.set(entry.id, entry);
    if (this.#entries.size <= CALLS_WAITING && this.#text().length <= KEPT_CHARACTERS) return;
    this.#entries.delete(entry.id);
    throw new SoundOffError("overloaded", "too much waits for its reply", { retry: true });
  }

  delete(entry) {
    clearTimeout(entry.timer);
    this.#entries.delete(entry.id);
  }

  /**
   * The messages that may be sent now: the first of each lane, and no more than the window at once. The next of a lane
   * waits for the reply and not for `accepted`: workers run side by side, and a message that was sent twice may be
   * accepted once more after the one that follows it.
   */
  ready() {
    const lanes = new Set();
    let flying = 0;
    const ready = this.all().filter((entry) => {
      const behind = lanes.has(entry.lane);
      if (entry.lane) lanes.add(entry.lane);
      if (entry.flying) flying += 1;
      return entry.kept && !behind && !entry.flying;
    });
    return ready.slice(0, Math.max(0, WINDOW - flying));
  }

  #text() {
    return JSON.stringify(
      this.kept().map(({ id, type, body, since, tried, lane }) => ({ id, type, body, since, tried, lane })),
    );
  }

  /** Resolves when everything is in the store. */
  async save() {
    const text = this.#text();
    await this.#cell?.write(text === "[]" ? null : text);
  }

  /**
   * Keeps itself in `cell` from now on. An earlier page has left `text` there: its calls come before those made here.
   */
  open(cell, text) {
    const mine = this.all();
    this.#cell = cell;
    this.#entries.clear();
    this.take(text);
    for (const entry of mine) this.#entries.set(entry.id, entry);
  }

  /** Takes over what a closed page has left. */
  take(text) {
    for (const entry of text ? JSON.parse(text) : []) {
      if (!this.get(entry.id)) this.#entries.set(entry.id, { ...entry, resumed: true, kept: true, tries: 0 });
    }
  }

  /** Leaves what is in the store to the next page that opens it. */
  close() {
    if (this.#cell) this.#entries.clear();
    this.#cell = null;
  }
}

/** Pushes: the listeners get each once and in order, and only then does the cursor pass it. */
class Inbox {
  /** The last `seq` that the listeners have handled; `null` when nothing is known. */
  cursor = null;
  /** Where a new device began: at the newest `seq` of its first welcome. */
  #base = null;
  #taken = null;
  #waiting = [];
  #busy = false;
  #expired = false;
  #overflowed = false;
  #gap = { after: -1, tries: 0 };

  /**
   * `again(tries)` waits before a listener gets a push again, and resolves to whether it should; `done` keeps the
   * cursor; `behind` reads from the inbox again.
   */
  constructor(client, { again, done, behind }) {
    Object.assign(this, { client, again, done, behind });
  }

  /** A new socket continues behind the cursor. */
  reset() {
    this.#waiting.length = this.#busy ? 1 : 0;
    this.#taken = this.#waiting[0]?.seq ?? this.cursor ?? this.#base;
    this.#expired = this.#overflowed = false;
  }

  /** Stays where it is although the server will not know this device: the cursor says it from now on. */
  pin() {
    this.cursor ??= this.#waiting.length > 0 ? this.#waiting[0].seq - 1 : this.#taken;
  }

  /** The newest `seq` of the server. Below the cursor it belongs to another history: the server has lost its data. */
  welcome(newest) {
    const rewound = this.cursor !== null && newest < this.cursor;
    if (rewound) this.cursor = newest;
    this.#base ??= newest;
    if (rewound || this.#taken === null) this.#taken = newest;
    return rewound;
  }

  /** The server says that the next entry does not follow the last: those between have expired. */
  expire() {
    this.#expired = true;
  }

  take(push) {
    const { seq } = push;
    // A device that we know nothing about may have acked before: then the server continues there.
    if (this.cursor === null && !this.#busy && seq <= this.#taken) this.#taken = seq - 1;
    if (seq <= this.#taken || this.#overflowed) return;
    if (seq > this.#taken + 1 && !this.#jumps(seq)) return this.behind();
    if (this.#waiting.length >= PUSHES_WAITING) return void (this.#overflowed = true);
    this.#expired = false;
    this.#taken = seq;
    this.#waiting.push(push);
    if (!this.#busy) this.#drain();
  }

  #jumps(seq) {
    if (this.#gap.after !== this.#taken) this.#gap = { after: this.#taken, tries: 0 };
    this.#gap.tries += 1;
    if (!this.#expired && this.#gap.tries <= GAP_TRIES) return false;
    this.client.emit("gap", { from: this.#taken + 1, to: seq - 1 });
    return true;
  }

  async #drain() {
    this.#busy = true;
    while (this.#waiting.length > 0 && (await this.#handle(this.#waiting[0]))) {
      this.cursor = this.#waiting.shift().seq;
      await this.done(this.cursor);
    }
    this.#busy = false;
    if (this.#overflowed) this.behind();
  }

  /** Hands a push to its listeners; one that rejects gets it again. */
  async #handle(push) {
    const { client } = this;
    const byType = client.listeners(`push:${push.type}`).map((listener) => () => listener(push.body));
    let left = [...client.listeners("push").map((listener) => () => listener(push)), ...byType];
    for (let tries = 0; ; tries++) {
      const results = await Promise.allSettled(left.map(async (handle) => handle()));
      left = left.filter((_, at) => results[at].status === "rejected");
      if (left.length === 0) return true;
      for (const { reason } of results) if (reason) client.fault(reason);
      if (!(await this.again(tries))) return false;
    }
  }
}

/** One user's connection: stays connected, sends each call until it is answered, and delivers what comes. */
export class SoundOff extends Emitter {
  #token;
  #base;
  #url;
  #app;
  #prefix;
  #store;
  #locks;
  #WebSocket;
  #timings;
  #device;
  #user;
  #state = "stopped";
  /** Rises with each start and end: anything begun before it counts no longer. */
  #life = 0;
  #begun;
  #stopping;
  #seat = null;
  #opened = false;
  #link = null;
  #timer;
  #failures = 0;
  /** How often another socket of this device has taken our place since we were last online for a while. */
  #replaced = 0;
  #stale = false;
  #outbox = new Outbox();
  #inbox;
  #cursorCell;
  /** The greatest `mid` that any edge has told: what is sent next comes after it, also over another edge. */
  #after = "";
  #ackTimer = null;
  #unsaid = false;
  #history;

  constructor({ url = globalThis.location?.origin, token, user, device, store, locks, timings, history = 0, ...given } = {}) {
    super();
    this.#app = checked(given.app);
    this.#WebSocket = given.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError("there is no WebSocket here: pass one, such as that of the package ws");
    if (typeof token !== "function") throw new TypeError("`token` is a function that resolves to an access token");
    const base = baseOf(url);
    this.#base = base;
    this.#url = Object.assign(new URL("v1/ws", base), { protocol: base.protocol.replace("http", "ws") }).href;
    this.#prefix = `soundoff/${nameOf(base)}`;
    ({ store: this.#store, locks: this.#locks } = keeping(store, locks));
    this.#timings = { ...TIMINGS, ...timings };
    this.#token = token;
    this.#user = user ?? null;
    this.#device = device;
    this.#history = history;
    this.#inbox = new Inbox(this, {
      again: (tries) => this.#again(tries),
      done: (seq) => this.#handled(seq),
      behind: () => this.#drop(this.#link, "a push is missing"),
    });
  }

  get state() {
    return this.#state;
  }

  get user() {
    return this.#user;
  }

  get pending() {
    return this.#outbox.kept().map(({ id, type, body, since }) => ({ id, type, body, since }));
  }

  #changed() {
    if (this.listeners("pending").length > 0) this.emit("pending", this.pending);
  }

  get #down() {
    return this.#state === "stopped" || this.#state === "refused";
  }

  start() {
    if (!this.#down) return;
    const life = ++this.#life;
    this.#failures = this.#replaced = 0;
    this.#stale = false;
    this.#set("connecting");
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#begun = this.#begin(life).catch((error) => this.#life === life && this.#refuse(error));
  }

  async #begin(life) {
    await this.#stopping;
    for (let tries = 0; !(this.#seat ??= await this.#takeSeat()); tries++) {
      const waitMs = jitter(this.#timings.backoffMs, Math.min(tries, 3));
      const reason = { code: "overloaded", message: `${SEATS} pages share this store already` };
      this.#set("waiting", { retryInMs: waitMs, reason });
      await pause(waitMs);
      if (this.#life !== life) return;
    }
    if (this.#user) await this.#identify(this.#user);
    if (this.#life === life) this.#connect(life);
  }

  /** The network or the page is back: waits no longer, and checks a socket that slept. */
  #wake = () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.#state === "waiting" && this.#seat) this.#connect(this.#life);
    else if (this.#link?.online) this.#beat(this.#link, Math.min(this.#timings.probeMs, this.#link.heartbeatMs));
  };

  /**
   * Each page that shares the store has a seat, and with it its own device name and its own list of pending messages.
   * Resolves to null when all are taken.
   */
  async #takeSeat() {
    for (let number = 0; number < SEATS; number++) {
      const leave = this.#locks ? await tryLock(this.#locks, `${this.#prefix}/seat/${number}`) : () => {};
      if (leave) return { number, device: await this.#deviceAt(number), leave };
    }
    return null;
  }

  async #deviceAt(seat) {
    if (this.#device) return seat ? `${this.#device}.${seat}` : this.#device;
    const key = `${this.#prefix}/device/${seat}`;
    const name = (await this.#store.get(key)) ?? randomName();
    await this.#store.set(key, name);
    return name;
  }

  /**
   * Another client has the name of this device: from a copied store, or because the app gives one name to several. With
   * one name they would replace each other forever.
   */
  #rename() {
    this.#inbox.pin();
    const given = this.#device && [...this.#device].slice(0, 31).join("");
    this.#seat.device = given ? `${given}.${randomName()}` : randomName();
    const keep = async () => !given && this.#store.set(`${this.#prefix}/device/${this.#seat.number}`, this.#seat.device);
    keep().catch((error) => this.fault(error));
  }

  #key(name) {
    return `${this.#prefix}/${this.#user}/${name}`;
  }

  /** The user of this connection, as app, token or welcome say: loads what is kept under that name. */
  async #identify(user) {
    if (this.#user !== null && this.#user !== user) {
      throw new SoundOffError("user_changed", `the token is ${user}'s, not ${this.#user}'s`);
    }
    this.#user = user;
    if (this.#opened) return;
    this.#cursorCell = new Cell(this.#store, this.#key("cursor"));
    const cursor = await this.#store.get(this.#cursorCell.key);
    this.#inbox.cursor = cursor ? Number(cursor) : null;
    const pending = this.#key(`pending/${this.#seat.number}`);
    this.#outbox.open(new Cell(this.#store, pending), await this.#store.get(pending));
    this.#opened = true;
    this.#changed();
    await this.#outbox.save();
  }

  /** Takes over what closed pages have left unanswered. */
  async #adopt() {
    for (let number = 0; this.#locks && number < SEATS; number++) {
      const key = this.#key(`pending/${number}`);
      if (number === this.#seat?.number || !(await this.#store.get(key))) continue;
      const leave = await tryLock(this.#locks, `${this.#prefix}/seat/${number}`);
      const text = leave && (await this.#store.get(key));
      if (text && this.#opened) {
        this.#outbox.take(text);
        this.#changed();
        await this.#outbox.save();
        await this.#store.remove(key);
      }
      leave?.();
    }
    this.#pump();
  }

  async #connect(life) {
    clearTimeout(this.#timer);
    this.#set("connecting");
    try {
      const token = await this.#token({ refused: this.#stale });
      if (life === this.#life && subject(token)) await this.#identify(subject(token));
      if (life === this.#life) this.#open(token);
    } catch (error) {
      if (life !== this.#life) return;
      if (error?.retry === false) return this.#refuse(error);
      const { code = "offline", message = String(error), retryAfterMs } = error ?? {};
      const isClosed = code === "closed";
      // A closed service draws the time at random itself.
      const waitMs = retryAfterMs * (isClosed ? 1 : 1 + Math.random() / 2);
      this.#later({ code, message, ...(isClosed && { text: message }) }, waitMs || undefined);
    }
  }

  #open(token) {
    const socket = new this.#WebSocket(this.#url, ["soundoff.v1", ...(this.#app ? [`app.${this.#app}`] : [])]);
    const link = { socket, online: false, leaving: false };
    this.#link = link;
    this.#inbox.reset();
    link.deadline = setTimeout(() => this.#drop(link, "no welcome"), this.#timings.connectMs);
    const { cursor } = this.#inbox;
    const hello = { op: "hello", token, device: this.#seat.device, ...(cursor !== null && { cursor }) };
    if (this.#after) hello.after = this.#after;
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
    // Ids order as texts do.
    if (frame.mid > this.#after) this.#after = frame.mid;
    const entry = this.#outbox.get(frame.id);
    switch (frame.op) {
      case "welcome":
        return this.#welcome(link, frame);
      case "accepted":
        return entry?.flying && this.#repeatIn(entry, this.#timings.replyMs * 2 ** Math.min(entry.tries, 3));
      case "reply":
        if (!frame.ok) return this.#failed(entry, frame);
        return entry && this.#settle(entry, null, frame.body, frame.duplicate === true);
      case "push":
        return this.#inbox.take({ seq: frame.seq, type: frame.type, mid: frame.mid, body: frame.body });
      case "event":
        this.emit("event", { type: frame.type, body: frame.body });
        return this.emit(`event:${frame.type}`, frame.body);
      case "pong":
        // Browsers slow down timers that are set by timers; this one is set by a message.
        clearTimeout(link.beat);
        link.beat = setTimeout(() => this.#beat(link), link.heartbeatMs);
        return;
      case "auth_due":
        return this.#renew(link);
      case "error":
        return this.#failed(entry, frame);
      case "goaway":
        return this.#leave(link, frame.reconnect_after_ms);
    }
  }

  #welcome(link, { user, cursor, heartbeat_ms: heartbeatMs, limits }) {
    if (link.online) return;
    if (!this.#opened || user !== this.#user) {
      // The token did not say who the user is: only now is the cursor known, and the next connection sends it.
      const back = () => this.#drop(link, "once more, with the cursor", 0);
      return this.#identify(user).then(back, (error) => this.#link === link && this.#refuse(error));
    }
    if (this.#inbox.cursor === null && this.#history > 0 && cursor > 0) {
      this.#inbox.cursor = Math.max(0, cursor - this.#history);
      return this.#drop(link, "once more, for what came before", 0);
    }
    clearTimeout(link.deadline);
    Object.assign(link, { online: true, since: Date.now(), heartbeatMs, limit: limits?.frame_bytes ?? Infinity });
    link.beat = setTimeout(() => this.#beat(link), Math.random() * heartbeatMs);
    this.#stale = false;
    if (this.#inbox.welcome(cursor)) this.#cursorCell.write(String(cursor)).catch((error) => this.fault(error));
    if (this.#unsaid) this.#ackSoon();
    this.#set("online");
    this.#pump();
    this.#adopt().catch((error) => this.fault(error));
  }

  /**
   * Pings. Any frame in time shows that the socket is alive: an overloaded server leaves pings unanswered.
   */
  #beat(link, patienceMs = link.heartbeatMs) {
    clearTimeout(link.beat);
    link.heard = false;
    this.#write({ op: "ping" });
    link.beat = setTimeout(() => (link.heard ? this.#beat(link) : this.#drop(link, "no pong")), patienceMs);
    this.#adopt().catch((error) => this.fault(error));
  }

  /** Sends a fresh token. If there is none in time, the socket closes with 4005, and the next connection asks for a token again. */
  async #renew(link) {
    try {
      const token = await this.#token({ refused: true });
      if (this.#link === link) this.#write({ op: "auth", token });
    } catch (error) {
      if (this.#link !== link) return;
      if (error?.retry === false) this.#refuse(error);
      else if (error?.retryAfterMs) link.renewal = setTimeout(() => this.#renew(link), error.retryAfterMs);
    }
  }

  /**
   * The edge will stop: it takes nothing more, and the client connects elsewhere at a random time in the window.
   */
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

  /** Drops a socket. It may be dead, so nothing waits for its answer. */
  #discard({ socket }) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.terminate) socket.terminate();
    else socket.close();
  }

  /** The socket is closed. After 4500 and above connecting again is useless; after all other codes it helps. */
  #lost(link, code, message, waitMs) {
    if (this.#link !== link) return;
    this.#unlink();
    if (link.online && Date.now() - link.since >= this.#timings.steadyMs) this.#failures = this.#replaced = 0;
    // Once, it may have been a socket of our own that was on its way for long.
    if (code === 4006 && ++this.#replaced > 1) this.#rename();
    const spent = code === 4005 || (code === 4500 && !this.#stale);
    if (code >= 4500 && !spent) return this.#refuse({ code, message });
    if (spent) this.#stale = true;
    const { retry_after_ms: askedMs = waitMs, reason: text } = code === 4418 || code === 4429 ? told(message) : {};
    const retryInMs = this.#later({ code, message, ...(text && { text }) }, askedMs);
    if (code === 1006 && !link.online) this.#explain(retryInMs);
  }

  /** Says what is wrong when pages of this origin may not open sockets. */
  async #explain(retryInMs) {
    const [life, failures] = [this.#life, this.#failures];
    const { code, message } = await unreachable(at(this.#base, "v1/auth/ways"));
    const isSame = this.#life === life && this.#failures === failures && this.#state === "waiting";
    if (code === "cors" && isSame) this.#set("waiting", { retryInMs, reason: { code, message, text: message } });
  }

  #unlink() {
    const link = this.#link;
    this.#link = null;
    clearTimeout(link?.deadline);
    clearTimeout(link?.beat);
    clearTimeout(link?.renewal);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    for (const entry of this.#outbox.all()) {
      clearTimeout(entry.timer);
      entry.flying = null;
      if (entry.type === "typing") this.#settle(entry, new SoundOffError("offline", "not online", { retry: true }));
    }
  }

  #later(reason, waitMs = jitter(this.#timings.backoffMs, this.#failures)) {
    this.#failures += 1;
    const life = this.#life;
    this.#timer = setTimeout(() => this.#connect(life), Math.min(waitMs, 2 ** 31 - 1));
    this.#set("waiting", { retryInMs: waitMs, reason });
    return waitMs;
  }

  #refuse({ code, message }) {
    const link = this.#halt();
    if (link) this.#discard(link);
    this.#set("refused", { reason: { code, message } });
    const error = new SoundOffError("refused", message);
    for (const entry of this.#outbox.all()) if (entry.passing) this.#settle(entry, error);
  }

  #halt() {
    this.#life += 1;
    clearTimeout(this.#timer);
    const link = this.#link;
    this.#unlink();
    return link;
  }

  #set(state, more) {
    const same = this.#state === state;
    this.#state = state;
    if (!same || more) this.emit("state", { state, ...more });
  }

  /** Acks, says bye, and gives up the seat. Pending messages stay in the store. */
  stop() {
    if (this.#state === "stopped") return this.#stopping ?? Promise.resolve();
    if (this.#unsaid) this.#ack();
    this.#write({ op: "bye" });
    const link = this.#halt();
    this.#set("stopped");
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    const error = new SoundOffError("stopped", "the client was stopped", { retry: true });
    for (const entry of this.#outbox.all()) entry.passing ? this.#settle(entry, error) : entry.reject?.(error);
    return (this.#stopping = this.#finish(link));
  }

  async #finish(link) {
    await this.#begun;
    await this.#outbox.save().catch((error) => this.fault(error));
    this.#outbox.close();
    this.#opened = false;
    this.#seat?.leave();
    this.#seat = null;
    if (!link) return;
    link.socket.close();
    for (let waited = 0; link.socket.readyState !== 3 && waited < 1000; waited += 10) await pause(10);
    this.#discard(link);
  }

  /** Removes what the store keeps of this user: for signing out on a shared device. */
  async forget() {
    await this.stop();
    if (this.#user === null) return;
    for (let number = 0; number < SEATS; number++) await this.#store.remove(this.#key(`pending/${number}`));
    await this.#store.remove(this.#key("cursor"));
  }

  /** Sends a message until it is answered, from this page or the next one; resolves to the reply's body. */
  call(type, body = {}, { id = randomName(), signal, ordered = true } = {}) {
    const known = this.#outbox.get(id);
    if (known) return this.#outcome(known);
    const passing = isPassing(type);
    // The id stands for these exact bytes: later changes of the object must not reach them.
    const said = JSON.parse(JSON.stringify(body));
    const lane = ordered && !passing ? laneOf(type, said) : null;
    const entry = { id, type, body: said, since: Date.now(), lane, passing, kept: passing, tries: 0 };
    const outcome = this.#outcome(entry);
    try {
      signal?.throwIfAborted();
      if (this.#down) throw new SoundOffError("stopped", "the client is not running", { retry: true });
      this.#outbox.add(entry);
    } catch (error) {
      entry.reject(error);
      return outcome;
    }
    const cancel = () => this.#settle(entry, signal.reason);
    signal?.addEventListener("abort", cancel, { once: true });
    entry.forget = () => signal?.removeEventListener("abort", cancel);
    if (type === "typing") {
      outcome.catch(() => {}); // it matters only now: a caller may ignore it
      if (this.#state !== "online") this.#settle(entry, new SoundOffError("offline", "not online", { retry: true }));
    }
    if (passing) this.#pump();
    else this.#keep(entry);
    return outcome;
  }

  /** The outcome of a call of an earlier page. */
  resumed(id) {
    const entry = this.#outbox.get(id);
    return entry ? this.#outcome(entry) : Promise.reject(new SoundOffError("not_found", `${id} is not pending`));
  }

  #outcome(entry) {
    entry.outcome ??= new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    return entry.outcome;
  }

  /** Nothing is sent before the store has it. */
  async #keep(entry) {
    if (this.#link?.online) entry.tried = Date.now();
    this.#changed();
    try {
      await this.#outbox.save();
      entry.kept = true;
      this.#pump();
    } catch (error) {
      this.#settle(
        entry,
        new SoundOffError("overloaded", `the store does not take it: ${error.message}`, { retry: true }),
      );
    }
  }

  #pump() {
    const link = this.#link;
    if (!link?.online || link.leaving) return;
    const ready = this.#outbox.ready();
    const firsts = ready.filter((entry) => !entry.passing && !entry.tried);
    for (const entry of ready) entry.flying = link;
    for (const entry of firsts) entry.tried = Date.now();
    const send = () => ready.forEach((entry) => this.#transmit(link, entry));
    if (firsts.length === 0) return send();
    this.#outbox
      .save()
      .catch((error) => this.fault(error))
      .then(send);
  }

  #transmit(link, entry) {
    if (this.#link !== link || entry.flying !== link || this.#outbox.get(entry.id) !== entry) return;
    const { id, type, body } = entry;
    const text = JSON.stringify({ op: "send", id, type, body });
    if (new TextEncoder().encode(text).length > link.limit) {
      return this.#settle(entry, new SoundOffError("too_large", `a frame has at most ${link.limit} bytes`));
    }
    if (entry.tried < Date.now() - REPEATABLE_MS) {
      return this.#settle(
        entry,
        new SoundOffError("expired", "sent days ago and never answered: look before you repeat it"),
      );
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

  /** After a refusal that may pass the client waits and tries again; any other is the outcome. */
  #failed(entry, { id, error, duplicate = false }) {
    const {
      code,
      message,
      retry,
      retry_after_ms: retryAfterMs = jitter(this.#timings.backoffMs, entry?.tries ?? 0),
    } = error;
    if (!entry) {
      if (id === undefined && code === "not_found") this.#inbox.expire();
      else if (id === undefined) this.fault(new SoundOffError(code, message, { retry }));
    } else if (!retry || retryAfterMs > (entry.passing ? PASSING_WAIT_MS : LONGEST_WAIT_MS)) {
      const later = retry ? { retry, retryAfterMs } : {};
      this.#settle(entry, new SoundOffError(code, message, { duplicate, ...later }));
    }
    else if (entry.flying) this.#repeatIn(entry, retryAfterMs * (1 + Math.random() / 2));
  }

  #settle(entry, error, body, duplicate = false) {
    const { id, type, passing = false, resumed = false, body: sent } = entry;
    if (this.#outbox.get(id) !== entry) return;
    this.#outbox.delete(entry);
    entry.forget?.();
    if (error) entry.reject?.(error);
    else entry.resolve?.(body);
    if (!passing) {
      this.#outbox.save().catch((fault) => this.fault(fault));
      this.#changed();
      this.emit("reply", { id, type, sent, resumed, duplicate, ...(error ? { error } : { body }) });
    }
    this.#pump();
  }

  async #again(tries) {
    const life = this.#life;
    await pause(jitter(this.#timings.backoffMs, tries));
    return life === this.#life;
  }

  /**
   * The listeners have handled a push: the store's cursor moves, and then the push is acked. Pages that share a store
   * share the cursor.
   */
  async #handled(seq) {
    try {
      const kept = Number(await this.#store.get(this.#cursorCell.key));
      if (seq > kept) await this.#cursorCell.write(String(seq));
      this.#unsaid = true;
      this.#ackSoon();
    } catch (error) {
      this.fault(error);
    }
  }

  #ackSoon() {
    this.#ackTimer ??= setTimeout(() => this.#ack(), this.#timings.ackMs);
  }

  #ack() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    if (!this.#link?.online) return;
    this.#write({ op: "ack", cursor: this.#inbox.cursor });
    this.#unsaid = false;
  }
}

/** A user's sign-in: gets tokens and keeps them fresh, for all pages that share the store. */
export class Session extends Emitter {
  #base;
  #app;
  #key;
  #store;
  #locks;
  #held = null;
  #given = null;
  #refreshing = null;
  #channel;
  #stored;

  constructor({ url = globalThis.location?.origin, app, store, locks } = {}) {
    super();
    this.#app = checked(app);
    this.#base = baseOf(url);
    this.#key = `soundoff/${nameOf(this.#base)}/session`;
    ({ store: this.#store, locks: this.#locks } = keeping(store, locks));
    const text = this.#store.get(this.#key);
    if (typeof text?.then !== "function") this.#take(text);
    this.ready = Promise.resolve(text).then((text) => this.#take(text));
    if (!this.#locks || !globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(this.#key);
    this.#channel.onmessage = () => this.#read().catch((error) => this.fault(error));
    this.#channel.unref?.();
    // In Firefox that message overtakes what the other page has written to localStorage.
    this.#stored = ({ key, newValue }) => key === this.#key && this.#take(newValue);
    if (!store) globalThis.addEventListener?.("storage", this.#stored);
  }

  get user() {
    return this.#held?.user ?? null;
  }

  ways = () => this.#fetch("GET", "ways");
  startEmail = (email) => this.#fetch("POST", "email/start", { email });
  startPhone = (phone) => this.#fetch("POST", "phone/start", { phone });
  verifyEmail = (proof, options) => this.#prove("email/verify", proof, options);
  verifyPhone = (proof, options) => this.#prove("phone/verify", proof, options);
  apple = (proof, options) => this.#prove("apple", proof, options);
  twitter = (proof, options) => this.#prove("twitter", proof, options);
  openid = (name, proof, options) => this.#prove(`openid/${name}`, proof, options);
  introduce = (token, { handle, link = false } = {}) =>
    this.#prove("foreign", { token, handle }, { link, keep: false });

  /** With `link` it proves once more who the user is; the next token has their role. */
  async passkey({ link, ...how } = {}) {
    const credential = await this.#device("get", "Request", "passkey", how, link && (await this.token()));
    const done = await this.#prove("passkey/verify", { credential }, { link });
    if (link) await this.token({ fresh: true });
    return done;
  }

  async addPasskey(name) {
    const credential = await this.#device("create", "Creation", "passkeys", {}, await this.token());
    return this.#mine("POST", "passkeys", { credential, name });
  }

  async #device(act, kind, path, how, token) {
    const { options } = await this.#fetch("POST", `${path}/start`, null, token);
    try {
      const publicKey = PublicKeyCredential[`parse${kind}OptionsFromJSON`](options);
      return (await navigator.credentials[act]({ publicKey, ...how })).toJSON();
    } catch (error) {
      throw how.signal?.aborted ? error : new SoundOffError("no_passkey", error.message);
    }
  }

  /** Signs in with a proof. With `link` it becomes another way to sign in to the current account. */
  async #prove(path, proof, { link = false, keep = !link } = {}) {
    const answer = await this.#fetch("POST", path, proof, link ? await this.token() : undefined);
    if (keep) await this.#keep(answer);
    const { access_token, refresh_token, expires_in, ...done } = answer;
    return done;
  }

  /** An access token. With `fresh` a new one, since the last was refused or is about to expire. */
  async token({ fresh = false } = {}) {
    await this.ready;
    const refused = fresh ? this.#given : null;
    const good = () => this.#held?.expires > Date.now() && this.#held.access !== refused;
    for (let tries = 0; this.#held && !good() && tries < 2; tries++) {
      this.#refreshing ??= this.#refresh(good).finally(() => (this.#refreshing = null));
      await this.#refreshing;
    }
    this.#given = this.#held?.access ?? null;
    if (!this.#given) throw new SoundOffError("signed_out", "nobody is signed in");
    return this.#given;
  }

  /** One refresh for all pages: using a refresh token twice ends the sign-in. */
  #refresh(good) {
    const turn = async () => {
      await this.#read();
      if (this.#held && !good()) await this.#renew(this.#held.refresh);
    };
    return this.#locks ? this.#locks.request(`${this.#key}/refresh`, turn) : turn();
  }

  async #renew(refresh) {
    const ask = () => this.#fetch("POST", "refresh", { refresh_token: refresh });
    const still = async () => (await this.#read(), this.#held?.refresh === refresh);
    let answer = null;
    try {
      // If the answer was lost, the same request may be repeated within ten seconds.
      answer = await ask().catch((error) => (error.code === "offline" ? pause(1000).then(ask) : Promise.reject(error)));
    } catch (error) {
      if (error.code === "conflict") {
        // Another page was faster, and its answer is in the store or will be. If that page is closed, the request may
        // be repeated.
        for (let waited = 0; (await still()) && waited < 2000; waited += 50) await pause(50);
        if (await still()) answer = await ask();
      } else if (error.code !== "unauthorized") throw error;
    }
    // Signed out meanwhile: a late answer must not sign in again.
    if (await still()) await this.#keep(answer);
  }

  async #keep(answer) {
    if (answer) {
      const { user, access_token: access, refresh_token: refresh, expires_in: seconds } = answer;
      const expires = Date.now() + seconds * 1000 - Math.min(EXPIRING_MS, seconds * 500);
      await this.#store.set(this.#key, JSON.stringify({ user, access, refresh, expires }));
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

  /** Ends the sign-in: here at once and for all pages, and at the server if it can be reached. */
  async signOut() {
    await this.ready;
    const refresh = this.#held?.refresh;
    await this.#keep(null);
    if (refresh) await this.#fetch("POST", "logout", { refresh_token: refresh }).catch(() => {});
  }

  identities = () => this.#mine("GET", "identities");
  unlink = (id) => this.#mine("DELETE", `identities/${encodeURIComponent(id)}`);
  startProof = (id) => this.#mine("POST", `identities/${encodeURIComponent(id)}/start`);
  prove = ({ id, ...proof }) => this.#mine("POST", `identities/${encodeURIComponent(id)}/verify`, proof);
  sessions = () => this.#mine("GET", "sessions");
  endSession = (id) => this.#mine("DELETE", `sessions/${encodeURIComponent(id)}`);

  /** Stops listening to other pages. */
  close() {
    this.#channel?.close();
    globalThis.removeEventListener?.("storage", this.#stored);
  }

  /** Uploads a picture. One too large for `POST` goes where `begin`, a call of `media.begin`, says. */
  async uploadMedia(blob, { begin, onProgress, signal } = {}) {
    const send = (method, to, headers) =>
      untilTaken(() => transfer(method, at(this.#base, to), { headers, blob, onProgress, signal }), signal);
    if (blob.size > POST_BYTES && begin) {
      const { media, upload } = await begin({ bytes: blob.size });
      // A bucket takes no headers that it has not signed.
      await send(upload.method, upload.url, upload.url.startsWith("/") ? this.#headers() : {});
      return { id: media };
    }
    const post = async (fresh) => (await send("POST", "/v1/media", this.#headers(await this.token({ fresh })))).media;
    return post(false).catch((error) => (error.code === "unauthorized" ? post(true) : Promise.reject(error)));
  }

  async #mine(method, path, body) {
    return this.#fetch(method, path, body, await this.token());
  }

  async #fetch(method, path, body, token) {
    const headers = { ...(body && { "content-type": "application/json" }), ...this.#headers(token) };
    const init = { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(REQUEST_MS) };
    return asked(at(this.#base, `v1/auth/${path}`), init);
  }

  #headers(token) {
    return { ...(token && { authorization: `Bearer ${token}` }), ...(this.#app && { "soundoff-app": this.#app }) };
  }
}

/**
 * Why nothing came back. A browser does not say whether the server is away or does not let pages of this origin in; but it
 * sends a request whose answer no page may read, and that tells.
 */
async function unreachable(url) {
  const { origin } = globalThis.location ?? {};
  const isThere = origin && new URL(url).origin !== origin
    && (await fetch(url, { mode: "no-cors", signal: AbortSignal.timeout(REQUEST_MS) }).then(() => true, () => false));
  if (!isThere) return new SoundOffError("offline", "the server cannot be reached", { retry: true });
  return new SoundOffError("cors", `the server does not let pages of ${origin} in (CORS): start it with --origins ${origin}`);
}

async function asked(url, init, cancelled) {
  try {
    const response = await fetch(url, init);
    return answerOf(response.status, await response.text(), response.headers.get("retry-after"));
  } catch (error) {
    throw error instanceof SoundOffError || cancelled?.aborted ? error : await unreachable(url);
  }
}

/** The body of a successful answer, or the error of another (RFC 9457). A bucket's errors are no JSON. */
function answerOf(status, text, retryAfterS) {
  let body = {};
  try {
    body = JSON.parse(text || "{}");
  } catch {
    body = {};
  }
  if (status < 400) return body;
  const code = body.code ?? { 401: "unauthorized", 403: "forbidden" }[status] ?? "internal";
  // It may be a date.
  const retryAfterMs = /^\d+$/.test(retryAfterS) ? retryAfterS * 1000 : undefined;
  throw new SoundOffError(code, body.detail ?? `HTTP ${status}`, {
    retry: status === 418 || status === 429 || status >= 500,
    retryAfterMs,
  });
}

/** Sends again what is refused for now, if the server says that it is not for long. */
async function untilTaken(send, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (error) {
      const isShort = error.retry && error.retryAfterMs <= COME_AGAIN_MS;
      if (!isShort || tries === UPLOAD_TRIES) throw error;
      await pause(error.retryAfterMs * (1 + Math.random() / 2));
      signal?.throwIfAborted();
    }
  }
}

/** Sends bytes, with XMLHttpRequest where there is one: fetch cannot report its progress. */
function transfer(method, url, { headers, blob, onProgress, signal }) {
  if (!globalThis.XMLHttpRequest) return asked(url, { method, headers, body: blob, signal }, signal);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded / total);
    request.onload = () => {
      const { status, responseText } = request;
      resolve(Promise.resolve().then(() => answerOf(status, responseText, request.getResponseHeader("retry-after"))));
    };
    request.onerror = () => unreachable(url).then(reject);
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(blob);
  });
}
