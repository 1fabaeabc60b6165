// Takes the pictures in docs/screenshots: every page, on a phone and on a desktop, in light and dark. Needs pngquant,
// which makes them small.
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";
import { PLACES, visit } from "./places.mjs";
import { DESKTOP, PHONE, Stage } from "./stage.mjs";
import { chat, settle } from "./town.mjs";

const run = promisify(execFile);
const FOLDER = new URL("../../docs/screenshots/", import.meta.url).pathname;
/** Enough for the operators' page to have something to draw. */
const CHAT_MS = 90_000;
/** A few messages are given up, so that it has dead letters as well; nothing that the town does before is of that type. */
const FLAGS = ["--chaos", "like.remove=0.5", "--max-receives", "2"];
const LOOKS = {
  desktop: { viewport: DESKTOP },
  phone: { viewport: PHONE, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true },
};

async function take(page, name) {
  await page.mouse.move(0, 0);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const path = `${FOLDER}${name}-${colorScheme}.png`;
    await page.screenshot({ path, caret: "hide" });
    await run("pngquant", ["--force", "--strip", "--speed", "1", "--quality", "60-95", "128", "--output", path, path]);
  }
}

await mkdir(FOLDER, { recursive: true });
await Stage.with(async (stage) => {
  const mira = await stage.signedUp("mira");
  await settle(stage, mira);
  await chat(stage, mira, CHAT_MS);
  const storageState = await mira.context.storageState();
  for (const [size, look] of Object.entries(LOOKS)) {
    const stranger = await stage.device(look);
    await stranger.open("/");
    await stranger.page.getByText("Developers may want").waitFor();
    await take(stranger.page, `sign-in-${size}`);
    const device = await stage.device({ ...look, storageState }, mira.gate);
    for (const place of PLACES) {
      await visit(device, place);
      await place.arrange?.(device.page);
      await take(device.page, `${place.name}-${size}`);
    }
  }
}, FLAGS);
