// Makes elements in one expression, and figures and times that people can read.

const SVG = "http://www.w3.org/2000/svg";

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

export const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

export const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

export const byId = (id) => document.getElementById(id);

// Writes only what has changed: a screen reader must not read a live region again, and a selection in the text must
// stay.
export const say = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const digits = (value, most) => value.toLocaleString("en", { maximumFractionDigits: most });

const short = (value) => {
  for (const [unit, size] of [["M", 1e6], ["k", 1e3]]) {
    if (value >= 10 * size || (value >= size && value % size === 0)) return digits(value / size, 1) + unit;
  }
  return digits(value, value < 10 ? 2 : value < 100 ? 1 : 0);
};

const seconds = (value) => {
  if (value === 0) return "0 s";
  if (value < 0.001) return digits(value * 1e6, 0) + " µs";
  if (value < 1) return digits(value * 1e3, value < 0.01 ? 2 : value < 0.1 ? 1 : 0) + " ms";
  if (value < 120) return digits(value, value < 10 ? 1 : 0) + " s";
  if (value < 7200) return digits(value / 60, 0) + " min";
  return digits(value / 3600, value < 36000 ? 1 : 0) + " h";
};

const orDash = (format) => (value) => (value == null ? "–" : format(value));

// A count or a rate, and a time, in as few characters as possible.
export const asCount = orDash(short);
export const asSeconds = orDash(seconds);

export const clock = (ms) => new Date(ms).toLocaleTimeString("en", { hour12: false });

export const moment = (ms) => {
  const date = new Date(ms);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toISOString().slice(0, 10)} `;
  return day + clock(ms);
};
