// Passkeys, by Chromium's own authenticator: added to an account, offered by the field, asked for by the button, and
// what gives a moderator their role.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { becomes, expect, step } from "./waiting.mjs";

/** What the browser keeps of the session says what it may do. */
const role = (page) =>
  page.evaluate(() => {
    const kept = Object.entries(localStorage).find(([key, text]) => key.endsWith("/session") && text.includes("refresh"));
    return JSON.parse(atob(JSON.parse(kept[1]).access.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).role;
  });

export async function passkeys(stage) {
  const nora = await stage.device();
  // An address of numbers has no passkeys.
  nora.gate.origin = nora.gate.origin.replace("127.0.0.1", "localhost");
  const { page } = nora;
  const chip = await nora.context.newCDPSession(page);
  await chip.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true };
  const { authenticatorId } = await chip.send("WebAuthn.addVirtualAuthenticator", { options });
  /** Whether a finger is on the sensor. */
  const touched = (enabled) => chip.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
  await nora.context.addInitScript(() => {
    const get = navigator.credentials.get.bind(navigator.credentials);
    globalThis.asked = [];
    navigator.credentials.get = (options) => (globalThis.asked.push(options.mediation), get(options));
  });
  const button = (name) => page.getByRole("button", { name, exact: true });
  const ways = () => page.getByRole("list", { name: "Ways to sign in" }).getByRole("listitem").count();
  const toSettings = async () => {
    await nora.open("/settings");
    await page.getByRole("list", { name: "Ways to sign in" }).getByRole("listitem").first().waitFor();
  };
  const signOut = async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Email").waitFor();
  };
  /** Signs in by the button. What the field offers is asked for before, without a finger there. */
  const press = async () => {
    await touched(false);
    await signOut();
    await becomes(() => page.evaluate(() => globalThis.asked), ["conditional"]);
    await touched(true);
    await button("Sign in with a passkey").click();
  };

  await step("who would give a phone number reads what is safer", async () => {
    await nora.open("/");
    await button("Use a phone number").click();
    await page.getByText("a passkey the safest").waitFor();
  });
  await step("nora signs up by mail, and adds a passkey", async () => {
    await nora.signUp("nora");
    await toSettings();
    await button("Add a passkey").click();
    await becomes(ways, 2);
    await page.getByText("Chrome on Linux").first().waitFor();
    const { credentials } = await chip.send("WebAuthn.getCredentials", { authenticatorId });
    equal([credentials.length, credentials[0].isResidentCredential, credentials[0].rpId], [1, true, "localhost"]);
    must(!Buffer.from(credentials[0].userHandle, "base64").includes("nora"), "the device names her to the next who holds it");
  });
  await step("the address stays: nothing else would bring her back", async () => {
    equal(await page.getByRole("button", { name: /^Remove Email/ }).isVisible(), false);
    equal(await page.getByRole("button", { name: /^Remove Passkey/ }).isVisible(), true);
  });
  await step("she signs out, and in again by the button, without saying who she is", async () => {
    await press();
    await nora.online();
    equal(await page.evaluate(() => location.hash), "#/");
    await nora.goTo("nora");
  });
  await step("she signs out, and the field itself offers the passkey", async () => {
    // It is so quick that the field may be gone before anybody sees it.
    const signedIn = page.waitForResponse(/\/v1\/auth\/passkey\/verify$/);
    await page.getByRole("button", { name: "Sign out" }).click();
    equal((await signedIn).status(), 200);
    await nora.online();
  });
  await step("a passkey of somebody whom the device does not know opens nothing", async () => {
    await chip.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
    await press();
    await page.getByRole("alert").getByText("You were not signed in by a passkey").waitFor();
    await chip.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
    await page.reload();
    await nora.online();
  });
  await step("a moderator with a passkey has the role; by mail alone they have not", async () => {
    await stage.server.command("users", "role", "nora", "moderator");
    await press();
    await nora.online();
    equal(await role(page), "moderator");
    const elsewhere = await stage.device();
    await elsewhere.signIn("nora");
    equal(await role(elsewhere.page), "user");
  });
  await step("a passkey is the fresh proof that its own removal wants", async () => {
    await toSettings();
    await expect(async () => {
      if (await button("Use a passkey").isVisible()) await button("Use a passkey").click();
      else if (await page.getByRole("button", { name: /^Remove Passkey/ }).isVisible())
        await page.getByRole("button", { name: /^Remove Passkey/ }).click();
      return (await ways()) === 1;
    }, "it is gone", 20_000, 500);
    await button("Add a passkey").click();
    await page.getByRole("alert").getByText("Ask an operator").waitFor();
  });
}
/** A proof is soon old there, so that it is asked for. */
passkeys.flags = ["--proof-s", "4", "--passkey-for", "moderator,admin"];
