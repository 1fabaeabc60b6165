// How large the app is, how soon the first timeline is there, and whether anything jumps.
import { readdir } from "node:fs/promises";
import { check, equal, must } from "../clients/jswalk/checks.mjs";
import { floor } from "./floor.mjs";
import { step } from "./waiting.mjs";
import { PHONE, DESKTOP } from "./stage.mjs";
import { settle } from "./town.mjs";

const MOST_BYTES = 60_000;
/** How many times as long as its floor a first paint may take. */
const MOST_TIMES = 3;
/** What a first load of the app is made of, for its floor. */
const [FILES, BYTES] = [31, 176_000];
/** What is loaded when somebody first goes there. */
const LATER = ["groups.js"];
const MOST_SHIFT = 0.05;
const LOADS = 5;
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
    await check(`the first timeline is painted within ${MOST_TIMES} times its floor, and nothing jumps: ${name}`, () =>
      paints(stage, mira, storage, viewport),
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
  const files = (await readdir(APP)).filter((file) => /\.(js|css)$/.test(file));
  const waited = files.filter((file) => !LATER.includes(file)).map((file) => `/app/${file}`);
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

/** What is noted of one load: above all how long it took from its beginning until the first post was painted. */
async function load(device, go) {
  await go();
  await device.page.waitForFunction(
    () => window.noted.painted !== null && performance.getEntriesByType("navigation")[0].loadEventEnd > 0,
  );
  await device.online();
  await rest(device.page);
  return device.page.evaluate(() => window.noted);
}

/** How long the floor takes, in a browser as fresh as the app's: the first load, and the same again. */
async function floors(stage, under, viewport) {
  const context = await stage.browser.newContext({ viewport });
  await context.addInitScript(observe);
  const page = await context.newPage();
  const painted = async (go) => {
    await go();
    return (await page.waitForFunction(() => window.noted.painted)).jsonValue();
  };
  const both = [await painted(() => page.goto(under.url)), await painted(() => page.reload())];
  await context.close();
  return both;
}

/** Takes some loads, each beside its floor; judges the median of each kind. */
async function paints(stage, mira, storage, viewport) {
  const kinds = ["first ever", "again"].map((name) => ({ name, loads: [], floors: [] }));
  const under = await floor(FILES, BYTES);
  try {
    for (let round = 0; round < LOADS; round++) {
      const device = await fresh(stage, mira, storage, viewport);
      kinds[0].loads.push(await load(device, () => device.open("/")));
      kinds[1].loads.push(await load(device, () => device.page.reload()));
      await device.context.close();
      (await floors(stage, under, viewport)).forEach((took, at) => kinds[at].floors.push(took));
    }
  } finally {
    under.close();
  }
  for (const { name, loads, floors } of kinds) {
    const [painted, lowest] = [median(loads.map((one) => one.painted)), median(floors)];
    const [times, shift] = [painted / lowest, Math.max(...loads.map((one) => one.shift))];
    console.log(
      `   ${name}: painted ${painted.toFixed(0)} ms after navigation began, ${times.toFixed(2)} times the floor of ${lowest.toFixed(0)} ms, shift ${shift.toFixed(3)}`,
    );
    must(shift < MOST_SHIFT, loads.flatMap((one) => one.moved).join("; "));
    must(times < MOST_TIMES, `${name}: ${loads.map((one) => one.painted.toFixed(0)).join(", ")} ms, the floor ${floors.map((took) => took.toFixed(0)).join(", ")} ms`);
  }
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
