// Groups: made, found, joined, asked for and left; who is invited, answered and barred; what is posted in them, taken
// down and shown again.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { isFocused, tabTo } from "./evening.mjs";
import { button, fits, press, sure } from "./privacy.mjs";
import { becomes, step } from "./waiting.mjs";

const GONE = "There is no such group, or it is not there for you.";
const INSIDE = "Only members see who and what is in this group.";

export async function groups(stage) {
  let ann, ben, cleo;
  await step("three sign up, and ann, who is alone with it, makes a group with nothing but a keyboard", async () => {
    [ann, ben, cleo] = await Promise.all(["ann", "ben", "cleo"].map((handle) => stage.signedUp(handle)));
    await ann.nav("Groups");
    await ann.page.getByText("You are in no group yet.").waitFor();
    await fits(ann);
    await founding(ann);
  });
  await finding(ann, ben);
  await asking(ann, ben);
  await posting(ann, ben, cleo);
  await moderating(ann, ben);
  await barring(ann, ben);
  await inviting(ann, cleo);
}

const heading = ({ page }, name) => page.getByRole("heading", { level: 1, name, exact: true });
const fact = ({ page }, text) => page.getByRole("main").getByText(text, { exact: false }).first();

async function founding({ page }) {
  const { keyboard } = page;
  // Firefox gives keys to the page in front only.
  await page.bringToFront();
  await tabTo(page.getByRole("button", { name: "New group" }));
  await keyboard.press("Enter");
  must(await isFocused(page.getByLabel("Name", { exact: true })), "the first field has no focus");
  await keyboard.type("Harbour choir");
  await keyboard.press("Tab");
  await keyboard.type("We sing on Tuesdays.");
  await keyboard.press("Tab");
  await keyboard.press("ArrowDown");
  await keyboard.press("Tab");
  await keyboard.press("ArrowDown");
  await keyboard.press("Enter");
  await tabTo(page.getByRole("button", { name: "Create" }));
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Harbour choir" }).waitFor();
  await page.getByText("You are: Owner").waitFor();
}

async function finding(ann, ben) {
  await step("ben finds it by how its name begins, and sees that only members see inside", async () => {
    await ben.nav("Groups");
    await ben.page.getByRole("searchbox", { name: "How its name begins" }).fill("no such");
    await press(ben, "Find");
    await ben.page.getByText("No group is called so.").waitFor();
    await ben.page.getByRole("searchbox", { name: "How its name begins" }).fill("harbour ch");
    await press(ben, "Find");
    await ben.page.getByRole("list", { name: "Found" }).getByRole("link", { name: "Harbour choir" }).click();
    await heading(ben, "Harbour choir").waitFor();
    await fact(ben, "We sing on Tuesdays.").waitFor();
    await ben.page.getByText(INSIDE).waitFor();
    equal(await ben.page.getByLabel("What's happening?").isVisible(), false);
    equal(await ben.page.getByRole("link", { name: "1 member" }).count(), 0);
    await fits(ben);
  });
  await step("an address of no group says so", async () => {
    const here = ben.page.url();
    await ben.open("/groups/01ARZ3NDEKTSV4RRFFQ69G5FAV");
    await ben.page.getByText(GONE).waitFor();
    await ben.page.goto(here);
    await heading(ben, "Harbour choir").waitFor();
  });
}

async function asking(ann, ben) {
  await step("ben asks to join without a connection, takes it back, and asks again", async () => {
    ben.gate.set("unplugged");
    await ben.offline();
    await press(ben, "Ask to join");
    await button(ben, "Requested").waitFor();
    ben.gate.set("open");
    await ben.online();
    await press(ben, "Requested");
    await press(ben, "Ask to join");
    await button(ben, "Requested").waitFor();
  });
  await step("ann hears of it and lets him in, and his page opens by itself", async () => {
    await ann.nav("Notifications");
    await ann.page.getByRole("listitem").getByText("@ben asks to join a group").waitFor();
    await ann.page.getByRole("main").getByRole("link", { name: "a group" }).first().click();
    await press(ann, "Accept @ben");
    await becomes(() => ann.page.getByRole("list", { name: "Members" }).getByRole("link").allTextContents(), ["@ben", "@ann"]);
    await fits(ann);
    await ben.page.getByRole("link", { name: "2 members" }).waitFor();
    await ben.page.getByLabel("What's happening?").waitFor();
    await ben.page.getByText("No posts yet.").waitFor();
  });
}

async function posting(ann, ben, cleo) {
  await step("what is posted in it comes to its members, and to nobody who only follows its author", async () => {
    await cleo.follow("ben");
    await cleo.nav("Home");
    await ann.page.getByRole("heading", { level: 1 }).getByRole("link").click();
    await ann.page.getByText("No posts yet.").waitFor();
    await ben.post("Who has the key?");
    await ann.card("the key").waitFor();
    await becomes(ben.waiting, 0);
    equal(await ben.posts(), ["Who has the key?"]);
    await ann.nav("Home");
    await ann.page.getByRole("button", { name: "1 new post" }).click();
    await ann.card("the key").getByRole("link", { name: "Harbour choir" }).click();
    await heading(ann, "Harbour choir").waitFor();
    await ben.page.reload();
    await ben.card("the key").waitFor();
    await ben.nav("Home");
    await ben.card("the key").getByRole("link", { name: "Harbour choir" }).waitFor();
    await ben.post("Nice weather");
    await cleo.card("Nice weather").waitFor();
    equal(await cleo.card("the key").count(), 0);
    await cleo.page.reload();
    await cleo.card("Nice weather").waitFor();
    equal(await cleo.card("the key").count(), 0);
    const link = await ann.card("the key").locator(".by a").nth(1).getAttribute("href");
    await cleo.open(link.slice(1));
    await cleo.page.getByText("This post is gone, or not for you to see.").waitFor();
    await ben.open(link.slice(1));
    await ben.card("the key").getByRole("link", { name: "Harbour choir" }).click();
    await heading(ben, "Harbour choir").waitFor();
  });
}

async function moderating(ann, ben) {
  await step("ann takes a post down and says why; it stays for its author, and comes back", async () => {
    await ann.card("the key").getByRole("button", { name: "Take down" }).click();
    await ann.page.getByRole("textbox", { name: "Reason" }).fill("It hangs at the door");
    await sure(ann, "Take down");
    await ann.card("the key").getByRole("button", { name: "Show again" }).waitFor();
    await ben.card("the key").getByText("It hangs at the door").waitFor();
    equal(await ben.card("the key").getByRole("button", { name: "Show again" }).isVisible(), false);
    await press(ann, "Show again");
    await ben.card("the key").getByText("Taken down").waitFor({ state: "hidden" });
  });
  await step("ann makes ben a moderator, who hears of it, and a member again", async () => {
    await ann.page.getByRole("link", { name: "2 members" }).click();
    await ann.page.getByRole("combobox", { name: "Role of @ben" }).selectOption("Moderator");
    await ben.nav("Notifications");
    await ben.page.getByText("You are now a moderator of a group").waitFor();
    await ann.page.getByRole("combobox", { name: "Role of @ben" }).selectOption("Member");
    await ben.page.getByText("You are now a member of a group").waitFor();
    equal(await ann.page.getByRole("button", { name: "Bar @ann" }).isVisible(), false);
  });
}

async function barring(ann, ben) {
  await step("ann bars ben: to him it is as if there were no group; she lets him come back", async () => {
    await press(ann, "Bar @ben");
    await sure(ann, "Bar");
    await becomes(() => ann.page.getByRole("list", { name: "Who is barred" }).getByRole("link").allTextContents(), ["@ben"]);
    await fits(ann);
    await ben.nav("Groups");
    await ben.page.getByText("You are in no group yet.").waitFor();
    await ben.page.goBack();
    await ben.page.getByRole("listitem").getByRole("link", { name: "a group" }).first().click();
    await ben.page.getByText(GONE).waitFor();
    await press(ann, "Let come back @ben");
    await ben.page.reload();
    await heading(ben, "Harbour choir").waitFor();
    await button(ben, "Ask to join").waitFor();
  });
}

async function inviting(ann, cleo) {
  await step("ann makes the group secret and invites cleo, who accepts, and leaves", async () => {
    await ann.page.getByRole("heading", { level: 1 }).getByRole("link").click();
    await press(ann, "Edit group");
    await ann.page.getByRole("combobox", { name: "Who sees it" }).selectOption({ index: 2 });
    await fits(ann);
    await press(ann, "Save");
    await fact(ann, "Secret").waitFor();
    await ann.page.getByRole("link", { name: "1 member" }).click();
    await ann.page.getByRole("textbox", { name: "Invite a handle" }).fill("cleo");
    await press(ann, "Invite");
    await becomes(() => ann.page.getByRole("list", { name: "Who is invited" }).getByRole("link").allTextContents(), ["@cleo"]);
    await cleo.nav("Notifications");
    await cleo.page.getByText("@ann invites you into a group").waitFor();
    await cleo.page.getByRole("main").getByRole("link", { name: "a group" }).click();
    await press(cleo, "Accept invitation");
    await cleo.card("the key").waitFor();
    await press(cleo, "Leave");
    await sure(cleo, "Leave");
    await cleo.page.getByText(GONE).waitFor();
  });
  await step("the last owner cannot leave and reads so; she deletes the group", async () => {
    await ann.page.getByRole("heading", { level: 1 }).getByRole("link").click();
    await press(ann, "Leave");
    await sure(ann, "Leave");
    await ann.page.getByRole("alert").getByText("Not done (group: leave).").waitFor();
    await ann.page.getByRole("alert").getByRole("button", { name: "Discard" }).click();
    await press(ann, "Delete group");
    await sure(ann, "Delete");
    await ann.page.getByText("You are in no group yet.").waitFor();
  });
}
