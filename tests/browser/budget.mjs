// How large the app is, how soon the first timeline is there, and whether anything jumps.
import { readdir } from "node:fs/promises";
import { check, equal, must } from "../clients/jswalk/checks.mjs";
import { step } from "./waiting.mjs";
import { PHONE, DESKTOP } from "./stage.mjs";
import { settle } from "./town.mjs";

const MOST_BYTES = 60_000;
const MOST_MS = 300;
const MOST_SHIFT = 0.05;
const LOADS = 5;
/** A machine that is busy with something else paints late: the loads are taken at most this often. */
const TRIES = 4;
const APP = new URL("../../web/app/", import.meta.url);

export async function budget(stage) {
  let mira;
  await step("a town settles", async () => {
    mira = await stage.signedUp("mira");
    await settle(stage, mira);
  });
  // Only the sign-in: nothing else of what the app keeps.
  const { cookies, origins } = await mira.context.storageState();
  const storage = {
    cookies,
    origins: origins.map(({ origin, localStorage }) => ({
      origin,
      localStorage: localStorage.filter(({ name }) => !name.startsWith("soundoff.app/")),
    })),
  };
  await check(`the first load transfers under ${MOST_BYTES} bytes of the app`, () => weight(stage, mira, storage));
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

/** What a browser with an empty cache transfers for the app itself: its page and all files of it, without what people have uploaded. */
async function weight(stage, mira, storage) {
  const device = await fresh(stage, mira, storage, DESKTOP);
  await load(device, () => device.open("/"));
  const loaded = await device.page.evaluate(() =>
    [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
      ({ name, encodedBodySize: packed, decodedBodySize: plain }) => ({ path: new URL(name).pathname, packed, plain }),
    ),
  );
  await device.context.close();
  const app = new Map(loaded.filter(({ path }) => /^\/(app\/|client\/|$)/.test(path)).map((file) => [file.path, file]));
  const waited = (await readdir(APP)).filter((file) => /\.(js|css)$/.test(file)).map((file) => `/app/${file}`);
  for (const path of ["/", "/client/soundoff.js", ...waited]) must(app.has(path), `${path} was not loaded`);
  const [bytes, plain] = ["packed", "plain"].map((size) => [...app.values()].reduce((sum, file) => sum + file[size], 0));
  console.log(`   ${bytes} bytes in ${app.size} files, unpacked ${plain}`);
  must(bytes > 0 && bytes < MOST_BYTES, `${bytes} bytes`);
}

/** Notes when the first post was painted, and everything that moves by itself. */
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

/** Waits until the page is at rest: all pictures in sight are there, and two frames have passed. */
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

/** How long one load takes from its beginning: to the load event, and until the first post was painted. */
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

/** Takes some loads; returns what was painted too late, by the median of each kind. */
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
