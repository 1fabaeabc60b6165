// Waits for something with a limit, and says what was there instead.
import { brief, check } from "../clients/jswalk/checks.mjs";

const PATIENCE_MS = 20_000;
const PAUSE_MS = 25;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `found()` is true, asking again after `every` milliseconds. */
export async function expect(found, what, patience = PATIENCE_MS, every = PAUSE_MS) {
  for (const end = Date.now() + patience; ; await pause(every)) {
    if (await found()) return;
    if (Date.now() > end) throw new Error(`not in ${patience / 1000} s: ${what}`);
  }
}

/** Waits until `found()` is `wanted`. */
export async function becomes(found, wanted, patience = PATIENCE_MS) {
  let last;
  await expect(async () => JSON.stringify((last = await found())) === JSON.stringify(wanted), "", patience).catch(
    (error) => {
      throw new Error(`${error.message}found ${brief(last)}, expected ${brief(wanted)}`, { cause: error });
    },
  );
}

/** One step of a story: when it fails, the next steps mean nothing and would only wait. */
export async function step(name, body) {
  if (!(await check(name, body))) throw new Error(`it broke off at "${name}"`);
}
