// Every page of the app, with content, and what to wait for on it.

/** How mira gets to each page of the app; `ready` is there when the page is complete. */
export const PLACES = [
  { name: "home", place: "/", ready: (page) => page.getByRole("article").nth(5) },
  { name: "post", about: "Harbour, seven", ready: (page) => page.locator(".remark").nth(2) },
  { name: "profile", place: "/u/jonas", ready: (page) => page.getByRole("article").nth(1) },
  { name: "own-profile", place: "/u/mira", ready: (page) => page.getByRole("article").first() },
  { name: "followers", place: "/u/jonas/followers", ready: (page) => page.locator("a.row").nth(2) },
  { name: "messages", place: "/messages", ready: (page) => page.locator("a.row").nth(2) },
  { name: "conversation", place: "/messages/jonas", ready: (page) => page.locator(".bubble").nth(4) },
  { name: "notifications", place: "/notifications", ready: (page) => page.locator("li.row .quote:not(:empty)").nth(2) },
  { name: "settings", place: "/settings", ready: (page) => page.getByText("this one") },
  { name: "privacy", place: "/settings/privacy", ready: (page) => page.locator(".who").nth(1) },
  { name: "requests", place: "/requests", ready: (page) => page.locator(".who").first() },
  { name: "own-followers", place: "/u/mira/followers", ready: (page) => page.locator(".who").nth(2) },
  { name: "groups", place: "/groups", ready: (page) => page.locator("a.row").first() },
  { name: "group", group: "", ready: (page) => page.getByRole("article").first() },
  { name: "members", group: "/members", ready: (page) => page.locator(".who").nth(3) },
  { name: "console", url: "/console", ready: (page) => page.getByRole("heading").first(), arrange: converse },
  { name: "ops", url: "/ops", ready: (page) => page.locator("#plots svg").first() },
];

/** Something to see on the console: a few frames in both directions. */
async function converse(page) {
  await page.getByLabel("Handle").fill("alice");
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByRole("log").getByText("welcome").waitFor();
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("log").getByText('"reply"').waitFor();
}

/** Goes there, and waits until the page is complete: texts, pictures, letters. */
export async function visit(device, { place, url, about, group, ready }) {
  const { page, gate } = device;
  if (url) await page.goto(gate.origin + url);
  else if (about) await toPost(device, about);
  else if (group !== undefined) await toGroup(device, group);
  else await device.open(place);
  await ready(page).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await page.waitForFunction(() =>
    [...document.images].every((image) => image.loading === "lazy" || (image.complete && image.naturalWidth > 0)),
  );
  await page.evaluate(() => document.fonts.ready);
}

async function toPost(device, text) {
  await device.open("/");
  const link = device.card(text).locator(".by a").nth(1);
  await link.waitFor();
  await link.evaluate((link) => link.click());
}

/** The only group there is, or a page below it. */
async function toGroup(device, below) {
  await device.open("/groups");
  const link = device.page.locator("main a.row").first();
  await link.waitFor();
  await device.open((await link.getAttribute("href")).slice(1) + below);
}
