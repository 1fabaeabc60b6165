// Moves messages from the main queue to the queue of their type: a whole batch and its ack in one pipeline.
const { consume } = require("./stream.js");

consume("main", async (messages, pipeline) => {
  for (const { type, text } of messages) {
    pipeline.xadd(`q:${type}`, "*", "t", type, "m", text);
  }
});
