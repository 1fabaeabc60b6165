// Texts as people type and paste them: emoji, what is invisible, what runs from right to left, and pictures without
// words.
import { equal } from "../clients/jswalk/checks.mjs";
import { picture } from "./picture.mjs";
import { becomes, step } from "./waiting.mjs";

export async function texts(stage) {
  const nina = await stage.signedUp("nina");
  const { page } = nina;
  const field = page.getByLabel("What's happening?");
  const left = page.locator("form.composer .count");
  const post = page.getByRole("button", { name: "Post", exact: true });
  const paste = async (text) => (await field.focus(), page.keyboard.insertText(text));
  await step("a post has two thousand characters, whatever they are, and none is cut in two", async () => {
    await paste("😀".repeat(1990));
    equal(await left.textContent(), "10");
    await paste("x".repeat(9) + "😀y");
    equal(await left.textContent(), "0");
    equal((await field.inputValue()).slice(-3), "x😀");
    await post.click();
    await becomes(async () => [...(await nina.posts()).at(0)].length, 2000);
  });
  await step("what says nothing is not posted", async () => {
    for (const nothing of ["\u200b\u200b", "\u3164", "\u2800 \n"]) {
      await field.fill(nothing);
      equal(await post.getAttribute("aria-disabled"), "true", nothing);
      await field.press("Control+Enter");
    }
    equal((await nina.posts()).length, 1);
  });
  await step("a picture needs no words", async () => {
    const image = { name: "harbour.png", mimeType: "image/png", buffer: picture("harbour") };
    await page.locator('input[type="file"]').setInputFiles(image);
    await post.click();
    await becomes(() => nina.posts(), ["", "😀".repeat(1990) + "x".repeat(9) + "😀"]);
    await page.locator("article").first().locator("img[loading]").waitFor();
  });
  await step("a name cannot turn what stands behind it", async () => {
    await nina.goTo("nina");
    await page.getByRole("button", { name: "Edit profile" }).click();
    await page.getByLabel("Name").fill("\u202egnp.anin");
    await page.getByRole("button", { name: "Save" }).click();
    await becomes(() => page.locator("h1 bdi").textContent(), "gnp.anin");
  });
  await step("a handle that means something to JavaScript is a person like any other", async () => {
    // Nobody signs up with them any longer; who has one keeps it.
    const handles = ["__proto__", "constructor"];
    const tokens = await stage.server.tokens(handles);
    for (const handle of handles) await page.evaluate(greet, { token: tokens[handle], text: `I am ${handle}` });
    await nina.nav("Messages");
    const lines = () => page.getByRole("list", { name: "Conversations" }).getByRole("listitem");
    await becomes(() => lines().locator(".quote").allTextContents(), ["I am constructor", "I am __proto__"]);
    await page.reload();
    await becomes(() => lines().locator(".quote").allTextContents(), ["I am constructor", "I am __proto__"]);
    equal(await page.locator("nav a[aria-description='2 new']").getByText("Messages").count(), 1);
    await lines().last().getByRole("link").click();
    await page.locator(".bubble", { hasText: "I am __proto__" }).waitFor();
    await page.locator("nav a[aria-description='1 new']").getByText("Messages").waitFor();
  });
}

/** Runs in the page: somebody else writes to nina. */
async function greet({ token, text }) {
  const { SoundOff, memoryStore } = await import("/client/soundoff.js");
  const client = new SoundOff({ token: async () => token, store: memoryStore() });
  client.start();
  await client.call("dm.send", { to: "nina", text });
  client.stop();
}
