// One dead letter in the list.

import { asSeconds, html, moment, say } from "./dom.js";

const time = (ms) => html("time", { datetime: new Date(ms).toISOString() }, moment(ms));

const indented = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

// `fetchBody` resolves to the letter's body, which is shown only when somebody asks for it.
export const letterElement = (letter, fetchBody) => {
  const body = html("pre", { hidden: true, tabindex: "0", "aria-label": `Body of ${letter.id ?? letter.key}` });
  const failure = html("p", { class: "failure", role: "status" });
  const button = html("button", { type: "button", "aria-expanded": "false" }, "Show body");
  button.addEventListener("click", async () => {
    if (body.hidden && !body.textContent) {
      try {
        body.textContent = indented(await fetchBody());
        say(failure, "");
      } catch (error) {
        say(failure, `The body cannot be shown: ${error.message}`);
        return;
      }
    }
    body.hidden = !body.hidden;
    say(button, body.hidden ? "Show body" : "Hide body");
    button.setAttribute("aria-expanded", String(!body.hidden));
  });
  const { type, id, mid, from, attempts, reason, first_at: first, last_at: last, bytes } = letter;
  const facts = [
    ["id", id ?? mid ?? letter.key],
    ["from", from],
    ["attempts", attempts],
    ["first", first && time(first)],
    ["given up", time(last)],
    ["after", first && asSeconds(Math.max(last - first, 0) / 1000)],
    ["size", `${bytes.toLocaleString("en")} bytes`],
  ].filter(([, value]) => value != null);
  return html("li", {},
    html("h3", {}, type ?? "no message of ours"),
    html("p", { class: "reason" }, reason),
    html("dl", {}, ...facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)))),
    button, failure, body);
};
