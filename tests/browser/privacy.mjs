// Who sees what: a private account and who asks to follow it, close friends, what others may do, and what a moderator
// takes down.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { isFocused, tabTo } from "./evening.mjs";
import { DESKTOP, PHONE } from "./stage.mjs";
import { picture } from "./picture.mjs";
import { becomes, expect, step } from "./waiting.mjs";

const CLOSED = "This account is private. Only followers see its posts.";
const GONE = "This post is gone, or not for you to see.";

export async function privacy(stage) {
  let ann, ben, cleo;
  await step("ann posts, cleo follows her, and ben looks at her page", async () => {
    [ann, ben, cleo] = await Promise.all(["ann", "ben", "cleo"].map((handle) => stage.signedUp(handle)));
    await cleo.follow("ann");
    await ann.post("The pier at night");
    await becomes(ann.waiting, 0);
    await ben.goTo("ann");
    await ben.card("The pier").waitFor();
  });
  await closing(ann, ben, cleo);
  await asking(ann, ben);
  await friends(ann, ben, cleo);
  await leave(ann, ben, cleo);
  await parting(ben);
  await opening(ann, cleo);
  await moderating(stage, ann, ben);
  await blocking(ann, ben);
}

export const press = (device, name) => device.page.getByRole("main").getByRole("button", { name, exact: true }).click();
export const button = ({ page }, name) => page.getByRole("main").getByRole("button", { name, exact: true });
export const sure = ({ page }, name) => page.getByRole("dialog").getByRole("button", { name, exact: true }).click();

/** Nothing is wider than a phone. */
export async function fits({ page }) {
  await page.setViewportSize(PHONE);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.setViewportSize(DESKTOP);
  must(wide <= 0, `${wide} px wider than a phone at ${page.url()}`);
}

async function toPrivacy(device) {
  await device.nav("Profile");
  await press(device, "Settings");
  await device.page.getByRole("link", { name: "Privacy" }).click();
  await device.page.getByRole("heading", { name: "Privacy" }).waitFor();
  await device.page.locator(".privacy:not([inert])").waitFor();
}

async function saved({ page }) {
  await page.getByRole("status").getByText("Saved.").waitFor();
}

async function closing(ann, ben, cleo) {
  await step("ann makes her account private, with nothing but a keyboard", async () => {
    await toPrivacy(ann);
    await fits(ann);
    const lock = ann.page.getByRole("switch", { name: "Private account" });
    equal(await lock.isChecked(), false);
    // Firefox gives keys to the page in front only.
    await ann.page.bringToFront();
    await tabTo(lock);
    await ann.page.keyboard.press("Space");
    await saved(ann);
    equal(await lock.isChecked(), true);
    await ann.nav("Profile");
    await ann.page.getByText("Private account").waitFor();
  });
  await step("to ben, a stranger, her page says so and shows nothing, not even what he saw before", async () => {
    await ben.page.reload();
    await ben.page.getByText(CLOSED).waitFor();
    equal(await ben.posts(), []);
    equal(await ben.page.getByRole("link", { name: /follower/ }).count(), 0);
    await ben.open("/u/ann/followers");
    await ben.page.getByText("This account is private: only who follows it").waitFor();
    await fits(ben);
  });
  await step("cleo, who follows her, sees all that she saw", async () => {
    await cleo.page.reload();
    await cleo.card("The pier").waitFor();
    await button(cleo, "Following").waitFor();
  });
}

async function asking(ann, ben) {
  await step("ben asks to follow her without a connection, takes it back, and asks again", async () => {
    await ben.goTo("ann");
    await ben.page.getByText(CLOSED).waitFor();
    ben.gate.set("unplugged");
    await ben.offline();
    await press(ben, "Follow");
    await button(ben, "Requested").waitFor();
    ben.gate.set("open");
    await ben.online();
    await ben.page.getByText("there is no answer yet").waitFor();
    await fits(ben);
    await press(ben, "Requested");
    await button(ben, "Follow").waitFor();
    await press(ben, "Follow");
    await button(ben, "Requested").waitFor();
    await ben.page.reload();
    await button(ben, "Requested").waitFor();
  });
  await step("ann hears of it, and finds it where people look", async () => {
    const { page } = ann;
    await page.locator("nav a[aria-description='1 new'], nav a[aria-description='2 new']").getByText("Notifications").waitFor();
    await page.getByRole("link", { name: "Requests to follow you: 1" }).waitFor();
    await ann.nav("Notifications");
    await page.getByRole("listitem").getByText("@ben asks to follow you").waitFor();
    await page.getByRole("main").getByRole("link", { name: "Requests to follow you: 1" }).click();
    await page.getByRole("heading", { name: "Requests" }).waitFor();
    await fits(ann);
  });
  await step("she accepts by keyboard, and her posts come to his page by themselves", async () => {
    const accept = ann.page.getByRole("button", { name: "Accept @ben" });
    await ann.page.bringToFront();
    await tabTo(accept);
    await ann.page.keyboard.press("Enter");
    await accept.waitFor({ state: "detached" });
    must(await isFocused(ann.page.getByRole("list", { name: "Requests" })), "who uses the keyboard is lost");
    await ben.card("The pier").waitFor();
    await button(ben, "Following").waitFor();
    await ben.nav("Notifications");
    await ben.page.getByText("@ann lets you follow them").waitFor();
    await ben.nav("Home");
    await ben.card("The pier").waitFor();
  });
}

async function friends(ann, ben, cleo) {
  await step("ann names cleo as close; a handle that nobody has is refused in words", async () => {
    await toPrivacy(ann);
    const { page } = ann;
    const list = () => page.getByRole("list", { name: "Close friends" }).getByRole("listitem").allTextContents();
    for (const handle of ["@cleo", "nobody_at_all"]) {
      await page.getByRole("textbox", { name: "Handle", exact: true }).fill(handle);
      await press(ann, "Add");
    }
    await page.getByRole("alert").getByText("@nobody_at_all").waitFor();
    await page.getByRole("alert").getByText("There is no such user.").waitFor();
    await page.getByRole("alert").getByRole("button", { name: "Discard" }).click();
    await becomes(async () => (await list()).map((line) => line.includes("@cleo")), [true]);
  });
  await step("what she posts for close friends says so; cleo sees it and ben does not", async () => {
    await ann.nav("Home");
    await cleo.nav("Home");
    await ann.page.getByRole("combobox", { name: "Who sees it" }).selectOption("Close friends");
    await fits(ann);
    const image = { name: "harbour.png", mimeType: "image/png", buffer: picture("harbour") };
    await ann.page.locator('input[type="file"]').setInputFiles(image);
    await ann.post("Just us on Friday");
    await becomes(ann.waiting, 0);
    await ann.card("Just us").getByText("Close friends only").waitFor();
    await ann.page.getByRole("combobox", { name: "Who sees it" }).selectOption("Followers");
    await ann.post("Soup on Saturday");
    await becomes(ann.waiting, 0);
    for (const who of [ann, cleo]) await who.card("Just us").getByText("Close friends only").waitFor();
    await ben.card("Soup").waitFor();
    equal(await ben.card("Just us").count(), 0);
    equal(await ben.card("Soup").getByText(/only/).count(), 0);
    await ben.goTo("ann");
    await ben.card("Soup").waitFor();
    equal(await ben.card("Just us").count(), 0);
    const link = await ann.card("Just us").locator(".by a").nth(1).getAttribute("href");
    await ben.open(link.slice(1));
    await ben.page.getByText(GONE).waitFor();
    await cleo.open(link.slice(1));
    await cleo.card("Just us").waitFor();
  });
  await step("the picture of such a post is there, and comes again when its address has ended", async () => {
    const isThere = () => cleo.card("Just us").locator("img[loading]").evaluate((image) => image.naturalWidth > 0);
    await expect(isThere, "a picture");
    await cleo.nav("Home");
    await cleo.card("Just us").waitFor();
    const count = await cleo.page.evaluate(() => {
      const key = Object.keys(localStorage).find((key) => key.endsWith("/cleo/timeline"));
      const [kept, ended] = [localStorage[key], localStorage[key].replaceAll(/(signature=)\w+/g, (all, name) => name + "0".repeat(64))];
      localStorage[key] = ended;
      return kept === ended ? 0 : 1;
    });
    equal(count, 1, "an address that ends");
    await cleo.page.reload();
    await cleo.card("Just us").waitFor();
    await expect(isThere, "the picture again");
  });
}

async function leave(ann, ben, cleo) {
  await step("ann removes cleo from her followers, who sees nothing any longer", async () => {
    await ann.nav("Profile");
    await ann.page.getByRole("link", { name: "2 followers" }).click();
    await fits(ann);
    await press(ann, "Remove follower @cleo");
    await sure(ann, "Remove");
    const listed = () => ann.page.getByRole("listitem").getByRole("link").allTextContents();
    await becomes(listed, ["@ben"]);
    await cleo.goTo("ann");
    await cleo.page.getByText(CLOSED).waitFor();
    equal(await listed(), ["@ben"]);
  });
  await step("she takes messages of her followers only, and comments of nobody: who tries reads so", async () => {
    await toPrivacy(ann);
    const choose = async (label, option) => {
      await ann.page.getByRole("combobox", { name: label }).selectOption(option);
      await saved(ann);
      await ann.page.reload();
      await ann.page.locator(".privacy:not([inert])").waitFor();
      const kept = ann.page.getByRole("combobox", { name: label }).locator("option:checked");
      equal(await kept.textContent(), option);
    };
    await choose("Who may write to you", "Who follows me");
    await choose("Who may comment on your posts", "Nobody");
    await cleo.open("/messages/ann");
    await cleo.send("Why?");
    await cleo.page.getByText("This user takes messages of their followers only.").waitFor();
    await cleo.page.getByRole("button", { name: "Discard" }).click();
    await ben.goTo("ann");
    const card = ben.card("Soup");
    await card.getByRole("button", { name: "Comments" }).click();
    await ben.comment(card, "With lentils?");
    await card.getByText("This user takes no comments.").waitFor();
    await card.getByRole("button", { name: "Discard" }).click();
  });
}

async function parting(ben) {
  await step("who follows a private user no longer has said that they are sure, and sees nothing at once", async () => {
    await press(ben, "Following");
    await sure(ben, "Go on following");
    await ben.card("Soup").waitFor();
    await press(ben, "Following");
    await sure(ben, "Follow no longer");
    await ben.page.getByText(CLOSED).waitFor();
    await becomes(ben.posts, []);
    await press(ben, "Follow");
    await button(ben, "Requested").waitFor();
  });
}

async function opening(ann, cleo) {
  await step("ann goes public again, once she has said that she is sure, and who has asked is let in", async () => {
    await cleo.goTo("ann");
    await press(cleo, "Follow");
    await button(cleo, "Requested").waitFor();
    await toPrivacy(ann);
    const lock = ann.page.getByRole("switch", { name: "Private account" });
    await lock.click();
    await sure(ann, "Stay private");
    equal(await lock.isChecked(), true);
    await lock.click();
    await sure(ann, "Make it public");
    await saved(ann);
    await button(cleo, "Following").waitFor();
    await cleo.card("Soup").waitFor();
    await ann.open("/requests");
    await ann.page.getByText("Nobody asks to follow you.").waitFor();
  });
}

async function moderating(stage, ann, ben) {
  let mod;
  await step("a moderator takes a post down and says why; others see it no longer", async () => {
    mod = await stage.signedUp("moddy");
    await mod.follow("ann");
    equal(await mod.page.getByRole("button", { name: "Take down" }).count(), 0);
    await stage.server.command("users", "role", "moddy", "moderator");
    await ann.nav("Home");
    await ben.nav("Home");
    await ben.card("The pier").waitFor();
    await mod.card("The pier").getByRole("button", { name: "Take down" }).click();
    await mod.page.getByRole("textbox", { name: "Reason" }).fill("Somebody else's picture");
    await fits(mod);
    await sure(mod, "Take down");
    await ben.card("The pier").waitFor({ state: "detached" });
    await mod.card("The pier").getByText("Somebody else's picture").waitFor();
  });
  await step("its author sees it, that it is down, and why", async () => {
    const card = ann.card("The pier");
    await card.getByText("Taken down by a moderator").waitFor();
    await card.getByText("Somebody else's picture").waitFor();
    equal(await card.getByRole("button", { name: "Show again" }).isVisible(), false);
    await fits(ann);
    await ann.nav("Notifications");
    await ann.page.getByText("A moderator has taken down your post").waitFor();
    await ann.page.reload();
    await ann.nav("Profile");
    await ann.card("The pier").getByText("Taken down by a moderator").waitFor();
  });
  await step("the moderator shows it again, and it is back for everybody", async () => {
    await press(mod, "Show again");
    await mod.card("The pier").getByText("Taken down").waitFor({ state: "hidden" });
    await ann.card("The pier").getByText("Taken down").waitFor({ state: "hidden" });
    await ben.card("The pier").waitFor();
    await ann.nav("Notifications");
    await ann.page.getByText("A moderator shows again your post").waitFor();
  });
}

async function blocking(ann, ben) {
  await step("a block is her own to see; to him it is as if there were nobody", async () => {
    await ann.goTo("ben");
    await press(ann, "Block");
    await ann.page.getByText("You blocked this user").waitFor();
    const said = async (handle) => {
      await ben.goTo(handle);
      const note = ben.page.getByText("There is nobody of that handle");
      await note.waitFor();
      equal(await button(ben, "Follow").isVisible(), false);
      return note.textContent();
    };
    equal(await said("ann"), await said("nobody_at_all"));
    await expect(async () => (await ben.page.getByRole("link", { name: /follower/ }).count()) === 0, "no counts of nobody");
  });
}
