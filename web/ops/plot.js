// One plot of the last ten minutes: lines over time with axes, the figures of now, and the same as a table.

import { clock, html, say, svg } from "./dom.js";

const HEIGHT = 132;
const MARGIN = { left: 52, right: 10, top: 14, bottom: 20 };
const MINUTE = 60_000;

// An axis from 0 to at least the largest value, with ticks 1, 2 or 5 times a power of ten apart. `share` is a value's
// height, 0 to 1.
const linear = (values, whole) => {
  const most = Math.max(...values, whole ? 3 : 0) || 1;
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  if (whole) step = Math.max(step, 1);
  const count = Math.ceil(most / step - 1e-9);
  return { ticks: Array.from({ length: count + 1 }, (_, n) => n * step), share: (value) => value / (count * step) };
};

// An axis over whole powers of ten: times differ by factors, and one long time must not flatten all others.
const logarithmic = (values) => {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  const from = Math.floor(Math.min(...logs, -3));
  const to = Math.max(Math.ceil(Math.max(...logs, -2)), from + 1);
  const ticks = Array.from({ length: to - from + 1 }, (_, n) => 10 ** (from + n));
  return { ticks, share: (value) => (value > 0 ? (Math.log10(value) - from) / (to - from) : 0) };
};

export class Plot {
  #lines;
  #format;
  #axis;
  #svg = svg("svg", { role: "img", height: HEIGHT });
  #values;
  #table = html("table");
  #details;
  #drawn = null;

  // `lines`: {label, of: sample → number or null}. `scale`: "linear", "whole" for what comes in ones, "logarithmic".
  constructor({ title, unit, lines, format, scale = "linear" }) {
    Object.assign(this, { title, unit });
    this.#lines = lines;
    this.#format = format;
    this.#axis = scale === "logarithmic" ? logarithmic : (values) => linear(values, scale === "whole");
    this.#values = lines.map(() => html("dd"));
    const entries = lines.map(({ label }, n) => html("div", { class: `line${n}` }, html("dt", {}, label), this.#values[n]));
    this.#details = html("details", { ontoggle: () => this.#tabulate() },
      html("summary", { "aria-label": `Table: ${title}` }, "Table"), this.#table);
    const id = `plot-${title.toLowerCase().replaceAll(" ", "-")}`;
    this.element = html("figure", { "aria-labelledby": id },
      html("figcaption", {}, html("h3", { id }, title), html("span", { class: "unit" }, unit)),
      html("dl", {}, ...entries), this.#svg, this.#details);
  }

  // Draws the samples up to `now`. `cursor` is the time whose figures are shown, instead of the latest.
  draw({ samples, now, keeps, every, cursor = null }) {
    this.#drawn = { samples, now, keeps, every };
    const width = Math.max(this.#svg.clientWidth, 200);
    const columns = this.#lines.map(({ of }) => samples.map(of));
    const known = columns.flat().filter((value) => value != null);
    const { ticks, share } = this.#axis(known);
    const x = (at) => width - MARGIN.right - ((now - at) / keeps) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => HEIGHT - MARGIN.bottom - share(value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    const floor = y(ticks[0]);
    const parts = [...this.#axes(x, y, ticks, width, now, keeps)];
    columns.forEach((column, n) => parts.push(...this.#line(samples, column, n, x, y, floor, every)));
    const pointed = cursor === null ? -1 : nearest(samples, cursor, 2.5 * every);
    const shown = pointed >= 0 ? pointed : samples.length - 1;
    if (pointed >= 0) {
      const at = x(samples[shown].at);
      const anchor = at < width / 2 ? "start" : "end";
      parts.push(svg("line", { class: "cursor", x1: at, x2: at, y1: MARGIN.top, y2: floor }));
      parts.push(svg("text", { x: at, y: MARGIN.top - 3, "text-anchor": anchor }, clock(samples[shown].at)));
    }
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#svg.replaceChildren(...parts);
    this.#values.forEach((value, n) => say(value, this.#format(columns[n][shown] ?? null)));
    this.#svg.setAttribute("aria-label", this.#inWords(columns));
    this.#tabulate();
  }

  // The time under a pointer at `clientX`.
  timeAt(clientX) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const share = (clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
    return this.#drawn && this.#drawn.now - (1 - share) * this.#drawn.keeps;
  }

  *#axes(x, y, ticks, width, now, keeps) {
    for (const value of ticks) {
      const at = y(value);
      yield svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at });
      yield svg("text", { x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }, this.#format(value));
    }
    const every = width < 360 ? 5 : 2;
    for (let ago = 0; ago * MINUTE <= keeps; ago += every) {
      const first = (ago + every) * MINUTE > keeps;
      const anchor = ago === 0 ? "end" : first ? "start" : "middle";
      const label = ago === 0 ? "now" : `−${ago}${first ? " min" : ""}`;
      yield svg("text", { x: x(now - ago * MINUTE), y: HEIGHT - 4, "text-anchor": anchor }, label);
    }
  }

  *#line(samples, column, n, x, y, floor, every) {
    let path = "";
    let area = "";
    let begun = null;
    const end = (at) => {
      if (begun !== null) area += `L${at} ${floor}L${begun} ${floor}Z`;
      begun = null;
    };
    let last = null;
    samples.forEach((sample, i) => {
      if (column[i] == null) return;
      const [at, level] = [x(sample.at).toFixed(1), y(column[i]).toFixed(1)];
      const apart = last === null || sample.gap || sample.at - samples[last].at > 2.5 * every;
      if (apart) {
        if (last !== null) end(x(samples[last].at).toFixed(1));
        begun = at;
        // A single point is drawn as a dot.
        path += `M${at} ${level}h0`;
        area += `M${at} ${level}`;
      } else {
        path += `L${at} ${level}`;
        area += `L${at} ${level}`;
      }
      last = i;
    });
    if (last !== null) end(x(samples[last].at).toFixed(1));
    if (this.#lines.length === 1) yield svg("path", { class: `area line${n}`, d: area });
    yield svg("path", { class: `stroke line${n}`, d: path });
  }

  #inWords(columns) {
    const parts = this.#lines.map(({ label }, n) => {
      const known = columns[n].filter((value) => value != null);
      if (known.length === 0) return `${label} not known`;
      const [now, most] = [columns[n].at(-1), Math.max(...known)].map(this.#format);
      return `${label} ${now} now, at most ${most}`;
    });
    return `${this.title}, ${this.unit}, in the last ten minutes: ${parts.join("; ")}.`;
  }

  // The highest value of each minute. Updated only while the table is open.
  #tabulate() {
    if (!this.#details.open || !this.#drawn) return;
    const { samples, now, keeps } = this.#drawn;
    const head = html("tr", {}, html("th", { scope: "col" }, "Minute to"),
      ...this.#lines.map(({ label }) => html("th", { scope: "col" }, label)));
    const rows = [];
    for (let to = now; to > now - keeps; to -= MINUTE) {
      const minute = samples.filter(({ at }) => at <= to && at > to - MINUTE);
      if (minute.length === 0) continue;
      const cells = this.#lines.map(({ of }) => {
        const known = minute.map(of).filter((value) => value != null);
        return html("td", {}, this.#format(known.length > 0 ? Math.max(...known) : null));
      });
      rows.push(html("tr", {}, html("th", { scope: "row" }, clock(to)), ...cells));
    }
    const caption = html("caption", {}, `Highest in each minute, ${this.unit}`);
    this.#table.replaceChildren(caption, html("thead", {}, head), html("tbody", {}, ...rows));
  }
}

// The index of the sample that is nearest to a time; -1 if none is near.
const nearest = (samples, time, reach) => {
  let [found, least] = [-1, reach];
  samples.forEach(({ at }, n) => {
    if (Math.abs(at - time) <= least) [found, least] = [n, Math.abs(at - time)];
  });
  return found;
};

// A small line without axes, for a table cell.
export const spark = (values, label) => {
  const [width, height] = [96, 20];
  const most = Math.max(...values.filter((value) => value != null), 1);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((value, n) => {
    const [x, y] = [(n * step).toFixed(1), (height - 1.5 - ((value ?? 0) / most) * (height - 3)).toFixed(1)];
    return `${n === 0 ? "M" : "L"}${x} ${y}`;
  });
  return svg("svg", { role: "img", "aria-label": label, class: "spark", viewBox: `0 0 ${width} ${height}`, width, height },
    svg("path", { class: values.some(Boolean) ? "stroke line0" : "grid", d: points.join("") }));
};
