// The real binary on this machine, which can be killed and started again on the same port and data.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const BINARY = process.env.UNDER_TEST ?? new URL("../../../target/debug/soundoff", import.meta.url).pathname;

// The test runner ends us with this signal: servers must not outlive it.
process.once("SIGTERM", () => process.exit(143));

export class Server {
  static async start(...flags) {
    const server = new Server();
    server.flags = flags;
    server.data = await mkdtemp(join(tmpdir(), "soundoff-client-"));
    server.listen = "127.0.0.1:0";
    await server.up();
    return server;
  }

  /** Starts the process; the second time at the address of the first. */
  async up() {
    this.process = spawn(BINARY, ["up", "--data", this.data, "--listen", this.listen, ...this.flags], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { process: child } = this;
    const end = () => child.kill("SIGKILL");
    process.once("exit", end);
    this.said = "";
    this.printed = [];
    this.gone = once(child, "exit").finally(() => process.off("exit", end));
    this.process.stderr.on("data", (part) => (this.said = (this.said + part).slice(-4000)));
    const lines = createInterface({ input: this.process.stdout });
    const address = await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        this.printed.push(line.trim());
        const found = /http:\/\/(127\.0\.0\.1:\d+)/.exec(line);
        if (found) resolve(found[1]);
      });
      this.gone.then(() => reject(new Error(`the server has not started: ${this.said}`)));
    });
    this.listen = address;
    this.url = `http://${address}`;
  }

  async down(signal = "SIGTERM") {
    this.process.kill(signal);
    await this.gone;
  }

  /** Runs a command of operators on its data, such as `gate open`; resolves to what it prints. */
  async command(...given) {
    const { stdout } = await promisify(execFile)(BINARY, [...given, "--data", this.data]);
    return stdout;
  }

  /** Removes all data, between two runs. */
  async wipe() {
    await rm(this.data, { recursive: true });
  }

  async stop() {
    await this.down("SIGKILL");
    await rm(this.data, { recursive: true, force: true });
  }

  async tokens(handles, expires_in = 3600) {
    const answer = await fetch(`${this.url}/dev/tokens`, {
      method: "POST",
      body: JSON.stringify({ handles, expires_in }),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()).tokens;
  }

  /** The newest code that was sent to an address, once it is there: a letter comes later than its answer. */
  async code(address) {
    for (;;) {
      const { items } = await (await fetch(`${this.url}/dev/outbox`)).json();
      const newest = items.find(({ to }) => to === address);
      if (newest) return /\d{6}/.exec(newest.text)[0];
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
