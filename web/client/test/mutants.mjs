// Breaks the client in one place at a time, and shows that the tests notice.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** By the tests that must notice: what is broken, the text, and its replacement. */
const MUTANTS = {
  "chaos.mjs": [
    ["nothing is sent again", "      entry.flying = null;\n      entry.tries += 1;\n", "      return;\n"],
    [
      "nothing is sent again on the next socket",
      "      entry.flying = null;\n      if (entry.type",
      "      if (entry.type",
    ],
    ["what comes twice is handed over twice", "if (seq <= this.#taken || this.#overflowed) return;", ""],
    ["a gap is no gap", "if (seq > this.#taken + 1 && !this.#jumps(seq)) return this.behind();", ""],
    ["there are no lanes", "if (entry.lane) lanes.add(entry.lane);", ""],
    [
      "`accepted` lets the next of a lane go",
      'case "accepted":',
      'case "accepted":\n        if (entry) (entry.lane = null), queueMicrotask(() => this.#pump());',
    ],
    [
      "what is kept gets new ids",
      "const entry of text ? JSON.parse(text) : []",
      "const entry of (text ? JSON.parse(text) : []).map((entry) => ({ ...entry, id: randomName() }))",
    ],
    ["pending messages are not kept", 'await this.#cell?.write(text === "[]" ? null : text);', ""],
    ["the cursor is not kept", "if (seq > kept) await this.#cursorCell.write(String(seq));", ""],
  ],
  "client.test.mjs": [
    [
      "the store is not asked before",
      "      await this.#outbox.save();\n      entry.kept = true;",
      "      entry.kept = true;",
    ],
    [
      "a push is over when a listener fails",
      '      left = left.filter((_, at) => results[at].status === "rejected");',
      "      left = [];",
    ],
    ["frames may be as large as they like", "if (new TextEncoder().encode(text).length > link.limit)", "if (false)"],
    ["what matters only now waits for minutes", "(entry.passing ? PASSING_WAIT_MS : LONGEST_WAIT_MS)", "LONGEST_WAIT_MS"],
    [
      "a refusal that may pass is final",
      "} else if (!retry || retryAfterMs > (entry.passing ? PASSING_WAIT_MS : LONGEST_WAIT_MS)) {",
      "} else {",
    ],
    [
      "a new history of the server is not noticed",
      "const rewound = this.cursor !== null && newest < this.cursor;",
      "const rewound = false;",
    ],
    ["an aborted call goes on", "const cancel = () => this.#settle(entry, signal.reason);", "const cancel = () => {};"],
    [
      "the server's word for a gap is not heard",
      'if (id === undefined && code === "not_found") this.#inbox.expire();',
      "if (false) return;",
    ],
  ],
  "online.test.mjs": [
    ["a refused token is not replaced", "if (spent) this.#stale = true;", ""],
    ["a refused token is replaced forever", "(code === 4500 && !this.#stale)", "code === 4500"],
    ["4418 is like any other", "code === 4418 || ", ""],
    ["what is refused for good comes back", "if (code >= 4500 && !spent) return this.#refuse({ code, message });", ""],
    [
      "auth_due is not heard",
      'case "auth_due":\n        return this.#renew(link);',
      'case "auth_due":\n        return;',
    ],
    ["goaway is not heard", "    if (link.leaving) return;", "    return;"],
    ["silence is not heard", 'link.heard ? this.#beat(link) : this.#drop(link, "no pong")', "this.#beat(link)"],
    ["waits do not double", "low * 2 ** Math.min(failures, 16)", "low"],
    ["waits never start from the beginning", ">= this.#timings.steadyMs) this.#failures", ">= Infinity) this.#failures"],
    [
      "the network's return is not heard",
      '    if (this.#state === "waiting" && this.#seat) this.#connect(this.#life);',
      "    if (false) return;",
    ],
  ],
  "places.test.mjs": [
    ["4429 is like any other", " || code === 4429", ""],
    ["two with one name replace each other forever", "++this.#replaced > 1", "false"],
    ["a new name at the first sight of another socket", "++this.#replaced > 1", "++this.#replaced > 0"],
    ["under a new name the inbox begins at its end", "    this.#inbox.pin();\n", ""],
    ["the new name is not kept", "!given && this.#store.set", "!given && String"],
    [
      "one that was replaced long ago counts",
      "this.#failures = this.#replaced = 0;\n    // Once",
      "this.#failures = 0;\n    // Once",
    ],
    ["a page without a seat gives up", "if (this.#life !== life) return;\n    }", "return;\n    }"],
    ["a page without a seat connects", " && this.#seat) this.#connect", ") this.#connect"],
  ],
  "pages.test.mjs": [
    ["all pages have one seat", "const leave = this.#locks ? await tryLock", "const leave = false ? await tryLock"],
    ["nobody takes over what was left", "      if (text && this.#opened) {", "      if (false) {"],
    ["what was left is taken while its page lives", "      const text = leave && (await", "      const text = (await"],
    [
      "pending messages are anybody's",
      "return `${this.#prefix}/${this.#user}/${name}`;",
      "return `${this.#prefix}/${name}`;",
    ],
    ["another user's token will do", "if (this.#user !== null && this.#user !== user) {", "if (false) {"],
  ],
  "session.test.mjs": [
    ["each page refreshes", "if (this.#held && !good()) await this.#renew", "if (this.#held) await this.#renew"],
    ["an upload is not sent again", "if (!isShort || tries", "if (true || tries"],
    ["an upload waits however long it is told", "error.retry && error.retryAfterMs <= COME_AGAIN_MS", "error.retry"],
    ["an upload is sent without end", "tries === UPLOAD_TRIES", "false"],
    ["a lost answer is not asked for again", 'error.code === "offline" ? pause(1000).then(ask)', "false ? null"],
    [
      "a sign-out during a refresh is undone",
      "if (await still()) await this.#keep(answer);",
      "await this.#keep(answer);",
    ],
    ["no network is the end", '} else if (error.code !== "unauthorized") throw error;', "}"],
    ["other pages hear nothing", 'this.#channel?.postMessage("changed");', ""],
  ],
  "gate.test.mjs": [
    ["people are not told why", "this.#later({ code, message, ...(text && { text }) }", "this.#later({ code, message }"],
    ["a closed service is asked again at once", "{ code, message, ...(text && { text }) }, askedMs);", "{ code, message, ...(text && { text }) }, 10);"],
    ["418 is final", "status === 418 || ", ""],
    ["a refused refresh does not say when to come again", "...(isClosed && { text: message }) }, waitMs || undefined);", "...(isClosed && { text: message }) });"],
    ["a refused refresh does not say why", "...(isClosed && { text: message })", ""],
    ["a date is a number", "/^\\d+$/.test(retryAfterS) ? retryAfterS * 1000 : undefined", "retryAfterS ? retryAfterS * 1000 : undefined"],
    ["a live socket waits for its end", "else if (error?.retryAfterMs) link.renewal", "else if (false) link.renewal"],
    ["the app's name is not offered", "...(this.#app ? [`app.${this.#app}`] : [])", ""],
    ["the app's name is not sent", '...(this.#app && { "soundoff-app": this.#app })', ""],
    ["an app may have any name", "if (app == null || /^[A-Za-z0-9.-]{1,64}$/.test(app)) return app;", "return app;"],
  ],
};

const source = await readFile(new URL("../soundoff.js", import.meta.url), "utf8");
const directory = await mkdtemp(join(tmpdir(), "soundoff-mutants-"));
let survivors = 0;

async function isNoticed(suite, [name, from, to]) {
  if (source.split(from).length !== 2)
    throw new Error(`${name}: the client has not exactly one ${JSON.stringify(from)}`);
  const file = join(directory, "soundoff.mjs");
  await writeFile(
    file,
    source.replace(from, () => to),
  );
  const patience = suite === "places.test.mjs" ? "9000" : "4000"; // there the server asks for waits of up to 4 s
  const env = { ...process.env, CLIENT: pathToFileURL(file).href, RUNS: "100", PATIENCE_MS: patience };
  const how = suite === "chaos.mjs" ? [] : ["--test", "--test-timeout=15000"];
  const run = spawn(process.execPath, [...how, new URL(suite, import.meta.url).pathname], { env, stdio: "ignore" });
  const [code] = await once(run, "close");
  return code !== 0;
}

try {
  for (const [suite, mutants] of Object.entries(MUTANTS)) {
    for (const mutant of mutants) {
      const noticed = await isNoticed(suite, mutant);
      if (!noticed) survivors += 1;
      console.log(`${noticed ? "noticed" : "UNNOTICED"} by ${suite}: ${mutant[0]}`);
    }
  }
} finally {
  await rm(directory, { recursive: true });
}
process.exitCode = survivors ? 1 : 0;
