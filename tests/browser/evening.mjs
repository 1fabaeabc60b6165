// Two people spend an evening: everything that the app does, as both see it.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { becomes, expect, step } from "./waiting.mjs";
import { picture } from "./picture.mjs";

export async function evening(stage) {
  let dora, emil;
  await step("dora signs up by mail, with the code from the outbox", async () => {
    dora = await stage.signedUp("dora");
    await dora.page.getByRole("heading", { name: "It is quiet here" }).waitFor();
  });
  await step("emil signs up with nothing but a keyboard", async () => {
    emil = await stage.device();
    await keyboard(emil, "emil");
  });
  await following(dora, emil);
  await live(dora, emil);
  await pictures(dora, emil);
  await talking(dora, emil);
  await notifying(dora, emil);
  await gettingAround(dora, emil);
  await goodbye(dora, emil);
}

async function keyboard(device, handle) {
  const { page } = device;
  const { keyboard } = page;
  await page.goto(device.gate.origin);
  await tabTo(page.getByLabel("Email"));
  await keyboard.type(`${handle}@example.org`);
  await keyboard.press("Enter");
  await page.getByLabel("Code").waitFor();
  await device.takeCode(async () => {
    await tabTo(page.getByRole("button", { name: "Open the outbox" }));
    await keyboard.press("Enter");
  });
  must(await isFocused(page.getByLabel("Code")), "the code's field has no focus");
  await keyboard.press("Enter");
  await page.getByLabel("Handle", { exact: true }).waitFor();
  await keyboard.type(handle.toUpperCase());
  await keyboard.press("Enter");
  device.handle = handle;
  await device.online();
}

export async function tabTo(target) {
  for (let presses = 0; !(await isFocused(target)); presses++) {
    must(presses < 20, `the Tab key does not lead to ${target}`);
    await target.page().keyboard.press("Tab");
  }
}

export const isFocused = (target) => target.evaluate((element) => element === document.activeElement);

async function following(dora, emil) {
  await step("emil finds dora by her handle and follows her", async () => {
    await emil.follow("dora");
    await becomes(
      () =>
        emil.page
          .getByRole("link", { name: /follower/ })
          .first()
          .textContent(),
      "1 follower",
    );
  });
  await step("dora hears of it at once", () =>
    dora.page.locator("nav a[aria-description='1 new']").getByText("Notifications").waitFor(),
  );
}

async function live(dora, emil) {
  await step("what dora posts is there at once, and comes in at emil's by itself", async () => {
    await emil.nav("Home");
    await dora.post("The ferry is late again. Bring a book?");
    await dora.card("The ferry").waitFor();
    await emil.card("The ferry").waitFor();
    equal(await emil.posts(), ["The ferry is late again. Bring a book?"]);
    await becomes(dora.waiting, 0);
    equal(await dora.posts(), ["The ferry is late again. Bring a book?"]);
  });
  await step("a reader further down sees that there are new posts, and nothing moves", async () => {
    for (const line of ["One", "Two", "Three", "Four", "Five"]) await dora.post(`${line} gull on the pier`);
    await emil.card("Five gull").waitFor();
    await emil.page.mouse.wheel(0, 500);
    await expect(() => emil.page.evaluate(() => scrollY > 200), "scrolled");
    const before = await emil.card("Two gull").boundingBox();
    await dora.post("A whole colony on the pier");
    const news = emil.page.getByRole("button", { name: "1 new post" });
    await news.waitFor();
    equal(await emil.card("Two gull").boundingBox(), before);
    await news.click();
    await emil.card("A whole colony").waitFor();
    equal((await emil.posts()).slice(0, 2), ["A whole colony on the pier", "Five gull on the pier"]);
  });
  await step("emil reads why he sees it", async () => {
    const card = emil.card("The ferry");
    await card.getByRole("button", { name: "Why am I seeing this?" }).click();
    await card.locator(".why-box").getByText("@dora").first().waitFor();
  });
  await step("emil likes it, and dora sees that", async () => {
    const like = emil.card("The ferry").getByRole("button", { name: "Like" });
    await like.click();
    await expect(async () => (await like.getAttribute("aria-pressed")) === "true", "pressed");
    await becomes(() => dora.card("The ferry").locator(".like .count").textContent(), "1 like");
    await becomes(() => emil.card("The ferry").locator(".like .count").textContent(), "1 like");
  });
  await step("a count that no event reports is right when he comes back to the post", async () => {
    await emil.nav("Messages");
    await dora.card("Three gull").getByRole("button", { name: "Like" }).click();
    await becomes(dora.waiting, 0);
    await becomes(() => dora.card("Three gull").locator(".like .count").textContent(), "1 like");
    await emil.nav("Home");
    await becomes(() => emil.card("Three gull").locator(".like .count").textContent(), "1 like");
  });
  await step("emil comments, and dora reads it where she has the comments open", async () => {
    await dora.card("The ferry").getByRole("button", { name: "Comments" }).click();
    await dora.card("The ferry").getByText("No comments yet.").waitFor();
    await emil.card("The ferry").getByRole("button", { name: "Comments" }).click();
    await emil.comment(emil.card("The ferry"), "Two books, it is Sunday.");
    await becomes(() => dora.remarks(dora.card("The ferry")), ["Two books, it is Sunday."]);
    await becomes(() => dora.card("The ferry").locator(".comment .count").textContent(), "1 comment");
    await becomes(() => emil.remarks(emil.card("The ferry")), ["Two books, it is Sunday."]);
  });
}

async function pictures(dora, emil) {
  await step("a picture goes up, is looked at, and is seen by emil", async () => {
    await dora.page
      .locator("input[type=file]")
      .setInputFiles({ name: "harbour.png", mimeType: "image/png", buffer: picture("harbour") });
    await dora.post("Harbour, seven in the morning");
    await emil.nav("Home");
    await emil.card("Harbour").getByRole("img", { name: "Picture by @dora" }).waitFor();
    await expect(
      () =>
        emil
          .card("Harbour")
          .getByRole("img", { name: "Picture by @dora" })
          .evaluate((image) => image.naturalWidth > 0),
      "a picture",
    );
  });
  await step("a picture opens and closes, and the focus goes back", async () => {
    const frame = emil.card("Harbour").getByRole("button", { name: "Picture by @dora" });
    await frame.press("Enter");
    await emil.page.getByRole("dialog").waitFor();
    await emil.page.keyboard.press("Escape");
    await emil.page.getByRole("dialog").waitFor({ state: "detached" });
    must(await isFocused(frame), "the focus is lost");
  });
}

async function talking(dora, emil) {
  await step("emil writes to dora: she sees him type, and then what he says", async () => {
    await dora.open("/messages/emil");
    await emil.goTo("dora");
    await emil.page.getByRole("button", { name: "Message" }).click();
    await emil.page.getByRole("textbox", { name: "Message" }).pressSequentially("Are you aboard?");
    await dora.page.getByRole("status").getByText("@emil is typing…").waitFor();
    await emil.page.keyboard.press("Enter");
    await becomes(dora.bubbles, ["Are you aboard?"]);
    equal(await dora.page.getByText("@emil is typing…").count(), 0);
    await dora.page.getByText("Online", { exact: true }).nth(1).waitFor();
  });
  await step("they answer each other, in one order for both", async () => {
    await dora.send("Row nine, by the window");
    await becomes(emil.bubbles, ["Are you aboard?", "Row nine, by the window"]);
    for (const said of ["On my way", "Is there coffee", "I see you"]) await emil.send(said);
    const all = ["Are you aboard?", "Row nine, by the window", "On my way", "Is there coffee", "I see you"];
    await becomes(dora.bubbles, all);
    await becomes(emil.waiting, 0);
    equal(await emil.bubbles(), all);
  });
  await step("a message that is not being read is counted, in the title too, until it is", async () => {
    await dora.nav("Home");
    await emil.send("Look left");
    await dora.page.locator("nav a[aria-description='1 new']").getByText("Messages").waitFor();
    await expect(async () => /^\(\d+\) Home/.test(await dora.page.title()), "a title that counts");
    await dora.nav("Messages");
    await dora.page.locator("[data-new]").getByText("Look left").click();
    await dora.page.locator("nav a:not([aria-description])").getByText("Messages").waitFor();
  });
}

async function notifying(dora, emil) {
  await step("dora's notifications have all of it, each once, the newest first", async () => {
    await dora.nav("Notifications");
    const told = async () =>
      (await dora.page.locator("main li p:first-child").allTextContents()).map((line) =>
        line.replace(/ (now|\d+ min)$/, ""),
      );
    await becomes(told, ["@emil commented on your post", "@emil likes your post", "@emil follows you"]);
    await dora.page.locator("nav a:not([aria-description])").getByText("Notifications").waitFor();
    await dora.page.getByRole("link", { name: "your post" }).first().click();
    await dora.card("The ferry").getByText("Two books, it is Sunday.").waitFor();
  });
  await step("a comment on that page comes in live", async () => {
    await emil.nav("Home");
    await emil.comment(emil.card("The ferry"), "Three.");
    await becomes(() => dora.remarks(dora.card("The ferry")), ["Two books, it is Sunday.", "Three."]);
  });
}

async function gettingAround(dora, emil) {
  const { page } = emil;
  await step("back goes back, to where the reader was", async () => {
    await emil.card("One gull").scrollIntoViewIfNeeded();
    await page.mouse.wheel(0, 200);
    const at = await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => done(scrollY))));
    must(at > 0, "the page is too short to tell");
    const link = emil.card("One gull").getByRole("link").nth(1);
    await link.evaluate((link) => link.click());
    await page.getByRole("heading", { name: "Post" }).waitFor();
    await page.goBack();
    await emil.card("A whole colony").waitFor();
    equal(Math.abs((await page.evaluate(() => scrollY)) - at) < 2, true);
    await page.goForward();
    await page.getByRole("heading", { name: "Post" }).waitFor();
  });
  await step("a link from elsewhere opens what it names", async () => {
    const there = await emil.context.newPage();
    await there.goto(page.url());
    await there.getByRole("article").getByText("One gull").waitFor();
    equal(await there.title(), "Post · Sound Off");
    await there.close();
  });
  await step("an address that nobody knows leads home, and a handle that nobody has says so", async () => {
    await emil.open("/nowhere/at/all");
    await emil.card("A whole colony").waitFor();
    await emil.open("/u/nobody_at_all");
    await page.getByText("There is nobody of that handle").waitFor();
    await emil.nav("Home");
  });
}

async function goodbye(dora, emil) {
  await step("what dora deletes goes from emil's page while he looks at it", async () => {
    await dora.nav("Home");
    await dora.card("Two gull").getByRole("button", { name: "Delete" }).click();
    await dora.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await dora.card("Two gull").waitFor({ state: "detached" });
    await emil.card("Two gull").waitFor({ state: "detached" });
  });
  await step("dora blocks emil: neither sees the other any more", async () => {
    await dora.goTo("emil");
    await dora.page.getByRole("button", { name: "Block" }).click();
    await dora.page.getByText("neither of you sees the other").waitFor();
    await emil.page.reload();
    await emil.page.getByRole("heading", { name: "It is quiet here" }).waitFor();
    await emil.goTo("dora");
    await emil.page.getByText("There is nobody of that handle").waitFor();
  });
  await step("and lets him in again", async () => {
    await dora.page.getByRole("button", { name: "Unblock" }).click();
    await dora.page.getByRole("button", { name: "Follow", exact: true }).waitFor();
    await emil.page.reload();
    await emil.card("A whole colony").waitFor();
  });
}
