// How an account is signed in to: its owner sees where, throws out whom they do not know, and changes the ways.
import { becomes, expect, step } from "./waiting.mjs";

export async function settings(stage) {
  let nora, thief;
  await step("a stranger signs in as nora", async () => {
    nora = await stage.signedUp("nora");
    thief = await stage.device();
    await thief.signIn("nora");
  });
  const { page } = nora;
  const listed = (name) => () => page.getByRole("list", { name }).getByRole("listitem").count();
  const [ways, sessions] = [listed("Ways to sign in"), listed("Sessions")];

  await step("she sees where she is signed in", async () => {
    await nora.nav("Profile");
    await page.getByRole("main").getByRole("button", { name: "Settings" }).click();
    await becomes(sessions, 2);
    await becomes(ways, 1);
    await page.getByText("this one").waitFor();
  });
  await step("she proves that it is her, and ends the stranger's session", async () => {
    await page.getByRole("button", { name: "End all others" }).click();
    await page.getByText("You signed in a while ago").waitFor();
    await becomesProven(nora, async () => (await sessions()) === 1);
    await thief.page.getByLabel("Email").waitFor();
  });
  await step("she adds a phone number, and takes it away again", async () => {
    await page.getByRole("button", { name: "Add phone" }).click();
    await page.getByRole("textbox", { name: "Phone" }).fill("+44 7700 900123");
    await page.getByRole("button", { name: "Send code" }).click();
    await nora.takeCode(() => page.getByRole("button", { name: "Open the outbox" }).click());
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await becomesProven(nora, async () => (await ways()) === 2);
    await page.getByRole("button", { name: "Remove Phone +44…23" }).click();
    await becomesProven(nora, async () => (await ways()) === 1);
  });
}
/** A proof is soon old there, so that it is asked for. A second code for an address comes after five seconds. */
settings.flags = ["--proof-s", "4"];

/** Waits until something is done, and proves who the user is when the page asks for it. */
async function becomesProven(device, done) {
  const { page } = device;
  const choice = page.getByRole("button", { name: "Send a code to n…@example.org" });
  const go = page.getByRole("button", { name: "Continue" });
  await expect(async () => {
    if (await done()) return true;
    // The outbox may still show the code before; and a second one comes after some seconds only.
    if (await go.isVisible()) {
      await device.takeCode(() => page.getByRole("button", { name: "Open the outbox" }).last().click());
      await go.click();
    } else if (await choice.isVisible()) {
      await choice.click();
    }
    return false;
  }, "what wants a proof is done", 30_000, 250);
}
