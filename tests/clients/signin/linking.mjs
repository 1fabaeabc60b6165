// Several ways into one account, and none into another's; and no answer reveals who has one.
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must, shape } from "../jswalk/checks.mjs";
import * as api from "./api.mjs";
import { Mock } from "./mock.mjs";

export async function linking({ openid }) {
  const mock = await Mock.open();
  try {
    await Backend.with([...api.WIDE, ...mock.appleFlags(), ...openid.twitterFlags()], async (backend) => {
      const apple = async (sub) => {
        const nonce = randomUUID();
        return { id_token: await mock.idToken({ nonce, sub }), nonce };
      };
      const world = { backend, openid, apple };
      await fourWays(world);
      await races(world);
      await unlinking(world);
      await handles(world);
      await silence(world);
    });
  } finally {
    await mock.close();
  }
  await limits();
}

async function fourWays({ backend, openid, apple }) {
  const anna = await api.signUp(backend);
  const { handle, access } = anna;
  const [phone, sub, login] = [api.freshPhone(), randomUUID(), `user-${randomUUID()}`];
  await check("link: a phone, an Apple and a Twitter/X account join the mail address", async () => {
    api.linked(await api.verify(backend, phone, { bearer: access }), { handle, kind: "phone" });
    api.linked(await api.auth(backend, "apple", await apple(sub), access), { handle, kind: "apple" });
    api.linked(await api.auth(backend, "twitter", await openid.code(login), access), { handle, kind: "twitter" });
  });
  await check("link: the list has the four, masked", async () => {
    const items = await api.identities(backend, access);
    for (const item of items) shape(item, { id: "string", kind: "string", value: "string", linked_at: "time" });
    const value = Object.fromEntries(items.map((item) => [item.kind, item.value]));
    equal(value, { email: "a…@example.org", phone: `+49…${phone.slice(-2)}`, apple: "…", twitter: "…" });
    equal(items.length, 4);
  });
  await check("link: one's own once more changes nothing", async () => {
    api.linked(await api.auth(backend, "apple", await apple(sub), access), { handle, kind: "apple" });
    equal((await api.identities(backend, access)).length, 4);
  });
  await check("link: each of the four signs the same account in", async () => {
    const same = { handle, created: false };
    api.session(await api.auth(backend, "apple", await apple(sub)), same);
    api.session(await api.auth(backend, "twitter", await openid.code(login)), same);
    // The last codes went there a moment ago: for the next, five seconds are to pass.
    const answers = await Promise.all([anna.mail, phone].map((address) => api.verify(backend, address)));
    for (const answer of answers) api.session(answer, same);
  });
  await check("link: an address is the same however it is written", async () => {
    const bert = await api.signUp(backend);
    const sent = await api.codeFor(backend, bert.mail);
    const odd = ` ${bert.mail.toUpperCase()} `;
    api.session(await api.verify(backend, odd, { sent }), { handle: bert.handle, created: false });
  });
  await check("link: what is another's stays another's: 409 conflict", async () => {
    const carl = await api.signUp(backend);
    api.refused(await api.auth(backend, "apple", await apple(sub), carl.access), 409, "conflict");
    api.refused(await api.auth(backend, "twitter", await openid.code(login), carl.access), 409, "conflict");
    equal((await api.identities(backend, carl.access)).map(({ kind }) => kind), ["email"]);
    api.session(await api.auth(backend, "apple", await apple(sub)), { handle, created: false });
  });
  await check("link: of twenty ways to sign in none is one too many, of twenty-one the last", async () => {
    const dora = await api.signUp(backend);
    for (let n = 1; n < 20; n++) api.linked(await api.auth(backend, "apple", await apple(), dora.access), { handle: dora.handle, kind: "apple" });
    api.refused(await api.auth(backend, "apple", await apple(), dora.access), 409, "conflict");
    equal((await api.identities(backend, dora.access)).length, 20);
  });
  await check("link: a user who has logged out links nothing more", async () => {
    const emil = await api.signUp(backend);
    equal((await api.auth(backend, "logout", { refresh_token: emil.refresh })).status, 204);
    api.refused(await api.auth(backend, "apple", await apple(), emil.access), 401, "unauthorized");
  });
}

async function races({ backend, apple }) {
  await check("race: two who link one account at once: it is one's, and the other's conflict", async () => {
    for (let round = 0; round < 5; round++) {
      const users = [await api.signUp(backend), await api.signUp(backend)];
      const sub = randomUUID();
      const proofs = [await apple(sub), await apple(sub)];
      const answers = await Promise.all(users.map((user, n) => api.auth(backend, "apple", proofs[n], user.access)));
      equal(answers.map(({ status }) => status).sort(), [200, 409]);
      const winner = users[answers.findIndex(({ status }) => status === 200)];
      api.session(await api.auth(backend, "apple", await apple(sub)), { handle: winner.handle, created: false });
    }
  });
  await check("race: one newcomer on two devices at once becomes one account", async () => {
    for (let round = 0; round < 5; round++) {
      const sub = randomUUID();
      const asked = [{ ...(await apple(sub)), handle: api.freshHandle() }, { ...(await apple(sub)), handle: api.freshHandle() }];
      const answers = await Promise.all(asked.map((body) => api.auth(backend, "apple", body)));
      equal(answers.map(({ status, body }) => [status, body.created]).sort(), [[200, false], [200, true]]);
      equal(answers[0].body.user, answers[1].body.user);
    }
  });
  await check("race: two newcomers who want one handle at once: one gets it", async () => {
    for (let round = 0; round < 5; round++) {
      const handle = api.freshHandle();
      const asked = [{ ...(await apple()), handle }, { ...(await apple()), handle }];
      const answers = await Promise.all(asked.map((body) => api.auth(backend, "apple", body)));
      equal(answers.map(({ status }) => status).sort(), [200, 409]);
      const loser = asked[answers.findIndex(({ status }) => status === 409)];
      const other = api.freshHandle();
      api.session(await api.auth(backend, "apple", { ...loser, handle: other }), { handle: other, created: true });
    }
  });
}

/** What was added can be taken away, down to the last; and a session that has ended adds nothing any more. */
async function unlinking({ backend, apple }) {
  const anna = await api.signUp(backend);
  const remove = (id, bearer = anna.access) =>
    api.call(backend, `/v1/auth/identities/${id}`, { method: "DELETE", bearer });
  const sub = randomUUID();
  api.linked(await api.auth(backend, "apple", await apple(sub), anna.access), { handle: anna.handle, kind: "apple" });
  const ids = Object.fromEntries((await api.identities(backend, anna.access)).map(({ kind, id }) => [kind, id]));
  await check("unlink: not another user's, and no invalid id", async () => {
    const bert = await api.signUp(backend);
    api.refused(await remove(ids.email, bert.access), 404, "not_found");
    for (const id of ["x", "email.x", `email.${"0".repeat(64)}`]) api.refused(await remove(id), 404, "not_found");
    api.refused(await remove(ids.email, "x"), 401, "unauthorized");
  });
  await check("unlink: of two at once one stays", async () => {
    const statuses = (await Promise.all([remove(ids.email), remove(ids.apple)])).map(({ status }) => status).sort();
    equal(statuses, [204, 409]);
    const left = await api.identities(backend, anna.access);
    equal(left.length, 1);
    api.refused(await remove(left[0].id), 409, "conflict");
    // Who comes with the one that went is a stranger now.
    const answer = left[0].kind === "email" ? await api.auth(backend, "apple", await apple(sub)) : await api.verify(backend, anna.mail);
    api.refused(answer, 409, "handle_required");
  });
  await check("link: a session that ends while the request is under way adds nothing", async () => {
    const carl = await api.signUp(backend);
    const proof = JSON.stringify(await apple());
    const { hostname, port } = new URL(backend.origin);
    const socket = connect(Number(port), hostname);
    const answer = new Promise((resolve, reject) => {
      let text = "";
      socket.on("data", (data) => (text += data)).on("end", () => resolve(text)).on("error", reject);
    });
    socket.write(`POST /v1/auth/apple HTTP/1.1\r\nhost: ${hostname}:${port}\r\nconnection: close\r\nauthorization: Bearer ${carl.access}\r\ncontent-length: ${proof.length}\r\n\r\n`);
    // The head has been judged once the server waits for the body.
    await api.until("the call is under way", async () => socket.bytesWritten > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    equal((await api.auth(backend, "logout", { refresh_token: carl.refresh })).status, 204);
    socket.write(proof);
    must((await answer).startsWith("HTTP/1.1 401"), await answer);
  });
}

async function handles({ backend, apple }) {
  const taken = (await api.signUp(backend)).handle;
  await check("handles: taken, reserved and malformed ones are refused, and the proof is not used up", async () => {
    const proof = await apple();
    for (const [handle, status, code] of [
      [taken, 409, "conflict"], ["admin", 409, "conflict"], ["__proto__", 409, "conflict"], ["constructor", 409, "conflict"], ["soundoff", 409, "conflict"], ["", 400, "bad_message"], ["ab", 400, "bad_message"],
      ["UPPER", 400, "bad_message"], ["a".repeat(31), 400, "bad_message"], ["аnna", 400, "bad_message"], ["an na", 400, "bad_message"], [7, 400, "bad_message"],
    ]) {
      const answer = await api.auth(backend, "apple", { ...proof, handle });
      equal([handle, answer.status, answer.body.code], [handle, status, code]);
    }
    const handle = api.freshHandle();
    api.session(await api.auth(backend, "apple", { ...proof, handle }), { handle, created: true });
  });
}

/** No answer distinguishes a known address from an unknown one. */
async function silence({ backend }) {
  const { mail } = await api.signUp(backend);
  const seen = ({ status, text, headers }) => {
    const rest = Object.fromEntries([...headers].filter(([name]) => name !== "date"));
    // Each request has a name of its own, of one length, and the address is what was asked for.
    return JSON.stringify([status, text.replace(/[0-9A-Z]{26}/, "a request").replace(/"to":"[^"]*"/, "the address"), rest]);
  };
  await check("silence: a known and an unknown address get the same answer to start, to the byte", async () => {
    const known = await api.until("another code", async () => {
      const answer = await api.auth(backend, "email/start", { email: mail });
      return answer.status === 202 && answer;
    });
    equal(seen(await api.auth(backend, "email/start", { email: api.freshMail("anna") })), seen(known));
  });
  await check("silence: and to a wrong code", async () => {
    const [known, unknown] = [mail, api.freshMail()];
    const answers = [];
    for (const email of [known, unknown]) answers.push(seen(await api.auth(backend, "email/verify", { email, request: "01ARZ3NDEKTSV4RRFFQ69G5FAV", code: "x" })));
    equal(answers[0], answers[1]);
    must(answers[0].startsWith("[401"), answers[0]);
  });
  await check("silence: only somebody who has an address's code learns that it has no account", async () => {
    api.refused(await api.verify(backend, api.freshMail()), 409, "handle_required");
  });
}

/** The limits per address on the net, which the other servers have out of the way; and what is not configured. */
async function limits() {
  await Backend.with(["--codes-per-minute", "2", "--sign-ins-per-minute", "3"], async (backend) => {
    await check("limits: the third code in a minute: 429, and when to come again", async () => {
      for (let n = 0; n < 2; n++) equal((await api.auth(backend, "email/start", { email: api.freshMail() })).status, 202);
      const { headers } = api.refused(await api.auth(backend, "email/start", { email: api.freshMail() }), 429, "rate_limited");
      must(Number(headers.get("retry-after")) <= 31, headers.get("retry-after"));
    });
    await check("limits: the fourth try to get in within a minute, whichever way", async () => {
      for (const path of ["refresh", "logout", "email/verify"]) {
        must((await api.auth(backend, path, { refresh_token: "x", email: "a@example.org", request: "x", code: "1" })).status !== 429, path);
      }
      for (const path of ["refresh", "email/verify", "apple", "twitter"]) api.refused(await api.auth(backend, path, {}), 429, "rate_limited");
    });
    await check("limits: a forwarded address is not believed", async () => {
      const answer = await fetch(`${backend.origin}/v1/auth/refresh`, { method: "POST", body: "{}", headers: { "x-forwarded-for": "192.0.2.1", forwarded: "for=192.0.2.1" } });
      equal(answer.status, 429);
    });
  });
  await Backend.with(api.WIDE, async (backend) => {
    await check("without their flags Apple and Twitter/X are not there: 404 not_configured", async () => {
      for (const path of ["apple", "twitter"]) api.refused(await api.auth(backend, path, {}), 404, "not_configured");
    });
    await check("unknown calls: 404 not_found; other methods: 405 and the one to use", async () => {
      const unknown = await api.auth(backend, "google", {});
      equal([unknown.status, unknown.body.code], [404, "not_found"]);
      for (const [method, path, allow] of [["GET", "/v1/auth/apple", "POST"], ["POST", "/v1/auth/identities", "GET"], ["POST", "/.well-known/jwks.json", "GET"]]) {
        const { status, headers, body } = await api.call(backend, path, { method });
        equal([path, status, body.code, headers.get("allow")], [path, 405, "bad_message", allow]);
      }
    });
    await check("identities without a token: 401", async () => api.refused(await api.call(backend, "/v1/auth/identities", { method: "GET" }), 401, "unauthorized"));
    await check("limits: an address gets no second code within five seconds", async () => {
      const mail = api.freshMail();
      equal((await api.auth(backend, "email/start", { email: mail })).status, 202);
      const { headers } = api.refused(await api.auth(backend, "email/start", { email: mail }), 429, "rate_limited");
      must(Number(headers.get("retry-after")) <= 5, headers.get("retry-after"));
    });
  });
}
