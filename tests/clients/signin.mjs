// Signs users in with identity providers, a mail server and a carrier of texts that others wrote: `npm ci && node
// signin.mjs`. UNDER_TEST names the binary; without it the workspace's debug build is taken.
import { check, tally } from "./jswalk/checks.mjs";
import { carriers } from "./signin/carriers.mjs";
import { foreign } from "./signin/foreign.mjs";
import { linking } from "./signin/linking.mjs";
import { matrix } from "./signin/matrix.mjs";
import { OpenId } from "./signin/openid.mjs";
import { passkeys } from "./signin/passkeys.mjs";
import { providers } from "./signin/providers.mjs";
import { refreshing } from "./signin/refreshing.mjs";
import { social } from "./signin/social.mjs";

const parts = { social, matrix, providers, foreign, carriers, linking, refreshing, passkeys };
const chosen = process.argv.slice(2);
const openid = await OpenId.open();
for (const name of chosen.length > 0 ? chosen : Object.keys(parts)) {
  await check(`${name}, to its end`, () => parts[name]({ openid }));
}
await openid.close();
process.exit(tally());
