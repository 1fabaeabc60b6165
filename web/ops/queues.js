// The table of queues.

import { asCount, asSeconds, byId, html, say } from "./dom.js";
import { spark } from "./plot.js";

const COLUMNS = [
  { name: "queue", label: "Queue", of: (row) => row.queue, format: (text) => text },
  { name: "visible", label: "Waiting", of: (row) => row.now.visible, format: asCount },
  { name: "in_flight", label: "In flight", of: (row) => row.now.in_flight, format: asCount },
  { name: "oldest_age", label: "Oldest", of: (row) => row.now.oldest_age, format: asSeconds },
  { name: "done", label: "Done/s", of: (row) => row.now.done, format: asCount },
  { name: "run_p99", label: "Run p99", of: (row) => row.now.run_p99, format: asSeconds },
  { name: "dead", label: "Dead", of: (row) => row.now.dead, format: asCount },
];

const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other) : one - other);

export class Queues {
  #figures;
  #show;
  #rows = new Map();
  #headers = new Map();
  // The catalog's order until somebody chooses another.
  #by = null;
  #falling = false;

  // `show` is called with the queue whose dead letters somebody wants to see.
  constructor(figures, show) {
    this.#figures = figures;
    this.#show = show;
    const head = byId("queues").querySelector("thead tr");
    for (const column of COLUMNS) {
      const button = html("button", { type: "button", onclick: () => this.#sort(column) }, column.label);
      const header = html("th", { scope: "col", class: column.name }, button);
      this.#headers.set(column, header);
      head.append(header);
    }
    head.append(html("th", { scope: "col", class: "spark" }, "Waiting, 10 min"));
    byId("hide-idle").checked = matchMedia("(max-width: 40rem)").matches;
    byId("hide-idle").addEventListener("change", () => this.draw());
  }

  draw() {
    const { queues, parts, samples, key } = this.#figures;
    const latest = this.#figures.latest();
    if (parts.length > 0) byId("queues").hidden = queues.length === 0;
    if (queues.length === 0 || !latest) return;
    let rows = queues.map((queue) => ({ queue, now: latest.each[queue], past: samples.map(({ each }) => each[queue]) }));
    const busy = rows.filter(({ past }) => past.some((was) => was && (was.visible || was.in_flight || was.done || was.dead)));
    if (byId("hide-idle").checked) rows = busy;
    if (this.#by) rows.sort((one, other) => this.#order(one, other));
    for (const row of rows) this.#fill(row);
    const elements = rows.map(({ queue }) => this.#rows.get(queue).element);
    const body = byId("queues").querySelector("tbody");
    // Moved rows would lose the focus.
    if (elements.length !== body.children.length || elements.some((element, n) => body.children[n] !== element)) {
      body.replaceChildren(...elements);
    }
    const unseen = latest.all.visible === null;
    const note = byId("queues-note");
    note.hidden = !unseen && rows.length > 0;
    if (unseen && key) say(note, "How full they are is asked for, and paid for, only while somebody with the operator’s key looks.");
    else if (unseen) say(note, "How full they are is not known now.");
    else say(note, `None of the ${queues.length} queues had anything in the last ten minutes.`);
  }

  #order(one, other) {
    const [a, b] = [one, other].map(this.#by.of);
    // Unknown figures come last in both directions.
    if (a == null || b == null) return (a == null) - (b == null);
    return this.#falling ? compare(b, a) : compare(a, b);
  }

  #sort(column) {
    // Figures are sorted highest first, names from a to z.
    const first = column.name !== "queue";
    if (this.#by !== column) [this.#by, this.#falling] = [column, first];
    else if (this.#falling === first) this.#falling = !first;
    else this.#by = null;
    for (const [known, header] of this.#headers) {
      if (known === this.#by) header.setAttribute("aria-sort", this.#falling ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    }
    this.draw();
  }

  #fill({ queue, now, past }) {
    if (!this.#rows.has(queue)) this.#rows.set(queue, this.#row(queue));
    const { cells, dead, last } = this.#rows.get(queue);
    for (const [column, cell] of cells) {
      if (column.name === "dead") continue;
      say(cell, column.format(column.of({ queue, now })));
      cell.classList.toggle("zero", !column.of({ queue, now }));
    }
    say(dead, asCount(now.dead));
    dead.disabled = !now.dead;
    dead.setAttribute("aria-label", `${asCount(now.dead)} dead letters of ${queue}`);
    const visible = past.map((was) => was?.visible ?? null);
    last.replaceChildren(spark(visible, `waiting on ${queue}: at most ${asCount(Math.max(...visible))}`));
  }

  #row(queue) {
    const cells = new Map();
    const dead = html("button", { type: "button", class: "dead", onclick: () => this.#show(queue) });
    const last = html("td", { class: "spark" });
    for (const column of COLUMNS) {
      const name = column.name === "queue" ? "th" : "td";
      cells.set(column, html(name, { class: column.name, ...(name === "th" && { scope: "row" }) }));
    }
    [...cells.values()].at(-1).append(dead);
    return { element: html("tr", {}, ...cells.values(), last), cells, dead, last };
  }
}
