// The operators' page: asks for new samples every two seconds, and says when there is no answer.

import { asSeconds, byId, clock, say } from "./dom.js";
import { Figures } from "./figures.js";
import { Gate } from "./gate.js";
import { Key } from "./key.js";
import { Letters } from "./letters.js";
import { Plots } from "./plots.js";
import { Queues } from "./queues.js";

const LONGEST_PAUSE = 10_000;

const figures = new Figures();
const key = new Key(() => {
  manage();
  wake();
});
const gate = new Gate(figures, key);
const letters = new Letters(figures, key);
const plots = new Plots(figures);
const queues = new Queues(figures, (queue) => {
  letters.show(queue);
  byId("letters").scrollIntoView({ block: "nearest" });
});

let wake = () => {};
const pause = (ms) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  wake = () => {
    clearTimeout(timer);
    resolve();
  };
});

// Draws what only operators may see and do.
const manage = () => {
  const may = key.draw(figures.key && (figures.queues.length > 0 || figures.gate !== null));
  gate.draw(may);
  letters.draw(may);
};

const draw = () => {
  plots.draw();
  queues.draw();
  manage();
  const latest = figures.latest();
  if (figures.version) say(byId("version"), figures.version);
  if (latest) say(byId("as-of"), `as of ${clock(latest.at)}`);
};

// Whether the server answers. While it does not, the figures are marked as old, and their age grows.
const answers = (well, why = "No answer yet.") => {
  document.documentElement.classList.toggle("stale", !well);
  const since = figures.latest() ? `No answer. All figures are of ${clock(figures.latest().at)}.` : why;
  say(byId("state"), well ? "Live" : since);
  const dead = figures.latest()?.all.dead;
  const away = well ? figures.away.map(({ engine, seconds }) => `${engine} (${asSeconds(seconds)})`) : [];
  byId("away").hidden = away.length === 0;
  say(byId("away"), away.length === 0 ? "" : `No answer from: ${away.join(", ")}. What needs them waits; nothing is lost.`);
  const flag = !well ? "No answer – " : away.length > 0 ? `${figures.away[0].engine} away – ` : dead ? `${dead} dead – ` : "";
  document.title = `${flag}Sound Off operations`;
};

document.addEventListener("visibilitychange", () => wake());

let failures = 0;
let refusal;
for (;;) {
  // A hidden page does not ask: the server keeps the samples that it will need.
  if (!document.hidden) {
    try {
      await figures.refresh(key.get());
      failures = 0;
      refusal = undefined;
    } catch (error) {
      if (error.code === "unpaired") refusal = `Not paired: ${error.message}.`;
      if (error.status === 401) key.set(null, "That is not this deployment’s key.");
      else failures += 1;
    }
    draw();
    answers(failures === 0, refusal);
  }
  await pause(failures === 0 ? figures.every : Math.min(1000 * 2 ** failures, LONGEST_PAUSE));
}
