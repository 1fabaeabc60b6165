// Apps of other origins, with our client and a page of their own; and our app below a path.
import { readFile } from "node:fs/promises";
import { Server } from "../../web/client/test/server.mjs";
import { equal, must } from "../clients/jswalk/checks.mjs";
import { serve } from "./serving.mjs";
import { FLAGS } from "./stage.mjs";
import { step } from "./waiting.mjs";

const CLIENT = new URL("../../web/client/soundoff.js", import.meta.url);

/** Serves a page that somebody else wrote, and the client beside it. */
async function elsewhere() {
  const script = await readFile(CLIENT);
  const files = { "/": ["text/html", "<!doctype html><title>Mine</title>"], "/soundoff.js": ["text/javascript", script] };
  return serve((path) => files[path]);
}

/** What a person does on that page: signs in, posts a picture and sees it. Returns what went wrong. */
async function use({ url, name }) {
  const { Session, SoundOff, memoryStore } = await import("/soundoff.js");
  const seen = [];
  try {
    const session = new Session({ url, store: memoryStore() });
    const email = `${name}@example.org`;
    const { request } = await session.startEmail(email);
    const code = await window.codeOf(email);
    await session.verifyEmail({ email, code, request, handle: name });
    const client = new SoundOff({ url, store: memoryStore(), token: () => session.token() });
    client.start();
    const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
    canvas.getContext("2d").fillRect(5, 5, 20, 20);
    const blob = await new Promise((done) => canvas.toBlob(done));
    const ready = new Promise((done) => client.on("push:media.ready", ({ media }) => done(media)));
    await session.uploadMedia(blob, { onProgress: (share) => seen.push(share) });
    const { id } = await ready;
    const { post } = await client.call("post.create", { media: [id] });
    const image = Object.assign(new Image(), { crossOrigin: "anonymous", src: new URL(post.media[0].url, url) });
    await image.decode();
    await client.stop();
    return { text: post.text, width: image.naturalWidth, progress: seen.at(-1) };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

/** What the client says of its socket on that page. */
async function connects({ url, token }) {
  const { SoundOff, memoryStore } = await import("/soundoff.js");
  const client = new SoundOff({ url, store: memoryStore(), token: () => token });
  const reason = new Promise((done) =>
    client.on("state", ({ state, reason }) => (state === "online" ? done("online") : reason?.code === "cors" && done(reason.message))),
  );
  client.start();
  const said = await reason;
  client.stop();
  return said;
}

export async function origins(stage) {
  const pages = await elsewhere();
  const { port } = pages;
  const [local, foreign] = [`http://127.0.0.1:${port}`, `http://app.test:${port}`];
  const context = await stage.browser.newContext();
  const at = async (origin, server) => {
    const page = await context.newPage();
    await page.exposeFunction("codeOf", (email) => server.code(email));
    await page.goto(origin);
    return page;
  };
  const whole = { text: "", width: 40, progress: 1 };
  const listing = await Server.start(...FLAGS, "--origins", foreign, "--base-path", "/soundoff");
  try {
    await step("a developer's page of another origin signs in, opens a socket and posts a picture without words", async () => {
      const page = await at(local, stage.server);
      equal(await page.evaluate(use, { url: stage.server.url, name: "devi" }), whole);
    });
    await step("a page of an origin that nobody listed is told why, and what to do", async () => {
      const page = await at(foreign, stage.server);
      const { code, message } = await page.evaluate(use, { url: stage.server.url, name: "mallory" });
      equal(code, "cors");
      must(message.includes(`--origins ${foreign}`), message);
      const { ann: token } = await stage.server.tokens(["ann"]);
      equal(await page.evaluate(connects, { url: stage.server.url, token }), message);
    });
    await step("once it is listed, it works", async () => {
      const page = await at(foreign, listing);
      equal(await page.evaluate(use, { url: listing.url, name: "mallory" }), whole);
    });
    await step("our app works below a path", async () => {
      const page = await context.newPage();
      const lost = [];
      page.on("response", (answer) => answer.status() >= 400 && lost.push(answer.url()));
      await page.goto(`${listing.url}/soundoff/`);
      await page.getByLabel("Email").fill("paul@example.org");
      await page.getByRole("button", { name: "Send code" }).click();
      await page.getByLabel("Code").fill(await listing.code("paul@example.org"));
      await page.getByRole("button", { name: "Sign in", exact: true }).click();
      await page.getByLabel("Handle", { exact: true }).fill("paul");
      await page.getByRole("button", { name: "Create account" }).click();
      await page.locator("html[data-state=online]").waitFor();
      // An account that is new is told so by a refusal.
      equal(lost.filter((url) => !url.endsWith("/v1/auth/email/verify")), []);
      await page.goto(`${listing.url}/soundoff/console/`);
      await page.getByText("A console for the websocket").waitFor();
      await page.goto(`${listing.url}/soundoff/ops`);
      await page.getByText("Open to all.").waitFor();
    });
    await step("a server that is away is another thing", async () => {
      const page = await at(foreign, listing);
      await listing.down();
      const { code } = await page.evaluate(use, { url: listing.url, name: "nobody" });
      equal(code, "offline");
    });
  } finally {
    await context.close();
    pages.close();
    await listing.stop();
  }
}
