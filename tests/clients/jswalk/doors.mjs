// Doors that close: the upgrade, tokens, invalid frames, limits, and every close code.
import { Backend } from "./backend.mjs";
import { check, equal, must, shape } from "./checks.mjs";
import { Phone, wellFormed } from "./phone.mjs";

export async function doors() {
  await Backend.with([], async (backend) => {
    await upgrade(backend);
    await welcome(backend);
    await keys(backend);
    await noise(backend);
    await breaches(backend);
    await check("behind the doors the queues are empty", () => backend.settle());
  });
  await Backend.with(["--heartbeat-ms", "500", "--hello-timeout-ms", "500", "--sockets-per-user", "3"], impatience);
  await Backend.with(["--messages-per-second", "20", "--burst", "10", "--frame-bytes", "4096", "--max-sockets", "3"], narrowness);
  await Backend.with(["--queue-bytes", "100000", "--messages-per-second", "50000", "--burst", "50000", "--type-limits", "off"], fullness);
  await Backend.with(["--messages-per-second", "50000", "--burst", "50000", "--type-limits", "off"], gluttony);
}

async function upgrade(backend) {
  const token = await backend.token("wanda");
  await check("the subprotocol is echoed", async () => {
    const phone = await Phone.dial(backend, { protocols: ["soundoff.v1"] });
    equal(phone.socket.protocol, "soundoff.v1");
    await phone.drop();
  });
  await check("without an offer there is no subprotocol, and it works", async () => {
    const phone = await Phone.dial(backend, { protocols: [] });
    equal(phone.socket.protocol, "");
    phone.write({ op: "hello", token });
    await phone.take((f) => f.op === "welcome", "welcome");
    await phone.bye();
  });
  await check("the token may come with the upgrade", async () => {
    const phone = await Phone.dial(backend, { headers: { authorization: `Bearer ${token}` } });
    phone.write({ op: "hello", device: "d" });
    equal((await phone.take((f) => f.op === "welcome", "welcome")).user, "wanda");
    await phone.bye();
  });
  await check("another kind of authorization is a proxy's", async () => {
    const phone = await Phone.dial(backend, { headers: { authorization: `Basic ${btoa("wanda:secret")}` } });
    phone.write({ op: "hello", token });
    await phone.take((f) => f.op === "welcome", "welcome");
    await phone.bye();
  });
  for (const authorization of ["Bearer what?", `Bearer ${token}x`, "Bearer"]) {
    await check(`401 and problem+json for ${authorization.slice(0, 12).trim()}`, async () => {
      const refusal = await Phone.dial(backend, { headers: { authorization } }).then(() => must(false, "upgraded"), (error) => error);
      must(refusal.response, refusal.message);
      equal(refusal.response.statusCode, 401);
      must(refusal.response.headers["content-type"].startsWith("application/problem+json"), refusal.response.headers);
      const problem = JSON.parse(refusal.body);
      equal([problem.status, typeof problem.title], [401, "string"]);
    });
  }
  await check("two users in header and hello are one too many: 4500", async () => {
    const phone = await Phone.dial(backend, { headers: { authorization: `Bearer ${token}` } });
    phone.write({ op: "hello", token: await backend.token("xaver") });
    equal(await phone.closeCode(), 4500);
  });
  await check("the dev endpoint refuses nonsense with problem+json", async () => {
    for (const body of [{ handles: ["UPPER"] }, { handles: "wanda" }, {}]) {
      const { status, type } = await backend.post("/dev/tokens", body);
      must(status >= 400 && status < 500 && type.startsWith("application/problem+json"), { status, type, body });
    }
  });
}

async function welcome(backend) {
  await check("welcome has every field, and no other", async () => {
    const phone = await Phone.open(backend, await backend.token("xaver"));
    const { limits: { types, ...limits }, ...rest } = phone.welcome;
    equal(types["post.create"], { cost: 4, per_minute: 30, per_day: 1000 });
    shape({ ...rest, limits }, {
      op: "welcome", session: "string", user: "xaver", cursor: 0, heartbeat_ms: 30000, token_expires_at: "time",
      limits: { frame_bytes: 32768, messages_per_second: 100, burst: 200 },
    });
    await phone.roundTrip();
    equal(await phone.bye(), 1000);
  });
  await check("unknown fields are ignored", async () => {
    const phone = await Phone.dial(backend);
    phone.write({ op: "hello", token: await backend.token("xaver"), version: 99, extensions: ["x"] });
    await phone.take((f) => f.op === "welcome", "welcome");
    phone.write({ trace: null, body: { n: 1 }, op: "send", type: "profile.get", id: "x" });
    must((await phone.take((f) => f.op === "reply", "reply")).ok, "refused");
    equal(await phone.bye(), 1000);
  });
}

async function keys(backend) {
  const token = await backend.token("yara");
  await check("4500: a hello with a token that opens nothing", async () => {
    for (const bad of ["x", `${token}x`, token.split(".").slice(0, 2).join(".")]) {
      const phone = await Phone.dial(backend);
      phone.write({ op: "hello", token: bad });
      equal(await phone.closeCode(), 4500);
    }
  });
  await check("4005: a token expires on a live socket, after auth_due", async () => {
    const phone = await Phone.open(backend, await backend.token("yara", 3));
    const due = await phone.take((f) => f.op === "auth_due", "auth_due");
    shape(due, { op: "auth_due", expires_in_ms: "number" });
    equal(await phone.closeCode(), 4005);
  });
  await check("auth: a fresh token in time, and the socket lives on", async () => {
    const brief = await backend.token("yara", 3);
    const [careless, careful] = [await Phone.open(backend, brief), await Phone.open(backend, brief)];
    await careful.take((f) => f.op === "auth_due", "auth_due");
    careful.write({ op: "auth", token });
    shape(await careful.take((f) => f.op === "auth_ok", "auth_ok"), { op: "auth_ok", token_expires_at: "time" });
    equal(await careless.closeCode(), 4005);
    await careful.roundTrip();
    await careful.get("profile.get", {});
    await careful.bye();
  });
  await check("unauthorized and forbidden: auth with nonsense, auth as somebody else", async () => {
    const phone = await Phone.open(backend, token);
    phone.write({ op: "auth", token: "nonsense" });
    equal(wellFormed((await phone.take((f) => f.op === "error", "error")).error).code, "unauthorized");
    phone.write({ op: "auth", token: await backend.token("zeno") });
    equal(wellFormed((await phone.take((f) => f.op === "error", "error")).error).code, "forbidden");
    equal((await phone.get("profile.get", {})).user.handle, "yara");
    await phone.bye();
  });
  await check("4503: an operator revokes a user's sessions, and the token opens nothing", async () => {
    const victim = await Phone.open(backend, token);
    const bystander = await Phone.open(backend, await backend.token("zeno"));
    await backend.operate("users", "revoke", "yara");
    equal(await victim.closeCode(), 4503);
    await bystander.roundTrip();
    await bystander.bye();
    const late = await Phone.dial(backend);
    late.write({ op: "hello", token });
    must([4500, 4503].includes(await late.closeCode()), "it is let in");
  });
}

async function noise(backend) {
  const phone = await Phone.open(backend, await backend.token("alf"));
  const noises = [
    ["hello, world"], ["42"], ["[1,2]"], ["{}"], ['{"op":null}'], ['{"op":"OPEN"}'], ['{"op":"ping"'],
    ['{"op":"send","id":"k1","type":"typing"}', "k1"], ['{"op":"send","id":"k2","body":{}}', "k2"],
    ['{"op":"send","id":5,"type":"typing","body":{}}'], [`{"op":"send","id":"${"k".repeat(65)}","type":"typing","body":{}}`],
    ['{"op":"ack","cursor":"5"}'], ['{"op":"auth","token":7}'], ['{"op":"hello"}'],
  ];
  await check("bad_frame: noise is refused by name, and the socket lives", async () => {
    for (const [text, id] of noises) {
      phone.write(text);
      const { error, ...frame } = await phone.take((f) => f.op === "error", `an error for ${text}`);
      equal([text, frame], [text, id ? { op: "error", id } : { op: "error" }]);
      equal(wellFormed(error).code, "bad_frame");
      await phone.roundTrip();
    }
  });
  await check("an id may have 64 characters of any kind", async () => {
    const id = `"\\\n\u{1f600}${"ö".repeat(59)}`;
    equal([...id].length, 63);
    equal((await phone.call("profile.get", {}, `${id}!`)).reply.ok, true);
  });
  await phone.bye();
}

async function breaches(backend) {
  const token = await backend.token("bea");
  const breach = (name, act) =>
    check(`4501: ${name}`, async () => {
      const phone = await Phone.open(backend, token);
      await act(phone);
      equal(await phone.closeCode(), 4501);
    });
  await breach("a binary frame", (phone) => phone.write(Buffer.from('{"op":"ping"}')));
  await breach("ten bad frames in a row", async (phone) => {
    for (const round of [9, 9, 10]) {
      for (let n = 0; n < round; n++) phone.write("?");
      if (round === 9) await phone.roundTrip();
    }
    equal(phone.frames.filter((f) => f.op === "error").length >= 18, true);
  });
  await breach("a frame of eight times 32 KiB and a byte; one of 32 KiB and a byte is too_large", async (phone) => {
    const filled = (bytes) => `{"op":"ping","fill":"${"f".repeat(bytes - 23)}"}`;
    equal(filled(32768).length, 32768);
    phone.write(filled(32768));
    await phone.take((f) => f.op === "pong", "pong");
    phone.write(filled(32769));
    equal((await phone.take((f) => f.op === "error", "error")).error.code, "too_large");
    phone.write(filled(8 * 32768 + 1));
  });
  await breach("fragments that add up to too much", async (phone) => {
    for (let n = 0; n < 5; n++) phone.socket.send("x".repeat(8000), { fin: false });
  });
  await breach("reserved bits", (phone) => phone.inject([0xf1, 0x80, 0, 0, 0, 0]));
  await breach("a continuation of nothing", (phone) => phone.inject([0x80, 0x80, 0, 0, 0, 0]));
  await breach("a ping that is too long", (phone) => phone.inject([0x89, 0xfe, 0x00, 0x80, 0, 0, 0, 0]));
  await breach("no mask", (phone) => phone.inject([0x81, 0x02, 0x7b, 0x7d]));
  await check("websocket pings are answered, a close is echoed", async () => {
    const phone = await Phone.open(backend, token);
    const pong = new Promise((resolve) => phone.socket.once("pong", (data) => resolve(data.toString())));
    phone.socket.ping("are you there?");
    equal(await pong, "are you there?");
    phone.socket.close(1000);
    equal(await phone.closeCode(), 1000);
  });
}

async function impatience(backend) {
  const token = await backend.token("cora");
  await check("4007: a device that does not say hello", async () => {
    const phone = await Phone.dial(backend);
    equal(await phone.closeCode(), 4007);
  });
  await check("4007: a device that sends something else first", async () => {
    const phone = await Phone.dial(backend);
    phone.write({ op: "ping" });
    equal(await phone.closeCode(), 4007);
  });
  await check("4003: a device that is silent for two heartbeats; a pinging neighbour stays", async () => {
    const neighbour = (await Phone.open(backend, token)).keepAlive();
    equal(neighbour.welcome.heartbeat_ms, 500);
    const silent = await Phone.open(backend, token);
    equal(await silent.closeCode(), 4003);
    await neighbour.roundTrip();
    await neighbour.bye();
  });
  await check("4429: one socket too many; when one leaves there is room", async () => {
    const phones = [];
    for (let n = 0; n < 3; n++) phones.push((await Phone.open(backend, token)).keepAlive());
    const surplus = await Phone.dial(backend);
    surplus.write({ op: "hello", token });
    equal(await surplus.closeCode(), 4429);
    await Promise.all(phones.map((phone) => phone.roundTrip()));
    equal(await phones.pop().bye(), 1000);
    phones.push((await Phone.open(backend, token)).keepAlive());
    await Promise.all(phones.map((phone) => phone.bye()));
  });
  await check("after the impatient server the queues are empty", () => backend.settle());
}

async function narrowness(backend) {
  const phone = await Phone.open(backend, await backend.token("dora"));
  await check("rate_limited: the burst passes, the rest gets a time to come again, and comes again", async () => {
    const { types, ...limits } = phone.welcome.limits;
    equal(limits, { frame_bytes: 4096, messages_per_second: 20, burst: 10 });
    equal(types["dm.send"], { cost: 1, per_minute: 120, per_day: 10000 });
    const texts = Array.from({ length: 30 }, (_, n) => `rush ${n}`);
    for (const text of texts) phone.post("post.create", { text }, text);
    let refusals = 0;
    const open = new Set(texts);
    while (open.size > 0) {
      const frame = await phone.take((f) => open.has(f.id) && f.op !== "accepted", "an outcome");
      if (frame.op === "reply") {
        must(frame.ok && !frame.duplicate, frame);
        open.delete(frame.id);
        continue;
      }
      refusals += 1;
      equal(wellFormed(frame.error).code, "rate_limited");
      must(frame.error.retry_after_ms > 0, frame);
      // Wait as the server says.
      setTimeout(() => phone.post("post.create", { text: frame.id }, frame.id), frame.error.retry_after_ms);
    }
    must(refusals >= 15, `${refusals} refusals`);
    const made = (await phone.get("profile.get", {}).catch(() => phone.get("profile.get", {}))).user.posts;
    equal(made, 30);
  });
  await check("too_large: the frame limit is what welcome says", async () => {
    const other = await Phone.open(backend, await backend.token("dirk"));
    other.write(`{"op":"ping","fill":"${"f".repeat(4096)}"}`);
    equal((await other.take((f) => f.op === "error", "error")).error.code, "too_large");
    await other.bye();
  });
  await check("4418: a full edge says how long to stay away", async () => {
    const others = [await Phone.open(backend, await backend.token("dirk")), await Phone.open(backend, await backend.token("dana"))];
    const surplus = await Phone.dial(backend);
    const { code, reason } = await surplus.closed;
    equal(code, 4418);
    const { retry_after_ms: wait } = JSON.parse(reason);
    must(Number.isInteger(wait) && wait > 0, reason);
    await Promise.all(others.map((other) => other.bye()));
  });
  await phone.bye();
  await check("after the narrow server the queues are empty", () => backend.settle());
}

async function fullness(backend) {
  const emil = await Phone.open(backend, await backend.token("emil"));
  await check("overloaded: a full queue refuses, and takes every message once in the end", async () => {
    await backend.operate("workers", "pause");
    const text = "字".repeat(2000);
    const ids = Array.from({ length: 40 }, (_, n) => `load-${n}`);
    for (const id of ids) emil.post("post.create", { text: `${id} ${text.slice(0, 1900)}` }, id);
    const refused = await emil.take((f) => f.op === "error", "a refusal");
    equal(wellFormed(refused.error).code, "overloaded");
    await backend.operate("workers", "resume");
    const again = (id) => emil.post("post.create", { text: `${id} ${text.slice(0, 1900)}` }, id);
    again(refused.id);
    const open = new Set(ids);
    while (open.size > 0) {
      const frame = await emil.take((f) => open.has(f.id) && f.op !== "accepted", "an outcome");
      if (frame.op === "reply") {
        must(frame.ok, frame);
        open.delete(frame.id);
      } else {
        equal(wellFormed(frame.error).code, "overloaded");
        setTimeout(() => again(frame.id), frame.error.retry_after_ms ?? 100);
      }
    }
    equal((await emil.get("profile.get", {})).user.posts, 40);
  });
  await emil.bye();
  await check("after the full server the queues are empty", () => backend.settle());
}

async function gluttony(backend) {
  const emil = await Phone.open(backend, await backend.token("emil"));
  for (let n = 0; n < 40; n++) await emil.get("post.create", { text: `${n} ${"字".repeat(1900)}` });
  await check("4002: a device that asks and reads no answer", async () => {
    const glutton = await Phone.open(backend, await backend.token("gero"));
    glutton.socket.pause();
    for (let n = 0; n < 150; n++) glutton.post("post.list", { user: "emil", limit: 40 });
    // Others see it close by its being offline; then the rest can be read.
    while ((await emil.get("presence.get", { users: ["gero"] })).online.length > 0);
    glutton.socket.resume();
    equal(await glutton.closeCode(), 4002);
  });
  await emil.bye();
  await check("after the glutton the queues are empty", () => backend.settle());
}
