// Walks the app in Chromium as people would, against the real binary: `npm ci && node walk.mjs`, or with the names of
// some parts. UNDER_TEST names the binary, CHROMIUM the browser.
import { check, equal, tally } from "../clients/jswalk/checks.mjs";
import { budget } from "./budget.mjs";
import { comeback } from "./comeback.mjs";
import { evening } from "./evening.mjs";
import { maintenance } from "./maintenance.mjs";
import { origins } from "./origins.mjs";
import { passkeys } from "./passkeys.mjs";
import { sessions } from "./sessions.mjs";
import { settings } from "./settings.mjs";
import { sight } from "./sight.mjs";
import { Stage } from "./stage.mjs";
import { texts } from "./texts.mjs";

const parts = { evening, comeback, maintenance, origins, passkeys, sessions, settings, sight, texts, budget };
const chosen = process.argv.slice(2);
for (const name of chosen.length > 0 ? chosen : Object.keys(parts)) {
  const begun = Date.now();
  await Stage.with(async (stage) => {
    const isWhole = await check(`${name}, to its end`, () => parts[name](stage));
    if (!isWhole) console.log(`-- what the devices show is in ${await stage.photograph(name)}`);
    await check(`${name}: no error on any console, nothing against the policy, no stranger asked`, () =>
      equal(stage.faults(), []),
    );
  }, parts[name].flags);
  console.log(`-- ${name} in ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}
process.exit(tally());
