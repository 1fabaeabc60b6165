// The gate: how it stands, and how to close and open it.

import { byId, clock, html, moment, say } from "./dom.js";

const MOST_BYTES = 64;
const UNITS = { s: 1, m: 60, h: 3600 };

const bytesOf = (text) => new TextEncoder().encode(text).length;

// "10m" is 600 seconds; null when it is no time.
const secondsOf = (text) => {
  const [, number, unit] = /^(\d{1,7})\s*([smh])$/.exec(text.trim()) ?? [];
  return unit ? Number(number) * UNITS[unit] : null;
};

// "GB, ios-5.2": two capitals are a country, anything else is an app.
const firstOf = (text) =>
  text.split(/[\s,]+/).filter(Boolean).map((name) => (/^[A-Z]{2}$/.test(name) ? { country: name } : { app: name }));

const named = ({ country, app }) => (country ? `visitors from ${country}` : `the app ${app}`);

export class Gate {
  #figures;
  #key;
  #asking = false;
  #isSure = false;

  constructor(figures, key) {
    this.#figures = figures;
    this.#key = key;
    const [reason, lasts, over, first] = ["reason", "lasts", "over", "first"].map(byId);
    reason.addEventListener("input", () => this.#count());
    for (const field of [lasts, over]) field.addEventListener("input", () => this.#time(field));
    byId("close").addEventListener("submit", (event) => {
      event.preventDefault();
      // Everybody is turned out: the same button asks once more, for as long as it has the focus.
      if (!this.#isSure) return this.#ask(true);
      this.#ask(false);
      const time = secondsOf(lasts.value);
      this.#order({ close: { reason: reason.value.trim(), ...(time !== null && { for_s: time }) } }, "Closing…");
    });
    byId("open").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#order({ open: { over_s: secondsOf(over.value) ?? 0, first: firstOf(first.value) } }, "Opening…");
    });
    byId("shut").addEventListener("blur", () => this.#ask(false));
    this.#count();
  }

  draw(may) {
    const { gate } = this.#figures;
    byId("gate").hidden = !gate;
    if (!gate) return;
    byId("close").hidden = byId("open").hidden = !may;
    const now = this.#figures.now();
    const ends = gate.since + gate.over_ms;
    const isOpening = gate.mode === "opening" && now < ends;
    byId("gate").classList.toggle("shut", gate.mode === "closed" || isOpening);
    say(byId("stands"), this.#stands(gate, isOpening, ends));
    say(byId("people-read"), isOpening || gate.mode === "closed" ? `People read: ${gate.reason || "closed for a while"}` : "");
    const bar = byId("opened");
    bar.hidden = !isOpening;
    if (isOpening) bar.value = (now - gate.since) / gate.over_ms;
    byId("firsts").replaceChildren(...(isOpening ? (gate.first ?? []) : []).map((first) => html("li", {}, named(first))));
    byId("who").hidden = byId("firsts").childElementCount === 0;
  }

  #stands({ mode, since, until }, isOpening, ends) {
    if (mode === "closed") {
      const late = until && until < this.#figures.now() ? "; it takes longer than was said" : "";
      return `Closed since ${moment(since)}${until ? `, expected to end at ${moment(until)}${late}` : ""}.`;
    }
    if (!isOpening) return "Open to all.";
    return `Opening since ${moment(since)}; open to all at ${clock(ends)}.`;
  }

  #ask(isSure) {
    this.#isSure = isSure;
    say(byId("shut"), isSure ? "Yes, close it for everybody" : "Close");
    if (isSure) byId("shut").focus();
  }

  #count() {
    const field = byId("reason");
    const left = MOST_BYTES - bytesOf(field.value.trim());
    say(byId("reason-left"), left >= 0 ? `${left} bytes left` : `${-left} bytes too many`);
    field.setCustomValidity(left >= 0 ? "" : `A reason has at most ${MOST_BYTES} bytes.`);
  }

  #time(field) {
    const isTime = field.value.trim() === "" || secondsOf(field.value) !== null;
    field.setCustomValidity(isTime ? "" : "Write a time such as 30s, 10m or 2h.");
  }

  async #order(order, doing) {
    if (this.#asking) return;
    this.#asking = true;
    const outcome = byId("gate-outcome");
    say(outcome, doing);
    try {
      const { gate } = await this.#key.post("gate", order);
      this.#figures.gate = gate;
      say(outcome, "Done. All processes follow within two seconds.");
    } catch (error) {
      say(outcome, `Not done: ${error.message}`);
    }
    this.#asking = false;
    this.draw(true);
  }
}
