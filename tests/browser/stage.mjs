// A browser, the real binary, and between them a connection for each device.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium, firefox } from "playwright-core";
import { Server } from "../../web/client/test/server.mjs";
import { Device } from "./device.mjs";
import { Gate } from "./gate.mjs";

/** Another origin than this machine's own names. */
const FOREIGN = "app.test";

/** The browsers that there are, each as it is started. */
const BROWSERS = {
  chromium: () =>
    chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        `--host-resolver-rules=MAP ${FOREIGN} 127.0.0.1`,
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
      chromiumSandbox: process.getuid() !== 0,
    }),
  // The one that people have, by WebDriver BiDi. Playwright 1.64 and later ask for commands that the present ESR, 153,
  // does not know yet.
  firefox: () =>
    firefox.launch({
      channel: "moz-firefox",
      executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
      firefoxUserPrefs: {
        "network.dns.localDomains": FOREIGN,
        // `reducedMotion` of a context has no effect here.
        "ui.prefersReducedMotion": 1,
        // After failures it waits up to a minute before it tries what a page asks for. The walk has no such time.
        "network.websocket.delay-failed-reconnects": false,
      },
    }),
};
const FOUND = new URL("../../target/browser", import.meta.url).pathname;
/** The walk signs in often, and always from one address. */
export const FLAGS = ["--codes-per-minute", "1000", "--sign-ins-per-minute", "1000", "--log", "error"];

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

export const axe = () => readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Stage {
  #gates = [];
  #devices = [];

  /** Starts browser and server, uses them, and ends them whatever happens. */
  static async with(use, flags = [], name = "chromium") {
    if (!(name in BROWSERS)) throw new Error(`no browser is called ${name}; there are ${Object.keys(BROWSERS).join(" and ")}`);
    const stage = new Stage();
    try {
      stage.server = await Server.start(...FLAGS, ...flags);
      stage.browser = await BROWSERS[name]();
      await use(stage);
    } finally {
      await stage.browser?.close();
      stage.#gates.forEach((gate) => gate.close());
      await stage.server?.stop();
    }
  }

  /** A new browser with nothing in it, on a connection of its own unless one is given. `like` are a context's options, such as `{ viewport: PHONE }`. */
  async device(like = {}, gate = undefined) {
    gate ??= await Gate.before(new URL(this.server.url).port);
    this.#gates.push(gate);
    const context = await this.browser.newContext({
      viewport: DESKTOP,
      locale: "en-GB",
      reducedMotion: "reduce",
      ...like,
    });
    const device = await Device.in(context, gate);
    this.#devices.push(device);
    return device;
  }

  /** A device on which `handle` has just signed up. */
  async signedUp(handle, like) {
    const device = await this.device(like);
    await device.signUp(handle);
    return device;
  }

  /** The faults that devices have seen since the last call. */
  faults() {
    return this.#devices.flatMap((device) => device.faults.splice(0));
  }

  /** Takes pictures of what every device shows, to help find a fault. */
  async photograph(name) {
    const shots = this.#devices.map(async ({ page }, at) =>
      page.screenshot({ path: `${FOUND}/${name}-${at + 1}.png` }),
    );
    await Promise.allSettled(shots);
    return FOUND;
  }

  /** Kills the server as a crash would, and starts it again on the same port and data when `meanwhile` is over. */
  async crash(meanwhile) {
    await this.server.down("SIGKILL");
    await meanwhile();
    await this.server.up();
  }
}
