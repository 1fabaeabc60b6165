// One browser in somebody's hands: what they do with it, in the words of the page itself.
import { breakIn } from "./broken.mjs";
import { expect } from "./waiting.mjs";

/** The browser's own complaints about a cut connection; the walk cuts connections on purpose. */
const CUT = /net::ERR_(CONNECTION|EMPTY|SOCKET|NETWORK|INCOMPLETE)|WebSocket connection to .* failed/;
/** Firefox reports them as errors of the page. */
const CUT_IN_FIREFOX = /^Firefox can’t establish a connection|^The connection to wss?:.* was interrupted/;
/** Expected refusals: the browser logs every one. A new account has no handle yet; a second code comes 5 s after the first; a tab whose
 *  user has signed out in another tab asks for a token once more; who is not paired asks for what is a developer's. Anything may be refused while the service is closed. A picture's
 *  address may have ended. */
const REFUSED = /status of (418 .*\/v1\/auth\/[\w/]+|409 .*\/v1\/auth\/email\/verify|429 .*\/v1\/auth\/(email|identities\/[\w.]+)\/start|403 .*\/v1\/auth\/.*|401 .*\/v1\/auth\/refresh|404 .*\/v1\/media\/.*&signature=0+&size=feed|401 .*\/(dev\/outbox|dev\/tokens|ops\/data\?since=\d+))$/;

export class Device {
  faults = [];

  static async in(context, gate) {
    const device = new Device();
    Object.assign(device, { context, gate });
    context.setDefaultTimeout(15_000);
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile }) =>
        console.error(`CSP: ${violatedDirective} ${blockedURI} ${sourceFile}`),
      );
    });
    await breakIn(context);
    context.on("page", (page) => device.#listen(page));
    context.on("request", (request) => device.#ours(request.url()));
    device.page = await context.newPage();
    return device;
  }

  #listen(page) {
    page.on("pageerror", (error) => {
      if (!CUT_IN_FIREFOX.test(error.message)) this.faults.push(`uncaught: ${error.message} ${error.stack ?? ""}`);
    });
    page.on("websocket", (socket) => this.#ours(socket.url().replace("ws:", "http:")));
    page.on("console", (message) => {
      const told = `${message.text()} ${message.location().url}`;
      if (["error", "warning"].includes(message.type()) && !CUT.test(told) && !REFUSED.test(told))
        this.faults.push(`console: ${told}`);
    });
  }

  #ours(url) {
    const { protocol, origin } = new URL(url);
    if (protocol !== "blob:" && protocol !== "data:" && origin !== this.gate.origin)
      this.faults.push(`a request to another host: ${url}`);
  }

  /** Goes to a page of the app (`/messages`), as a link from elsewhere would. */
  async open(place = "/", page = this.page) {
    await page.goto(`${this.gate.origin}/#${place}`);
  }

  async signUp(handle) {
    const { page } = this;
    this.handle = handle;
    await page.goto(this.gate.origin);
    await page.getByLabel("Email").fill(`${handle}@example.org`);
    await page.getByRole("button", { name: "Send code" }).click();
    await this.takeCode(() => page.getByRole("button", { name: "Open the outbox" }).click());
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByLabel("Handle", { exact: true }).fill(handle);
    await page.getByRole("button", { name: "Create account" }).click();
    await this.online();
  }

  /** Presses the page's own button until the mail is there: the page hears that it will be sent before it is sent. */
  async takeCode(press) {
    await expect(async () => {
      await press();
      await this.page
        .getByRole("alert")
        .filter({ hasText: "Try again" })
        .or(this.page.locator("#field:valid, dialog[open] input[inputmode=numeric]:valid"))
        .first()
        .waitFor();
      return /^\d{6}$/.test(await this.page.getByLabel("Code").last().inputValue());
    }, "a code in the outbox");
  }

  /** Signs in on another device of somebody who has signed up before. */
  async signIn(handle) {
    const { page } = this;
    this.handle = handle;
    await page.goto(this.gate.origin);
    await page.getByLabel("Email").fill(`${handle}@example.org`);
    await expect(
      async () => {
        await page.getByRole("button", { name: "Send code" }).click();
        await page
          .getByLabel("Code")
          .or(page.getByRole("alert").filter({ hasText: "That was often" }))
          .first()
          .waitFor();
        return page.getByLabel("Code").isVisible();
      },
      "another code",
      10_000,
      500,
    );
    await this.takeCode(() => page.getByRole("button", { name: "Open the outbox" }).click());
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await this.online();
  }

  async state(state) {
    await this.page.locator(`html[data-state=${state}]`).waitFor({ timeout: 40_000 });
  }

  online = () => this.state("online");
  offline = () => this.page.locator("html:not([data-state=online])").waitFor();

  nav = (name) => this.page.getByRole("navigation", { name: "Main" }).getByRole("link", { name }).click();

  async goTo(handle) {
    const field = this.page.getByRole("searchbox", { name: "Go to a handle" });
    await field.fill(handle);
    await field.press("Enter");
    await this.page.getByText(`@${handle}`, { exact: true }).first().waitFor();
  }

  async follow(handle) {
    await this.goTo(handle);
    await this.page.getByRole("button", { name: "Follow", exact: true }).click();
    await this.page.getByRole("button", { name: "Following", exact: true }).waitFor();
  }

  async post(text) {
    await this.page.getByLabel("What's happening?").fill(text);
    await this.page.getByRole("button", { name: "Post", exact: true }).click();
  }

  /** Lets in the posts that came while the timeline was not in sight. */
  async letIn() {
    const news = this.page.getByRole("button", { name: /^\d+ new posts?$/ });
    if (await news.isVisible()) await news.click();
  }

  card = (text) => this.page.getByRole("article").filter({ hasText: text });

  async send(text) {
    const field = this.page.getByRole("textbox", { name: "Message" });
    await field.fill(text);
    await field.press("Enter");
  }

  async comment(card, text) {
    const field = card.getByRole("textbox", { name: "Write a comment" });
    await field.fill(text);
    await card.getByRole("button", { name: "Send comment" }).click();
  }

  /** The texts of the posts on the page, from the top. */
  posts = () => this.page.locator("article > .said").allTextContents();
  /** The texts of the conversation on the page, from the first. */
  bubbles = () => this.page.locator(".bubble > .said").allTextContents();
  remarks = (card) => card.locator(".remark .said").allTextContents();
  /** How many messages wait to be sent. */
  waiting = () => this.page.locator("[data-pending]").count();
}
