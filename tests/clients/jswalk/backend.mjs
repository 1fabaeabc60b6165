// `soundoff up` as a child process with a data directory of its own.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brief, must } from "./checks.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const binary = process.env.UNDER_TEST ?? join(here, "../../../target/debug/soundoff");
// The server refuses a variable SOUNDOFF_… that is no setting.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SOUNDOFF_")));
const run = promisify(execFile);

export class Backend {
  /** Everything that it wrote to stderr. */
  log = "";

  /** Starts a server with the flags, uses it and removes it, also after an error. */
  static async with(flags, use) {
    const home = await mkdtemp(join(tmpdir(), "soundoff-walk-"));
    const backend = new Backend(join(home, "data"));
    try {
      await backend.start(flags);
      await use(backend);
    } finally {
      await backend.kill();
      await rm(home, { recursive: true, force: true });
    }
  }

  constructor(data) {
    this.data = data;
  }

  async start(flags = []) {
    this.process = spawn(binary, ["up", "--listen", "127.0.0.1:0", "--data", this.data, ...flags], {
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.exit = once(this.process, "exit");
    this.process.stderr.setEncoding("utf8").on("data", (text) => { this.log += text; });
    this.url = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the server is not ready in 30 s")), 30_000);
      createInterface({ input: this.process.stdout }).on("line", (line) => {
        this.metrics ??= line.match(/metrics +(http\S+)/)?.[1];
        const url = line.match(/ws:\/\/127\.0\.0\.1:\d+\/v1\/ws/)?.[0];
        if (url) {
          clearTimeout(timer);
          resolve(url);
        }
      });
      this.process.once("error", reject);
      this.process.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${this.log.slice(-2000)}`)));
    });
    this.origin = this.url.replace("ws://", "http://").replace("/v1/ws", "");
  }

  /** Ends the process without warning. */
  async kill() {
    this.process?.kill("SIGKILL");
    await this.exit;
  }

  /** Asks the process to end; returns its exit code. */
  async stop() {
    this.process.kill("SIGTERM");
    const [code] = await this.exit;
    return code;
  }

  /** Runs an operator's command on this data directory; returns its output. */
  async operate(...words) {
    const { stdout } = await run(binary, [...words, "--data", this.data], { env: environment, timeout: 30_000 });
    return stdout;
  }

  /** Waits until every queue is empty and has the dead letters expected: {queue: count}. */
  async settle(dead = {}) {
    const deadline = Date.now() + 30_000;
    let queues;
    do {
      queues = JSON.parse(await this.operate("queues", "--json"));
      must(queues.length > 10, queues);
      if (queues.every((q) => q.visible === 0 && q.in_flight === 0 && q.dead === (dead[q.queue] ?? 0))) return queues;
    } while (Date.now() < deadline);
    throw new Error(`not settled: ${brief(queues.filter((q) => q.visible || q.in_flight || q.dead))}`);
  }

  async post(path, body) {
    const answer = await fetch(this.origin + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: answer.status, type: answer.headers.get("content-type"), body: await answer.json() };
  }

  /** Creates a user if needed; returns a token. */
  async token(handle, seconds) {
    const { status, body } = await this.post("/dev/tokens", { handles: [handle], ...(seconds && { expires_in: seconds }) });
    must(status === 200, body);
    return body.tokens[handle];
  }
}
