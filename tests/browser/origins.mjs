// Apps of other origins, as Vite serves them to their developers; and our app below a path.
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { Server } from "../../web/client/test/server.mjs";
import { equal, must } from "../clients/jswalk/checks.mjs";
import { FLAGS } from "./stage.mjs";
import { step } from "./waiting.mjs";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Serves somebody else's app on a port of its own; resolves to the port, and how to end it. */
async function elsewhere() {
  const vite = await createServer({
    root: path("vite"),
    configFile: false,
    logLevel: "error",
    // Our client is a linked package, which lies beside this folder.
    server: { host: "127.0.0.1", port: 0, allowedHosts: ["app.test"], fs: { allow: [path("."), path("../../web/client")] } },
    cacheDir: path("../../target/browser/vite"),
  });
  await vite.listen();
  return { port: vite.httpServer.address().port, close: () => vite.close() };
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
      equal(await page.evaluate((to) => window.visit(to), { url: stage.server.url, name: "devi" }), whole);
    });
    await step("a page of an origin that nobody listed is told why, and what to do", async () => {
      const page = await at(foreign, stage.server);
      const { code, message } = await page.evaluate((to) => window.visit(to), { url: stage.server.url, name: "mallory" });
      equal(code, "cors");
      must(message.includes(`--origins ${foreign}`), message);
      const { ann: token } = await stage.server.tokens(["ann"]);
      equal(await page.evaluate((to) => window.connects(to), { url: stage.server.url, token }), message);
    });
    await step("once it is listed, it works", async () => {
      const page = await at(foreign, listing);
      equal(await page.evaluate((to) => window.visit(to), { url: listing.url, name: "mallory" }), whole);
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
      const { code } = await page.evaluate((to) => window.visit(to), { url: listing.url, name: "nobody" });
      equal(code, "offline");
    });
  } finally {
    await context.close();
    await pages.close();
    await listing.stop();
  }
}
