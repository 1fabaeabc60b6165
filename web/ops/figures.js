// The server's samples of the last ten minutes, across its restarts.

import { ask, isUnpaired } from "../app/pairing.js";

export class Figures {
  samples = [];
  queues = [];
  parts = [];
  away = [];
  gate = null;
  every = 2000;
  keeps = 600_000;
  #boot = null;
  #next = 0;
  #ahead = 0;

  // Asks for new samples, with the operator's key if there is one. Rejects when there is no answer, or a bad one.
  async refresh(key) {
    let answer = await this.#ask(this.#next, key);
    // Another process counts from zero, and may have come further than the one before.
    if (answer.boot !== this.#boot && this.#next > 0) answer = await this.#ask(0, key);
    this.#take(answer);
  }

  // The server's time now, as far as we know: its clock and ours may differ.
  now() {
    return Date.now() + this.#ahead;
  }

  latest() {
    return this.samples.at(-1) ?? null;
  }

  async #ask(since, key) {
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    const answer = await ask(`ops/data?since=${since}`, { headers, signal: AbortSignal.timeout(5000) });
    if (isUnpaired(answer)) throw Object.assign(new Error((await answer.json()).detail), { code: "unpaired" });
    if (!answer.ok) throw Object.assign(new Error(`the server answers ${answer.status}`), { status: answer.status });
    return answer.json();
  }

  #take(answer) {
    const { version, parts, key, gate = null, away, queues, now, at, whole, each } = answer;
    Object.assign(this, { version, parts, key, gate, away, queues, every: answer.every_ms, keeps: answer.keeps_ms });
    this.#ahead = now - Date.now();
    const gap = this.#boot !== null && answer.boot !== this.#boot;
    this.#boot = answer.boot;
    this.#next = answer.next;
    const pick = (columns, n) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[n]]));
    at.forEach((time, n) => {
      const sample = { at: time, gap: gap && n === 0, whole: pick(whole, n), each: {} };
      for (const queue of queues) sample.each[queue] = { ...ZEROS, ...pick(each[queue] ?? {}, n) };
      sample.all = together(Object.values(sample.each));
      this.samples.push(sample);
    });
    const oldest = now - this.keeps;
    this.samples = this.samples.filter((sample) => sample.at >= oldest);
  }
}

// Columns of zeros are not sent.
const ZEROS = { visible: 0, in_flight: 0, oldest_age: 0, dead: 0, done: 0, run_p99: 0 };

const add = (one, other) => one + other;

// The sum over all queues; null if no queue's figure is known.
const together = (queues) => {
  const join = (name, how) => {
    const known = queues.map((figures) => figures[name]).filter((value) => value != null);
    return known.length > 0 ? known.reduce(how) : null;
  };
  const oldest = join("oldest_age", (one, other) => Math.max(one, other));
  return { visible: join("visible", add), in_flight: join("in_flight", add), oldest_age: oldest, dead: join("dead", add) };
};
