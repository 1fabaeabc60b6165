// Answers profile.get, which has no effect, and posts a batch's replies to the edge in one request on a kept
// connection. In its favour: the profile is invented instead of being read.
const http = require("node:http");
const { consume } = require("./stream.js");

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

function post(deliveries) {
  const body = JSON.stringify({ deliveries });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, port: process.env.PORT, host: "127.0.0.1", method: "POST", path: "/deliver", headers }, (response) => {
      response.resume();
      response.on("end", () => (response.statusCode === 200 ? resolve() : reject(new Error(`edge: ${response.statusCode}`))));
    });
    request.on("error", reject);
    request.end(body);
  });
}

consume("q:profile.get", (messages) => {
  const deliveries = messages.map(({ text }) => {
    const { user, id, body } = JSON.parse(text);
    const profile = { handle: body.user, name: "", bio: "", followers: 0, following: 0, posts: 0, created_at: "2026-01-01T00:00:00.000Z" };
    return { to: user, text: JSON.stringify({ op: "reply", id, ok: true, body: { user: profile } }) };
  });
  return post(deliveries);
});
