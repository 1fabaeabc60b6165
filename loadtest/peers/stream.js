// Reads a Redis stream in batches, a few under way at once, and deletes messages when they are done. Messages that were
// not done are still there after a restart. In its favour: there is one reader for a stream, so no consumer group is
// needed, and no message waits for reading or deletion.
const Redis = require("ioredis");

const BATCH = 512;
const UNDER_WAY = 4;

exports.consume = async function consume(stream, work) {
  // A blocking read would hold up everything else on its connection.
  const reader = new Redis(process.env.REDIS);
  const redis = new Redis(process.env.REDIS);
  const running = new Set();
  let last = "0";
  for (;;) {
    const read = await reader.xread("COUNT", BATCH, "BLOCK", 1000, "STREAMS", stream, last);
    if (!read) continue;
    const entries = read[0][1];
    const ids = entries.map(([id]) => id);
    last = ids[ids.length - 1];
    const messages = entries.map(([, [, type, , text]]) => ({ type, text }));
    const pipeline = redis.pipeline();
    const done = (async () => {
      await work(messages, pipeline);
      for (const [error] of await pipeline.xdel(stream, ...ids).exec()) if (error) throw error;
      running.delete(done);
    })();
    running.add(done);
    if (running.size >= UNDER_WAY) await Promise.race(running);
  }
};
