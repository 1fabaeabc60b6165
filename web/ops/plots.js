// The list of plots.

import { asCount, asSeconds, byId } from "./dom.js";
import { Plot } from "./plot.js";

const whole = (name) => (sample) => sample.whole[name];
const all = (name) => (sample) => sample.all[name];

// `part` is the part of a process that the plot is about. `alone`: only if the process does nothing else.
const PLOTS = [
  { title: "Messages", unit: "per second", parts: ["edge", "queues"], format: asCount, lines: [
    { label: "accepted", of: whole("accepted"), part: "edge" },
    { label: "done", of: whole("done"), part: "queues" },
    { label: "frames to clients", of: whole("frames_out"), part: "edge" },
  ] },
  { title: "Time to accepted", unit: "per message", parts: ["edge"], format: asSeconds, scale: "logarithmic", lines: [
    { label: "p50", of: whole("accepted_p50") },
    { label: "p99", of: whole("accepted_p99") },
  ] },
  { title: "Run time", unit: "per run", parts: ["queues"], format: asSeconds, scale: "logarithmic", lines: [
    { label: "p50", of: whole("run_p50") },
    { label: "p99", of: whole("run_p99") },
  ] },
  { title: "Queue depth", unit: "messages", parts: ["queues"], format: asCount, scale: "whole", lines: [
    { label: "waiting", of: all("visible") },
    { label: "in flight", of: all("in_flight") },
    { label: "held for an engine", of: whole("held") },
  ] },
  { title: "Oldest message", unit: "age", parts: ["queues"], format: asSeconds, lines: [
    { label: "of any queue", of: all("oldest_age") },
  ] },
  { title: "Dead letters", unit: "messages", parts: ["queues"], format: asCount, scale: "whole", lines: [
    { label: "of all queues", of: all("dead") },
  ] },
  { title: "Sockets", unit: "open", parts: ["edge"], format: asCount, scale: "whole", lines: [
    { label: "websockets", of: whole("sockets") },
  ] },
  { title: "Timelines", unit: "per second", parts: ["timelines"], format: asCount, lines: [
    { label: "computed", of: whole("computed") },
    { label: "shown", of: whole("fetched") },
  ] },
  { title: "Trouble", unit: "per second", parts: ["edge", "queues"], format: asCount, lines: [
    { label: "refused", of: whole("refused"), part: "edge" },
    { label: "tried again", of: whole("retried"), part: "queues" },
    { label: "given up", of: whole("buried"), part: "queues" },
  ] },
  { title: "Turned away", unit: "per second", parts: ["edge", "users"], format: asCount, lines: [
    { label: "by the gate", of: whole("gate_refused") },
    { label: "websockets, too many of one address", of: whole("upgrades_refused"), part: "edge" },
  ] },
  { title: "Calls to the User service", unit: "per second", parts: ["users"], alone: true, format: asCount, lines: [
    { label: "calls", of: whole("calls") },
  ] },
];

export class Plots {
  #plots = null;
  #cursor = null;
  #figures;

  constructor(figures) {
    this.#figures = figures;
    const place = byId("plots");
    // All plots show the figures of the time under the pointer.
    place.addEventListener("pointermove", (event) => {
      const over = this.#plots?.find(({ element }) => element.contains(event.target));
      this.#point(event.target.closest("svg") && over ? over.timeAt(event.clientX) : null);
    });
    place.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(() => this.draw()).observe(place);
  }

  // Draws what is known, up to now.
  draw() {
    const { samples, parts, keeps, every } = this.#figures;
    if (parts.length === 0) return;
    if (!this.#plots) {
      this.#plots = this.#wanted(parts).map((plot) => new Plot(plot));
      byId("plots").replaceChildren(...this.#plots.map(({ element }) => element));
    }
    for (const plot of this.#plots) {
      plot.draw({ samples, now: this.#figures.now(), keeps, every, cursor: this.#cursor });
    }
  }

  #wanted(parts) {
    const does = (part) => !part || parts.includes(part);
    const wanted = PLOTS.filter((plot) => plot.parts.some(does) && (!plot.alone || parts.length === 1));
    return wanted.map((plot) => ({ ...plot, lines: plot.lines.filter(({ part }) => does(part)) }));
  }

  #point(time) {
    if (time === this.#cursor) return;
    this.#cursor = time;
    this.draw();
  }
}
