// Walks the app as people would, against the real binary: `npm ci && node walk.mjs`, or with the names of some parts.
// UNDER_TEST names the binary, CHROMIUM the browser. `--in firefox` walks in the Firefox that FIREFOX names.
import { parseArgs } from "node:util";
import { check, equal, tally } from "../clients/jswalk/checks.mjs";
import { budget } from "./budget.mjs";
import { comeback } from "./comeback.mjs";
import { evening } from "./evening.mjs";
import { groups } from "./groups.mjs";
import { lan } from "./lan.mjs";
import { maintenance } from "./maintenance.mjs";
import { origins } from "./origins.mjs";
import { passkeys } from "./passkeys.mjs";
import { privacy } from "./privacy.mjs";
import { providers } from "./providers.mjs";
import { sessions } from "./sessions.mjs";
import { settings } from "./settings.mjs";
import { sight } from "./sight.mjs";
import { Stage } from "./stage.mjs";
import { texts } from "./texts.mjs";

const parts = { evening, comeback, groups, maintenance, origins, lan, passkeys, privacy, providers, sessions, settings, sight, texts, budget };
/** Parts that need what Firefox does not have, or what nobody can ask of it by WebDriver BiDi. */
const NOT_IN_FIREFOX = {
  passkeys: "its authenticator is Chromium's",
  sight: "axe is run in dark and light, and BiDi cannot choose them in this Firefox",
  budget: "Firefox does not tell what has moved (layout-shift)",
};

const { values, positionals } = parseArgs({ options: { in: { type: "string", default: "chromium" } }, allowPositionals: true });
const skipped = values.in === "firefox" ? NOT_IN_FIREFOX : {};
const chosen = positionals.length > 0 ? positionals : Object.keys(parts);
for (const name of chosen) {
  if (skipped[name]) {
    console.log(`!! SKIPPED: ${name} in ${values.in}: ${skipped[name]}`);
    continue;
  }
  const begun = Date.now();
  const walk = async (stage) => {
    const isWhole = await check(`${name}, to its end`, () => parts[name](stage));
    if (!isWhole) console.log(`-- what the devices show is in ${await stage.photograph(name)}`);
    await check(`${name}: no error on any console, nothing against the policy, no stranger asked`, () =>
      equal(stage.faults(), []),
    );
  };
  await Stage.with(walk, parts[name].flags, values.in);
  console.log(`-- ${name} in ${((Date.now() - begun) / 1000).toFixed(1)} s`);
}
process.exit(tally());
