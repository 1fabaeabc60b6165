// Signing in with an OpenID provider that the operator has named: a certified one, with its own pages.
import { Server } from "../../web/client/test/server.mjs";
import { OpenId } from "../clients/signin/openid.mjs";
import { equal, must } from "../clients/jswalk/checks.mjs";
import { FLAGS } from "./stage.mjs";
import { step } from "./waiting.mjs";

const BUTTON = "Continue with Certified";

/** The button; a page that was opened before the server knew the provider does not have it. */
async function button(page, home) {
  const found = page.getByRole("button", { name: BUTTON });
  for (;;) {
    await page.goto(home);
    await page.getByLabel("Email").waitFor();
    const { openid } = await page.evaluate(async () => (await fetch("v1/auth/ways")).json());
    if (openid[0].authorize_url) break;
  }
  await page.goto(home);
  await found.waitFor();
  return found;
}

/** What a person does at the provider: says who they are, and agrees. */
async function agree(page, login) {
  await page.locator("input[name=login]").fill(login);
  await page.locator("input[name=password]").fill("anything");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}

export async function providers(stage) {
  const server = await Server.start(...FLAGS);
  const home = `${server.url}/`;
  const openid = await OpenId.open([home]);
  // Only now it is known where the page is.
  server.flags.push("--openid-providers", JSON.stringify([openid.provider({ redirect_uris: [home] })]));
  await server.down();
  await server.up();
  const contexts = [];
  const newcomer = async () => {
    contexts.push(await stage.browser.newContext());
    return contexts.at(-1).newPage();
  };
  try {
    await step("olga goes to the provider, comes back as somebody new, and takes a handle", async () => {
      const page = await newcomer();
      await (await button(page, home)).click();
      await agree(page, "olga");
      await page.getByLabel("Handle", { exact: true }).fill("olga");
      await page.getByRole("button", { name: "Create account" }).click();
      await page.locator("html[data-state=online]").waitFor();
      equal(new URL(page.url()).search, "");
    });
    await step("on another device she is known", async () => {
      const page = await newcomer();
      await (await button(page, home)).click();
      await agree(page, "olga");
      await page.locator("html[data-state=online]").waitFor();
    });
    await step("an answer that nobody asked for signs nobody in", async () => {
      const page = await newcomer();
      await page.goto(`${home}?code=c&state=s`);
      await page.getByRole("alert").getByText("not asked for here").waitFor();
    });
    await step("nor does one that another provider has passed on", async () => {
      const page = await newcomer();
      const asked = [];
      page.on("request", (request) => request.url().includes("/v1/auth/openid/") && asked.push(request.url()));
      await page.route(`${openid.url}/auth?**`, (route) => {
        const state = new URL(route.request().url()).searchParams.get("state");
        const back = new URL(home);
        for (const [name, value] of Object.entries({ code: "c", state, iss: "https://other.example" })) back.searchParams.set(name, value);
        return route.fulfill({ status: 302, headers: { location: back.href } });
      });
      await (await button(page, home)).click();
      await page.getByRole("alert").getByText("not asked for here").waitFor();
      must(asked.length === 0, asked);
    });
    await step("the request asks for no more than is needed, and the secret stays on the server", async () => {
      const page = await newcomer();
      const found = await button(page, home);
      const gone = page.waitForRequest((request) => request.url().startsWith(`${openid.url}/auth?`));
      await found.click();
      const asked = Object.fromEntries(new URL((await gone).url()).searchParams);
      equal([asked.response_type, asked.scope, asked.code_challenge_method, asked.redirect_uri, asked.client_id], ["code", "openid", "S256", home, openid.web.client_id]);
      must(asked.state.length > 40 && asked.nonce.length > 40 && new Set([asked.state, asked.nonce, asked.code_challenge]).size === 3, asked);
      must(!JSON.stringify(asked).includes(openid.web.client_secret), "the secret");
    });
  } finally {
    for (const context of contexts) await context.close();
    await openid.close();
    await server.stop();
  }
}
