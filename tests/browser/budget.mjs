// What the app weighs, how soon the first timeline is there, and whether anything jumps.
import { readdir } from "node:fs/promises";
import { check, equal, must } from "../clients/jswalk/checks.mjs";
import { step } from "./waiting.mjs";
import { PHONE, DESKTOP } from "./stage.mjs";
import { settle } from "./town.mjs";

const MOST_BYTES = 100_000;
const MOST_MS = 300;
const MOST_SHIFT = 0.05;
const LOADS = 5;
/** A machine that is busy with something else paints late: as often the loads are taken again. */
const TRIES = 4;
const APP = new URL("../../web/app/", import.meta.url);

export async function budget(stage) {
  let mira;
  await step("a town settles", async () => {
    mira = await stage.signedUp("mira");
    await settle(stage, mira);
  });
  await check(`all of the app's files, as they are served, are under ${MOST_BYTES} bytes`, () => weight(mira));
  // Only who is signed in: nothing else of what the app keeps.
  const { cookies, origins } = await mira.context.storageState();
  const storage = {
    cookies,
    origins: origins.map(({ origin, localStorage }) => ({
      origin,
      localStorage: localStorage.filter(({ name }) => !name.startsWith("soundoff.app/")),
    })),
  };
  for (const [name, viewport] of [
    ["desktop", DESKTOP],
    ["phone", PHONE],
  ]) {
    await check(`the first timeline is painted within ${MOST_MS} ms, and nothing jumps: ${name}`, () =>
      loads(stage, mira, storage, viewport),
    );
    await check(`what comes in live makes nothing jump: ${name}`, () => insert(stage, mira, storage, viewport));
  }
}

async function weight(mira) {
  const files = (await readdir(APP)).filter((file) => file !== "index.html").map((file) => `/app/${file}`);
  let bytes = 0;
  for (const path of ["/", "/client/soundoff.js", ...files]) {
    const answer = await fetch(mira.gate.origin + path);
    must(answer.ok, `${path}: ${answer.status}`);
    bytes += (await answer.arrayBuffer()).byteLength;
  }
  console.log(`   ${bytes} bytes in ${files.length + 2} files`);
  must(bytes < MOST_BYTES, `${bytes} bytes`);
}

/** Notes when the first post was painted, and all that moves without being asked to. */
function observe() {
  const noted = (window.noted = { painted: null, shift: 0, moved: [] });
  const seen = new MutationObserver(() => {
    if (!document.querySelector("main article")) return;
    seen.disconnect();
    // After the frame that shows it.
    requestAnimationFrame(() => setTimeout(() => (noted.painted = performance.now())));
  });
  seen.observe(document, { childList: true, subtree: true });
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (hadRecentInput) continue;
      noted.shift += value;
      noted.moved.push(
        ...sources.map(
          ({ node, previousRect: a, currentRect: b }) =>
            `${node?.nodeName}.${node?.className} ${a.y}+${a.height}→${b.y}+${b.height}`,
        ),
      );
    }
  }).observe({ type: "layout-shift", buffered: true });
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Waits until the page has come to rest: all pictures in sight are there, and two frames have passed. */
async function rest(page) {
  await page.waitForFunction(() =>
    [...document.images].every((image) => image.getBoundingClientRect().top > innerHeight || image.complete),
  );
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))),
  );
}

async function fresh(stage, mira, storageState, viewport) {
  const device = await stage.device({ viewport, storageState, reducedMotion: "no-preference" }, mira.gate);
  await device.context.addInitScript(observe);
  return device;
}

/** What one load takes, from when it began: until the load event, and until the first post was painted. */
async function load(device, go) {
  await go();
  await device.page.waitForFunction(
    () => window.noted.painted !== null && performance.getEntriesByType("navigation")[0].loadEventEnd > 0,
  );
  await device.online();
  await rest(device.page);
  return device.page.evaluate(() => ({
    ...window.noted,
    loaded: performance.getEntriesByType("navigation")[0].loadEventEnd,
  }));
}

async function loads(stage, mira, storage, viewport) {
  for (let tries = 1; ; tries++) {
    const late = await paints(stage, mira, storage, viewport);
    if (late.length === 0) return;
    must(tries < TRIES, late.join("; "));
  }
}

/** Takes some loads; answers what was painted too late, the median of each kind. */
async function paints(stage, mira, storage, viewport) {
  const [cold, warm] = [[], []];
  for (let round = 0; round < LOADS; round++) {
    const device = await fresh(stage, mira, storage, viewport);
    cold.push(await load(device, () => device.open("/")));
    warm.push(await load(device, () => device.page.reload()));
    await device.context.close();
  }
  const late = [];
  for (const [name, all] of [
    ["first ever", cold],
    ["again", warm],
  ]) {
    const [painted, loaded] = ["painted", "loaded"].map((what) => median(all.map((one) => one[what])));
    const shift = Math.max(...all.map((one) => one.shift));
    console.log(
      `   ${name}: painted ${painted.toFixed(0)} ms after navigation began (load event at ${loaded.toFixed(0)} ms), shift ${shift.toFixed(3)}`,
    );
    if (painted >= MOST_MS)
      late.push(`${name}: painted after ${all.map((one) => one.painted.toFixed(0)).join(", ")} ms`);
    must(shift < MOST_SHIFT, all.flatMap((one) => one.moved).join("; "));
  }
  return late;
}

async function insert(stage, mira, storage, viewport) {
  const device = await fresh(stage, mira, storage, viewport);
  await load(device, () => device.open("/"));
  const { jonas: token } = await stage.server.tokens(["jonas"]);
  await device.page.evaluate(() => Object.assign(window.noted, { shift: 0, moved: [] }));
  await mira.page.evaluate(async (token) => {
    const { SoundOff, memoryStore } = await import("/client/soundoff.js");
    const jonas = new SoundOff({ token: async () => token, store: memoryStore() });
    jonas.start();
    await jonas.call("post.create", { text: `Low tide at ${performance.now()}` });
    await jonas.stop();
  }, token);
  await device.card("Low tide").first().waitFor();
  await device.page.evaluate(() => Promise.all(document.getAnimations().map((one) => one.finished)));
  await rest(device.page);
  const { shift, moved } = await device.page.evaluate(() => window.noted);
  console.log(`   shift ${shift.toFixed(3)}`);
  equal(await device.card("Low tide").first().isVisible(), true);
  must(shift < MOST_SHIFT, `${shift}: ${moved.join("; ")}`);
  await device.context.close();
}
