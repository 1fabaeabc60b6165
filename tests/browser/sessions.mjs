// Sign-ins across reloads, tabs and devices.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { becomes, expect, step } from "./waiting.mjs";

export async function sessions(stage) {
  let nora, otto;
  await step("nora and otto sign up", async () => {
    [nora, otto] = await Promise.all([stage.signedUp("nora"), stage.signedUp("otto")]);
    await nora.follow("otto");
    await nora.nav("Home");
  });
  await kept(nora);
  await devices(stage, nora, otto);
  await tabs(nora, otto);
}

const signInPage = (page) => page.getByLabel("Email").waitFor();

async function kept(nora) {
  await step("a reload keeps her signed in, and the page never asks who she is", async () => {
    await nora.page.addInitScript(() => {
      new MutationObserver(() => document.querySelector(".welcome") && console.error("asked to sign in")).observe(
        document,
        { childList: true, subtree: true },
      );
    });
    await nora.page.reload();
    await nora.online();
  });
  await step("an access token that has expired is replaced, with nobody noticing", async () => {
    // What the browser keeps of the session says when its token expires.
    const spoilt = await nora.page.evaluate(() => {
      const key = Object.keys(localStorage).find((key) => localStorage.getItem(key).includes("refresh"));
      const session = JSON.parse(localStorage.getItem(key));
      const expired = JSON.stringify(session, (name, value) => (typeof value === "number" ? 1 : value));
      localStorage.setItem(key, expired);
      return [session, JSON.parse(expired)];
    });
    must(JSON.stringify(spoilt[0]) !== JSON.stringify(spoilt[1]), "nothing in it says when it expires");
    const refreshed = nora.page.waitForResponse(
      (answer) => answer.url().includes("/v1/auth/") && answer.request().method() === "POST",
    );
    await nora.page.reload();
    equal((await refreshed).status(), 200);
    await nora.online();
  });
  await step("a page that was closed and opened again knows her", async () => {
    await nora.page.close();
    nora.page = await nora.context.newPage();
    await nora.open("/");
    await nora.online();
  });
}

async function devices(stage, nora, otto) {
  let phone;
  await step("nora signs in on her phone as well", async () => {
    phone = await stage.device({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await phone.signIn("nora");
  });
  await step("what is said to her comes to both, what she says on one is on the other", async () => {
    await otto.open("/messages/nora");
    await Promise.all([nora.open("/messages/otto"), phone.open("/messages/otto")]);
    await otto.send("Which of your screens is it?");
    for (const device of [nora, phone]) await becomes(device.bubbles, ["Which of your screens is it?"]);
    await phone.send("The small one");
    await becomes(nora.bubbles, ["Which of your screens is it?", "The small one"]);
    await nora.send("And the large one");
    const all = ["Which of your screens is it?", "The small one", "And the large one"];
    for (const device of [nora, phone, otto]) await becomes(device.bubbles, all);
    for (const device of [nora, phone]) await becomes(device.waiting, 0);
  });
  await step("what the phone missed while it was off is there when it is on, once and in order", async () => {
    phone.gate.set("closed");
    await phone.offline();
    const all = [...(await otto.bubbles()), "One", "Two", "Three"];
    for (const said of all.slice(-3)) await otto.send(said);
    await becomes(nora.bubbles, all);
    phone.gate.set("open");
    await becomes(phone.bubbles, all, 40_000);
  });
  await step("a follow and what is posted come to both", async () => {
    await Promise.all([nora.nav("Home"), phone.nav("Home")]);
    await otto.nav("Home");
    await otto.post("Otto was here");
    for (const device of [nora, phone]) await device.card("Otto was here").waitFor();
    await otto.follow("nora");
    for (const device of [nora, phone])
      await device.page.locator("nav a[aria-description='1 new']").getByText("Notifications").waitFor();
  });
  await step("signing out on the phone leaves the other signed in", async () => {
    await phone.nav("Profile");
    await phone.page.getByRole("main").getByRole("button", { name: "Sign out" }).click();
    await signInPage(phone.page);
    await nora.page.reload();
    await nora.online();
  });
}

async function tabs(nora, otto) {
  let second;
  await step("two tabs show one inbox: read in one, read in the other", async () => {
    await nora.nav("Home");
    second = await nora.context.newPage();
    await nora.open("/notifications", second);
    await nora.page.locator("nav a:not([aria-description])").getByText("Notifications").waitFor();
    await otto.open("/messages/nora");
    await otto.send("Two tabs?");
    await nora.page.locator("nav a[aria-description='1 new']").getByText("Messages").waitFor();
    await nora.open("/messages/otto", second);
    await second.locator(".bubble").getByText("Two tabs?").waitFor();
    await nora.page.locator("nav a:not([aria-description])").getByText("Messages").waitFor();
  });
  await step("signing out in one tab closes the other, also when no server can tell it", async () => {
    nora.gate.set("unplugged");
    for (const page of [nora.page, second])
      await page
        .getByRole("status")
        .getByText(/^(Offline|Connecting)/)
        .waitFor();
    await nora.page.getByRole("button", { name: "Sign out" }).click();
    await Promise.all([signInPage(nora.page), signInPage(second)]);
    for (const page of [nora.page, second]) equal(await page.getByText("Two tabs?").count(), 0);
    nora.gate.set("open");
  });
  await step("neither going back nor a link shows anything of hers, and nothing of it is kept", async () => {
    await second.goBack();
    await signInPage(second);
    await nora.open("/messages/otto", second);
    await second.reload();
    await signInPage(second);
    const left = await second.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
    must(!/Two tabs|Otto was here|refresh_token/.test(left), left);
  });
  await step("what she had not sent is asked about before it is lost", async () => {
    otto.gate.set("unplugged");
    await otto.offline();
    await otto.send("Never sent");
    await otto.page.getByRole("button", { name: "Sign out" }).click();
    const dialog = otto.page.getByRole("dialog");
    await dialog.getByText("1 thing you did will be lost").waitFor();
    await dialog.getByRole("button", { name: "Stay" }).click();
    await becomes(async () => (await otto.bubbles()).at(-1), "Never sent");
    otto.gate.set("open");
    await becomes(otto.waiting, 0);
    await expect(async () => (await otto.bubbles()).filter((said) => said === "Never sent").length === 1, "sent once");
  });
}
