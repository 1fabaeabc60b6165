// Accessibility for people who see little or nothing: axe on every page, in light and dark, on a phone and on a
// desktop.
import { brief, check, must } from "../clients/jswalk/checks.mjs";
import { step } from "./waiting.mjs";
import { PLACES, visit } from "./places.mjs";
import { axe, DESKTOP, PHONE } from "./stage.mjs";
import { settle } from "./town.mjs";

const GRAVE = ["serious", "critical"];
const LOOKS = [
  [DESKTOP, "light"],
  [DESKTOP, "dark"],
  [PHONE, "light"],
  [PHONE, "dark"],
];

export async function sight(stage) {
  const source = await axe();
  const stranger = await stage.device();
  await check("signing in, at each of its steps", () => signingIn(stranger, source));
  const mira = await stage.signedUp("mira");
  await step("a town settles", () => settle(stage, mira));
  for (const place of PLACES) {
    await check(`${place.name}, in all looks`, async () => {
      await visit(mira, place);
      await place.arrange?.(mira.page);
      await unfold(mira.page);
      await look(mira.page, source);
    });
  }
  await check("what is private, what is asked for, and what a moderator takes down", () => hidden(stage, source));
  await check("home with nothing on it, a question, and what could not be sent", () => rest(stage, mira, source));
}

/** Opens what is closed at the start. */
async function unfold(page) {
  for (const name of ["Comments", "Why am I seeing this?"]) {
    const closed = page.getByRole("article").first().locator(`button[aria-expanded=false][aria-label="${name}"]`);
    if (await closed.isVisible()) await closed.click();
  }
  const edit = page.getByRole("button", { name: "Edit profile" });
  if (await edit.isVisible()) await edit.click();
}

async function signingIn(device, source) {
  const { page } = device;
  await page.goto(device.gate.origin);
  await page.getByText("Developers may want").waitFor();
  await look(page, source);
  await page.getByLabel("Email").fill("sight@example.org");
  await page.getByRole("button", { name: "Send code" }).click();
  await device.takeCode(() => page.getByRole("button", { name: "Open the outbox" }).click());
  await look(page, source);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByLabel("Handle", { exact: true }).waitFor();
  await look(page, source);
}

async function hidden(stage, source) {
  const olga = await stage.signedUp("olga");
  const { page } = olga;
  const main = page.getByRole("main");
  await olga.goTo("mira");
  await main.getByRole("button", { name: "Follow", exact: true }).click();
  await page.getByText("there is no answer yet").waitFor();
  await look(page, source);
  await olga.goTo("nobody_at_all");
  await page.getByText("There is nobody of that handle").waitFor();
  await look(page, source);
  await stage.server.command("users", "role", "olga", "moderator");
  await olga.goTo("jonas");
  await olga.card("Harbour").getByRole("button", { name: "Take down" }).click();
  await page.getByRole("textbox", { name: "Reason" }).fill("Not your picture");
  await look(page, source);
  await page.getByRole("dialog").getByRole("button", { name: "Take down" }).click();
  await olga.card("Harbour").getByRole("button", { name: "Show again" }).waitFor();
  await look(page, source);
}

async function rest(stage, mira, source) {
  const quiet = await stage.signedUp("quiet_one");
  await quiet.page.getByRole("heading", { name: "It is quiet here" }).waitFor();
  await look(quiet.page, source);
  await mira.open("/");
  await mira.card("Opening night").getByRole("button", { name: "Delete" }).click();
  await mira.page.getByRole("dialog").waitFor();
  await look(mira.page, source);
  await mira.page.keyboard.press("Escape");
  mira.gate.set("unplugged");
  await mira.offline();
  await mira.post("Who is bringing chairs?");
  await mira.card("bringing chairs").getByText("Sending…").waitFor();
  await look(mira.page, source);
  mira.gate.set("open");
}

/** Runs axe on the page as it is, in light and dark; fails with the serious findings. */
export async function look(page, source) {
  const found = new Map();
  for (const [viewport, colorScheme] of LOOKS) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    const violations = await page.evaluate(async (source) => {
      if (!window.axe) (0, eval)(source);
      return (await window.axe.run(document, { resultTypes: ["violations"] })).violations;
    }, source);
    for (const { id, impact, nodes } of violations)
      for (const { target, any } of nodes)
        found.set(`${impact} ${id} ${target} ${any[0]?.message ?? ""}`, {
          impact,
          viewport: viewport.width,
          colorScheme,
        });
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: "light" });
  const told = (entries) =>
    entries.map(([what, { viewport, colorScheme }]) => `${what} [${viewport} px, ${colorScheme}]`);
  const [grave, slight] = [true, false].map((isGrave) =>
    told([...found].filter(([, { impact }]) => GRAVE.includes(impact) === isGrave)),
  );
  if (slight.length > 0) console.log(`   slight: ${brief(slight.join("; "))}`);
  must(grave.length === 0, grave.join("; "));
}
