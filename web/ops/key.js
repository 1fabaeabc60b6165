// The operator's key, which a deployment asks for, and what may be asked with it.

import { ask, isUnpaired } from "../app/pairing.js";
import { byId, say } from "./dom.js";

const KEPT_AS = "soundoff-operators-key";

export class Key {
  #changed;

  // `changed` is called when there is another key, or none any more.
  constructor(changed) {
    this.#changed = changed;
    byId("forget").addEventListener("click", () => this.set(null));
    byId("key").addEventListener("submit", (event) => {
      event.preventDefault();
      this.set(byId("key-text").value.trim());
      byId("key").reset();
    });
  }

  get() {
    return sessionStorage.getItem(KEPT_AS);
  }

  // This tab keeps it until it is closed; `text` null forgets it, for the reason `why`.
  set(text, why = "") {
    if (text) sessionStorage.setItem(KEPT_AS, text);
    else sessionStorage.removeItem(KEPT_AS);
    say(byId("key-refused"), why);
    this.#changed();
  }

  // Shows the form for the key, if one is `needed` for something on this page. Returns whether an operator may act.
  draw(needed) {
    const may = !needed || this.get() !== null;
    byId("operator").hidden = !needed;
    byId("key").hidden = may;
    byId("forget").hidden = !may;
    return may;
  }

  // Asks the server for what only operators may have; rejects with its words.
  async post(what, body) {
    const headers = { "content-type": "application/json" };
    if (this.get()) headers.authorization = `Bearer ${this.get()}`;
    const answer = await ask(`ops/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json().catch(() => ({}));
    if (answer.status === 401 && !isUnpaired(answer)) this.set(null, "That is not this deployment’s key.");
    if (!answer.ok) throw new Error(`${said.detail ?? `the server answers ${answer.status}`}.`);
    return said;
  }
}
