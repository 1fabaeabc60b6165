// Types that only read matter to the page that asks, and are not sent by one that opens later.
import { deepEqual, ok } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import WebSocket from "ws";
import { SoundOff, memoryStore } from "./under.mjs";

test("what only reads is not kept until it is answered", async () => {
  const declared = await readFile(new URL("../messages.d.ts", import.meta.url), "utf8");
  const reads = [...declared.matchAll(/"([\w.]+)": \{ body: \w+; reply: (?:List<\w+>|Page|Found) \}/g)].map(([, type]) => type);
  ok(reads.includes("group.members") && reads.includes("timeline.fetch"), reads.join());
  const client = new SoundOff({ url: "http://127.0.0.1:1", user: "anna", token: async () => "", store: memoryStore(), WebSocket });
  client.start();
  const calls = [...reads, "like.add"].map((type) => client.call(type, { post: "1" }));
  deepEqual(
    client.pending.map(({ type }) => type),
    ["like.add"],
  );
  await client.stop();
  await Promise.allSettled(calls);
});
