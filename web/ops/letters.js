// Dead letters: whose they are, what they say, and how to redrive them.

import { byId, html, say } from "./dom.js";
import { letterElement } from "./letter.js";

// For how long redriven letters are followed.
const FOLLOWED = 120_000;

export class Letters {
  #figures;
  #key;
  #queue = null;
  #listed = null;
  #loading = false;
  #again = false;
  #redriving = false;
  #following = null;
  #may = false;

  constructor(figures, key) {
    this.#figures = figures;
    this.#key = key;
    byId("queue").addEventListener("change", (event) => this.show(event.target.value));
    byId("reload").addEventListener("click", () => this.#load(this.#count()));
    byId("ask").addEventListener("click", () => this.#confirm());
    byId("no").addEventListener("click", () => this.#decided("ask"));
    byId("confirm").addEventListener("keydown", (event) => event.key === "Escape" && this.#decided("ask"));
    byId("yes").addEventListener("click", () => this.#redrive());
  }

  // Shows the letters of a queue.
  show(queue) {
    this.#queue = queue;
    this.#listed = null;
    this.#decided();
    say(byId("outcome"), "");
    this.draw();
    byId("queue").focus();
  }

  // Draws what is known about dead letters, and asks for them when the list is no longer complete. `may`: whether an
  // operator may act; without, it is as before.
  draw(may = this.#may) {
    this.#may = may;
    const { queues, key } = this.#figures;
    const latest = this.#figures.latest();
    if (this.#figures.parts.length === 0) return;
    byId("letters").hidden = queues.length === 0;
    byId("desk").hidden = !may;
    if (!may) {
      this.#listed = null;
      byId("list").replaceChildren();
    }
    if (!may || queues.length === 0 || !latest) return;
    const dead = (queue) => latest.each[queue].dead;
    this.#queue ??= queues.find((queue) => dead(queue) > 0) ?? queues[0];
    this.#choices(queues, dead);
    const count = this.#count();
    this.#allow(count !== 0);
    this.#follow();
    // In a deployment a look costs requests and hides letters for a moment: there it is made only when somebody asks.
    if (this.#listed?.queue !== this.#queue || (!key && this.#listed.count !== count)) this.#load(count);
  }

  #choices(queues, dead) {
    const select = byId("queue");
    const label = (queue) => (dead(queue) > 0 ? `${queue} (${dead(queue)})` : queue);
    // The list must not be rebuilt while somebody is choosing.
    if (select.options.length !== queues.length) {
      select.replaceChildren(...queues.map((queue) => html("option", { value: queue }, queue)));
    }
    for (const option of select.options) say(option, label(option.value));
    select.value = this.#queue;
  }

  #count() {
    return this.#figures.latest()?.each[this.#queue].dead ?? null;
  }

  async #load(count) {
    // One request after the other; if something has changed meanwhile, ask again.
    this.#again = this.#loading;
    if (this.#loading) return;
    this.#loading = true;
    const queue = this.#queue;
    this.#listed = { queue, count };
    try {
      const { letters, most } = await this.#key.post("letters", { queue });
      if (queue === this.#queue) this.#list(queue, letters, most, count);
    } catch (error) {
      say(byId("listed"), `The letters cannot be listed: ${error.message}`);
    }
    this.#loading = false;
    if (this.#again || queue !== this.#queue) await this.#load(this.#count());
  }

  #list(queue, letters, most, count) {
    const known = new Map([...byId("list").children].map((element) => [element.dataset.key, element]));
    const elements = letters.map((letter) => {
      // A letter's key is unique within its queue and the letter does not change; a message that dies again is another
      // letter.
      const key = [queue, letter.key, letter.last_at].join(" ");
      const element = known.get(key) ?? letterElement(letter, () => this.#body(queue, letter.key));
      element.dataset.key = key;
      return element;
    });
    byId("list").replaceChildren(...elements);
    const all = count ?? letters.length;
    const told = letters.length === 0 ? `${queue} has no dead letters.`
      : letters.length >= most && all > most ? `The oldest ${most} of ${all.toLocaleString("en")} letters.`
      : `${letters.length} ${letters.length === 1 ? "letter" : "letters"}, oldest first.`;
    say(byId("listed"), told);
    this.#allow(letters.length > 0);
    const field = byId("count");
    if (document.activeElement !== field) field.value = Math.min(Math.max(all, 1), 1000);
  }

  // Shows the button to redrive while there are letters. When it goes, the focus moves to the choice of queues.
  #allow(some) {
    const redrive = byId("redrive");
    if (!some && redrive.contains(document.activeElement)) byId("queue").focus();
    redrive.hidden = !some;
    if (!some) byId("confirm").hidden = true;
  }

  async #body(queue, key) {
    return (await this.#key.post("letter", { queue, key })).body;
  }

  #confirm() {
    const count = byId("count");
    if (this.#redriving) return;
    if (!count.reportValidity()) return;
    const limit = count.valueAsNumber;
    const letters = limit === 1 ? "the oldest letter" : `the oldest ${limit} letters`;
    say(byId("question"), `Put ${letters} back on ${this.#queue}?`);
    say(byId("yes"), `Yes, redrive ${limit}`);
    byId("confirm").hidden = false;
    byId("ask").disabled = count.disabled = true;
    byId("yes").focus();
  }

  // Ends the question; `focus` gets the focus.
  #decided(focus = null) {
    byId("confirm").hidden = true;
    byId("ask").disabled = byId("count").disabled = false;
    if (focus) byId(focus).focus();
  }

  async #redrive() {
    const [queue, limit] = [this.#queue, byId("count").valueAsNumber];
    this.#decided("ask");
    this.#redriving = true;
    const outcome = byId("outcome");
    say(outcome, `Putting letters back on ${queue}…`);
    const before = this.#count();
    try {
      const { moved } = await this.#key.post("redrive", { queue, limit });
      const letters = moved === 1 ? "1 letter is" : `${moved} letters are`;
      say(outcome, `${letters} back on ${queue}.`);
      if (moved > 0 && before !== null) {
        const now = this.#figures.now();
        this.#following = { queue, moved, left: Math.max(before - moved, 0), from: now, until: now + FOLLOWED };
      }
      this.#listed = null;
    } catch (error) {
      say(outcome, `They could not be put back: ${error.message} Some may be back all the same; look before you try again.`);
    }
    this.#redriving = false;
    this.draw();
  }

  // Reports what happened to the redriven letters, once their queue is empty.
  #follow() {
    const { queue, moved, left, from, until } = this.#following ?? {};
    const latest = this.#figures.latest();
    // Gauges are up to a second old, and up to ten seconds in a deployment.
    if (!queue || latest.at < from + (this.#figures.key ? 15_000 : 2 * this.#figures.every)) return;
    const { visible, in_flight: inFlight, dead } = latest.each[queue];
    const letters = moved === 1 ? "1 letter was" : `${moved} letters were`;
    if (visible === 0 && inFlight === 0) {
      const again = Math.max(dead - left, 0);
      const become = again === 0 ? "None has come back." : `${again} ${again === 1 ? "is" : "are"} dead again.`;
      say(byId("outcome"), `${letters} put back on ${queue}, which is empty now. ${become}`);
      this.#following = null;
    } else if (this.#figures.now() > until) {
      say(byId("outcome"), `${letters} put back on ${queue}, which is still at work.`);
      this.#following = null;
    } else {
      say(byId("outcome"), `${letters} put back on ${queue}, which is at work on them.`);
    }
  }
}
