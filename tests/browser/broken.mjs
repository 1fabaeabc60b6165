// The app with one fault in it: the text that `BROKEN` names is changed on its way to the browser.
import { readFile } from "node:fs/promises";

const WEB = new URL("../../web/", import.meta.url);

/** `[file, text, instead]`: the file in `web/`, a text that occurs exactly once in it, and its replacement. */
const fault = process.env.BROKEN ? JSON.parse(process.env.BROKEN) : null;

/** Gives a browser the broken file in place of the good one. */
export async function breakIn(context) {
  if (!fault) return;
  const [file, text, instead] = fault;
  const source = await readFile(new URL(file, WEB), "utf8");
  if (source.split(text).length !== 2) throw new Error(`${file} has not exactly one ${JSON.stringify(text)}`);
  const body = source.replace(text, () => instead);
  const isIt = ({ pathname }) => pathname === `/${file}`;
  await context.route(isIt, async (route) => {
    // Whole and unpacked: the broken text takes its place.
    const whole = { "if-none-match": "", "accept-encoding": "identity" };
    const response = await route.fetch({ headers: { ...route.request().headers(), ...whole } });
    await route.fulfill({ response, body });
  });
}
