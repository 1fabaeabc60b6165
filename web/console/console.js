// The console page: a development token, one websocket, and every frame in both directions.

import { ask } from "../app/pairing.js";

const $ = (id) => document.getElementById(id);
const examples = {
  "post.create": { text: "hello, world" },
  "post.list": {},
  "post.get": { post: "" },
  "post.delete": { post: "" },
  "comment.create": { post: "", text: "nice" },
  "comment.list": { post: "" },
  "like.add": { post: "" },
  "like.remove": { post: "" },
  "follow.add": { user: "bob" },
  "follow.remove": { user: "bob" },
  "follow.list": { direction: "following" },
  "block.add": { user: "bob" },
  "block.remove": { user: "bob" },
  "dm.send": { to: "bob", text: "hi bob" },
  "dm.list": { with: "bob" },
  typing: { to: "bob" },
  "timeline.fetch": { limit: 10 },
  "presence.get": { users: ["alice", "bob"] },
  "profile.get": {},
  "profile.update": { name: "Alice", bio: "" },
};
for (const type of Object.keys(examples)) $("type").add(new Option(type, type));
const showExample = () => ($("json").value = JSON.stringify(examples[$("type").value]));
$("type").addEventListener("change", showExample);
showExample();

let socket, heartbeat;

function log(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  $("log").prepend(line);
  while ($("log").childElementCount > 500) $("log").lastElementChild.remove();
}

function send(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return log("note", "not connected");
  socket.send(JSON.stringify(frame));
  if (frame.op !== "ping") log("out", JSON.stringify(frame.token ? { ...frame, token: "…" } : frame));
}

$("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const handle = $("handle").value;
  // The examples follow bob, so he must exist.
  const answer = await ask("dev/tokens", { method: "POST", body: JSON.stringify({ handles: [handle, "alice", "bob"] }) });
  if (!answer.ok) return log("note", (await answer.json()).detail);
  const { tokens } = await answer.json();
  socket?.close();
  clearInterval(heartbeat);
  const mine = (socket = new WebSocket(Object.assign(new URL("v1/ws", location.href), { protocol: location.protocol.replace("http", "ws") }), "soundoff.v1"));
  mine.onopen = () => send({ op: "hello", token: tokens[handle], device: "console" });
  mine.onclose = ({ code, reason }) => {
    if (mine === socket) $("state").textContent = `closed: ${code} ${reason}`;
  };
  mine.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.op === "pong") return;
    log("in", data);
    if (frame.op === "push") send({ op: "ack", cursor: frame.seq });
    if (frame.op === "welcome") {
      $("state").textContent = `connected as ${frame.user}`;
      heartbeat = setInterval(() => send({ op: "ping" }), frame.heartbeat_ms);
    }
  };
});

$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    send({ op: "send", id: `console-${Date.now()}-${Math.random()}`, type: $("type").value, body: JSON.parse($("json").value) });
  } catch (error) {
    log("note", `the body is no JSON: ${error.message}`);
  }
});
