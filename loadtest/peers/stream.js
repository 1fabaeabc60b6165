// Reads a Redis stream as a consumer group: batches of what is there, a few under way at once, acked when done. What was not acked is read again
// after a restart.
const Redis = require("ioredis");

const BATCH = 512;
const UNDER_WAY = 4;

exports.consume = async function consume(stream, work) {
  // A blocking read would hold up everything else on its connection.
  const reader = new Redis(process.env.REDIS);
  const redis = new Redis(process.env.REDIS);
  await redis.xgroup("CREATE", stream, "workers", "0", "MKSTREAM").catch((error) => {
    if (!error.message.startsWith("BUSYGROUP")) throw error;
  });
  const running = new Set();
  let from = "0"; // First what a process before this one left undone.
  for (;;) {
    const read = await reader.xreadgroup("GROUP", "workers", "one", "COUNT", BATCH, "BLOCK", 1000, "STREAMS", stream, from);
    const entries = read?.[0]?.[1] ?? [];
    if (from === "0" && entries.length === 0) from = ">";
    if (entries.length === 0) continue;
    const ids = entries.map(([id]) => id);
    const messages = entries.map(([, [, type, , text]]) => ({ type, text }));
    const pipeline = redis.pipeline();
    const done = work(messages, pipeline).then(() => pipeline.xack(stream, "workers", ...ids).exec()).then((results) => {
      for (const [error] of results) if (error) throw error;
      running.delete(done);
    });
    running.add(done);
    if (from === "0") await done;
    if (running.size >= UNDER_WAY) await Promise.race(running);
  }
};
