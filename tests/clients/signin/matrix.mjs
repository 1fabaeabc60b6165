// Everything that must be refused, one row each; and that after all of it nobody has come in.
import { randomUUID } from "node:crypto";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import { Phone } from "../jswalk/phone.mjs";
import * as api from "./api.mjs";
import { appleRows, goodClaims, keysFor, minted } from "./apple-rows.mjs";
import { Broken } from "./broken.mjs";
import { forged, signed } from "./forge.mjs";
import { APP, Mock } from "./mock.mjs";
import { BACK } from "./openid.mjs";
import { accessRows, codeRows, refreshRows, twitterRows } from "./rows.mjs";

const LEAST_ROWS = 60;
/** One user asks for all handles of the rows in the end. */
const QUICK = ["--messages-per-second", "10000", "--burst", "10000"];
/** Where id_tokens of the mock are taken: as Apple's, and as those of a provider that the operator has named. */
const TOKEN_PATHS = ["apple", "openid/mock"];

export async function matrix({ openid }) {
  const mock = await Mock.open();
  const keys = await keysFor(mock);
  try {
    await Backend.with([...api.WIDE, ...QUICK, ...mock.appleFlags(), ...mock.openidFlags(), ...openid.twitterFlags()], async (backend) => {
      const world = { backend, mock, keys, openid, join: () => api.signUp(backend), ghosts: [], rows: 0 };
      const oldCode = supersededCode(world);
      await controls(world);
      for (const path of TOKEN_PATHS) {
        await table(world, path, appleRows({ ...world, used: world.used[path] }), async (make) => {
          const nonce = randomUUID();
          const made = await make(nonce);
          return api.auth(backend, path, { ...(typeof made === "string" ? { id_token: made, nonce } : made), handle: ghost(world) });
        });
      }
      await check("no key set or certificate that a token named was fetched", () => equal(mock.baited, 0));
      await table(world, "twitter", twitterRows(world), async (make) => api.auth(backend, "twitter", { ...(await make()), handle: ghost(world) }));
      await table(world, "code", codeRows(world), async (make) => {
        const { kind, body } = await make();
        return api.auth(backend, `${kind}/verify`, { ...body, handle: ghost(world) });
      });
      await table(world, "refresh", refreshRows(world), async (make) => api.auth(backend, "refresh", await make()));
      await access(world);
      await check("code: the one before, with the request of the one that was sent after it", async () => {
        world.rows += 1;
        api.refused(await oldCode, 401, "unauthorized");
      });
      await afterwards(world);
    });
  } finally {
    await mock.close();
  }
  await expired();
  await broken();
}

function ghost(world) {
  world.ghosts.push(api.freshHandle("ghost"));
  return world.ghosts.at(-1);
}

async function table(world, group, rows, attempt) {
  for (const [name, make, status = 401, code = "unauthorized"] of rows) {
    world.rows += 1;
    await check(`${group}: ${name} is refused: ${status} ${code}`, async () => api.refused(await attempt(make), status, code));
  }
}

/** The same tokens and codes as in the tables, but valid: so a refusal there is for the reason that the row names. */
async function controls(world) {
  const { backend, mock, keys } = world;
  world.user = await api.signUp(backend);
  const header = { alg: "RS256", kid: keys.kid, typ: "JWT" };
  const ways = {
    "the provider's own": (nonce) => mock.idToken({ nonce }),
    "minted with its key": (nonce) => minted(keys.right, header, goodClaims(mock, nonce)),
    "put together by hand": (nonce) => forged(header, goodClaims(mock, nonce), signed(keys.right)),
    "of its curve": (nonce) => minted(keys.curve.privateKey, { alg: "ES256", kid: "curve" }, goodClaims(mock, nonce)),
    "for us alone, in a list": (nonce) => mock.idToken({ nonce, change: ({ payload }) => Object.assign(payload, { aud: [APP] }) }),
    "for us among others, issued to us": (nonce) => mock.idToken({ nonce, change: ({ payload }) => Object.assign(payload, { aud: [APP, "x"], azp: APP }) }),
    "of 7 KB": (nonce) => mock.idToken({ nonce, change: ({ payload }) => Object.assign(payload, { filling: "f".repeat(4800) }) }),
  };
  world.used = {};
  for (const path of TOKEN_PATHS) {
    for (const [name, make] of Object.entries(ways)) {
      await check(`control: ${path}: an id_token ${name} signs up`, async () => {
        const nonce = randomUUID();
        const [id_token, handle] = [await make(nonce), api.freshHandle()];
        api.session(await api.auth(backend, path, { id_token, nonce, handle }), { handle, created: true });
        world.used[path] = { id_token, nonce };
      });
    }
  }
  await check("control: a code of the provider signs up", async () => {
    world.usedCode = await world.openid.code("gustav");
    const handle = api.freshHandle();
    api.session(await api.auth(backend, "twitter", { ...world.usedCode, handle }), { handle, created: true });
  });
  const script = (zero) => (code) => code.replace(/\d/g, (digit) => String.fromCharCode(zero + Number(digit)));
  for (const [written, write] of [
    ["space around it", (code) => ` ${code}\n`],
    ["two groups", (code) => `${code.slice(0, 3)} ${code.slice(3)}`],
    ["a hyphen", (code) => `${code.slice(0, 3)}-${code.slice(3)}`],
    ["a dash and a narrow blank", (code) => `${code.slice(0, 2)}\u2013${code.slice(2, 4)}\u202f${code.slice(4)}`],
    ["a zero-width space behind", (code) => `${code}\u200b`],
    ["a mark of direction before", (code) => `\u200e${code}`],
    ["Arabic-Indic digits", script(0x660)],
    ["Persian digits", script(0x6f0)],
    ["full-width digits", script(0xff10)],
    ["no quotes", Number],
  ]) {
    await check(`control: a code with ${written} signs up`, async () => {
      const [mail, handle] = [api.freshMail(), api.freshHandle()];
      const sent = await api.codeFor(backend, mail);
      world.known = { email: mail, ...sent };
      api.session(await api.verify(backend, mail, { sent, code: write(sent.code), handle }), { handle, created: true });
    });
  }
  await check("control: the right code at the fifth try signs up", async () => {
    const [mail, handle] = [api.freshMail(), api.freshHandle()];
    const sent = await api.codeFor(backend, mail);
    for (let n = 0; n < 4; n++) api.refused(await api.verify(backend, mail, { sent, code: "x" }), 401, "unauthorized");
    api.session(await api.verify(backend, mail, { sent, handle }), { handle, created: true });
  });
}

/** An address's first code after its second was sent. Begun early: five seconds must lie between them. */
async function supersededCode(world) {
  const mail = api.freshMail();
  const first = await api.codeFor(world.backend, mail);
  api.refused(await api.auth(world.backend, "email/start", { email: mail }), 429, "rate_limited");
  const second = await api.codeFor(world.backend, mail);
  return api.verify(world.backend, mail, { sent: second, code: first.code, handle: ghost(world) });
}

async function access(world) {
  const keySet = (await api.call(world.backend, "/.well-known/jwks.json", { method: "GET" })).body;
  await check("control: the user's access token opens a socket", () => api.opensSocket(world.backend, world.user));
  for (const [name, token] of await accessRows({ ...world, keySet, idToken: await world.mock.idToken() })) {
    world.rows += 1;
    await check(`access: ${name} opens no socket, by header or hello, and no call`, () => api.opensNothing(world.backend, token));
  }
  await check("a proof with an invalid access token signs nobody in, and is not used up", async () => {
    const [nonce, handle] = [randomUUID(), api.freshHandle()];
    const id_token = await world.mock.idToken({ nonce });
    api.refused(await api.auth(world.backend, "apple", { id_token, nonce, handle }, `${world.user.access}x`), 401, "unauthorized");
    api.session(await api.auth(world.backend, "apple", { id_token, nonce, handle }), { handle, created: true });
  });
}

async function afterwards({ backend, ghosts, rows, user }) {
  await check(`there are ${rows} rows, and ${LEAST_ROWS} at least`, () => must(rows >= LEAST_ROWS, rows));
  await check("no user was made: every handle of the rows is unknown, and free", async () => {
    must(ghosts.length > LEAST_ROWS, ghosts.length);
    const phone = await Phone.open(backend, user.access);
    const found = [];
    for (const handle of ghosts) {
      const { reply } = await phone.call("profile.get", { user: handle });
      if (reply.ok) found.push(handle);
      else equal(reply.error.code, "not_found");
    }
    await phone.bye();
    equal(found, []);
    for (const handle of [ghosts[0], ghosts.at(-1)]) await api.signUp(backend, handle);
  });
}

/** Real tokens that expire after a second. */
async function expired() {
  await Backend.with(["--access-token-s", "1", ...api.WIDE], async (backend) => {
    await check("access: an expired token opens no socket, by header or hello, and no call; its refresh token still does", async () => {
      const { access, refresh, handle } = await api.signUp(backend);
      const { iat, exp } = api.claimsOf(access);
      equal(exp - iat, 1);
      await api.until("the end of the token", () => Date.now() >= exp * 1000);
      await api.opensNothing(backend, access);
      const { status, body } = await api.auth(backend, "refresh", { refresh_token: refresh });
      equal([status, body.user], [200, { handle }]);
    });
  });
}

/** A provider that fails in every way: no session, and an answer within ten seconds. */
async function broken() {
  const provider = await Broken.open();
  try {
    await Backend.with([...api.WIDE, ...provider.twitterFlags()], async (backend) => {
      const attempt = (code) => {
        const body = { code, code_verifier: "v".repeat(43), redirect_uri: BACK, handle: api.freshHandle("ghost") };
        return api.auth(backend, "twitter", body);
      };
      // All at once: some take until the server loses patience.
      await Promise.all(Broken.ways.map((way) =>
        check(`provider: ${way}: 503 overloaded, within 10 s`, async () => {
          const begun = Date.now();
          api.refused(await attempt(way), 503, "overloaded");
          must(Date.now() - begun < 10_000, `${Date.now() - begun} ms`);
        })));
      // So many failures: the provider is asked again after a pause.
      const answered = async (code) => {
        const begun = Date.now();
        for (;;) {
          const answer = await attempt(code);
          if (answer.status !== 503 || Date.now() - begun > 10_000) return answer;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      };
      await check("provider: a code that it refuses is the client's fault: 401", async () => api.refused(await answered("invalid_grant"), 401, "unauthorized"));
      await check("no redirect of the provider's was followed", () => equal(provider.trapped, 0));
      await check("control: the provider whole again signs up", async () => equal((await answered("good")).body.created, true));
    });
  } finally {
    await provider.close();
  }
}
