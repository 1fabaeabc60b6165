// Breaks the client in one place at a time, and shows that the runs behind the faulty proxy notice.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const RUNS = "100";
const MUTANTS = [
  [
    "what is not answered is not sent again",
    "      entry.flying = null;\n      entry.tries += 1;\n",
    "      return;\n",
  ],
  [
    "what was under way is not sent again on the next socket",
    "      entry.flying = null;\n      if (entry.type",
    "      if (entry.type",
  ],
  ["a push that comes twice is handed over twice", "if (seq <= this.#taken || this.#overflowed) return;", ""],
  ["a push that is missing is not missed", "if (seq > this.#taken + 1 && !this.#jumps(seq)) return this.behind();", ""],
  ["there are no lanes", "if (entry.lane) lanes.add(entry.lane);", ""],
  [
    "`accepted` lets the next of a lane go",
    'case "accepted":',
    'case "accepted":\n        if (entry) (entry.lane = null), queueMicrotask(() => this.#pump());',
  ],
  [
    "pending messages get new ids after a crash",
    "const entry of text ? JSON.parse(text) : []",
    "const entry of (text ? JSON.parse(text) : []).map((entry) => ({ ...entry, id: randomName() }))",
  ],
  ["pending messages are not kept", 'await this.#cell?.write(text === "[]" ? null : text);', ""],
  ["the cursor is not kept", "if (seq > kept) await this.#cursorCell.write(String(seq));", ""],
];

const source = await readFile(new URL("../soundoff.js", import.meta.url), "utf8");
const directory = await mkdtemp(join(tmpdir(), "soundoff-mutants-"));
let survivors = 0;
try {
  for (const [name, from, to] of MUTANTS) {
    if (source.split(from).length !== 2)
      throw new Error(`${name}: the client has not exactly one ${JSON.stringify(from)}`);
    const file = join(directory, "soundoff.mjs");
    await writeFile(
      file,
      source.replace(from, () => to),
    );
    const env = { ...process.env, CLIENT: pathToFileURL(file).href, RUNS, PATIENCE_MS: "4000" };
    const chaos = spawn(process.execPath, [new URL("chaos.mjs", import.meta.url).pathname], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    chaos.stderr.on("data", (part) => (said += part));
    const [code] = await once(chaos, "close");
    if (code === 0) survivors += 1;
    console.log(
      `${code === 0 ? "UNNOTICED" : "noticed"}: ${name}${code === 0 ? "" : ` (${said.split("\n")[0].slice(0, 100)})`}`,
    );
  }
} finally {
  await rm(directory, { recursive: true });
}
process.exitCode = survivors ? 1 : 0;
