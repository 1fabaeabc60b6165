// Walks the whole protocol with the `ws` package, as somebody's app would: `npm ci && node walk.mjs`.
// UNDER_TEST names the binary; the default is the workspace's debug build.
import { check, tally } from "./jswalk/checks.mjs";
import { comeback } from "./jswalk/comeback.mjs";
import { doors } from "./jswalk/doors.mjs";
import { evening } from "./jswalk/evening.mjs";

const parts = { evening, comeback, doors };
const chosen = process.argv.slice(2);
for (const name of chosen.length > 0 ? chosen : Object.keys(parts)) {
  await check(`${name}, to its end`, parts[name]);
}
process.exit(tally());
