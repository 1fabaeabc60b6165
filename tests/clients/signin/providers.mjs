// Providers that an operator names: everything but the issuer is found by discovery, and users come with a code or with
// an id_token.
import { randomUUID } from "node:crypto";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import * as api from "./api.mjs";
import { Broken } from "./broken.mjs";
import { goodClaims, keysFor, minted } from "./apple-rows.mjs";
import { APP, Mock } from "./mock.mjs";
import { BACK } from "./openid.mjs";

const flags = (...providers) => ["--openid-providers", JSON.stringify(providers)];
const ways = async (backend) => (await api.call(backend, "/v1/auth/ways", { method: "GET" })).body;

export async function providers({ openid }) {
  const twin = openid.provider({ name: "twin", title: "Twin" });
  await Backend.with([...api.WIDE, ...flags(openid.provider(), twin), ...openid.twitterFlags()], async (backend) => {
    await offered(backend, openid);
    await byCode(backend, openid);
    await byToken(backend, openid);
    await apart(backend, openid);
  });
  await rotating();
  await lies();
  await broken();
}

async function offered(backend, openid) {
  await check("ways: a page is told all that it needs, some of it by discovery", async () => {
    const listed = await api.until("discovery", async () => {
      const { openid } = await ways(backend);
      return openid.every(({ authorize_url }) => authorize_url) && openid;
    });
    equal(listed.map(({ name }) => name), ["certified", "twin"]);
    const { redirect_uris } = openid.provider();
    equal(listed[0], {
      name: "certified", title: "Certified", issuer: openid.url, client_id: openid.web.client_id,
      authorize_url: `${openid.url}/auth`, scope: "openid", redirect_uris,
    });
    must(!JSON.stringify(listed).includes(openid.web.client_secret), "the secret is shown");
  });
  await check("openid: a provider that nobody has named: 404 not_configured", async () => {
    for (const name of ["other", "certified/x", "Certified", "apple"]) {
      api.refused(await api.auth(backend, `openid/${name}`, {}), 404, "not_configured");
    }
  });
  await check("openid: no proof, or two at once: 400 bad_message", async () => {
    const nonce = randomUUID();
    const code = { code: "c", code_verifier: "v".repeat(43), redirect_uri: BACK };
    for (const body of [{ nonce }, { nonce, code: "c" }, { nonce, ...code, id_token: "t" }, { ...code }, { id_token: "t" }]) {
      api.refused(await api.auth(backend, "openid/certified", body), 400, "bad_message");
    }
  });
}

/** A code with the nonce that it was asked for with. */
const grantOf = async (openid, login, nonce = randomUUID()) => ({ ...(await openid.code(login, { nonce })), nonce });

async function byCode(backend, openid) {
  const [login, handle] = [`user-${randomUUID()}`, api.freshHandle("carla")];
  const grant = await grantOf(openid, login);
  await check("openid: a new user is asked for a handle, and the same code signs up with it, once", async () => {
    api.refused(await api.auth(backend, "openid/certified", grant), 409, "handle_required");
    const first = api.session(await api.auth(backend, "openid/certified", { ...grant, handle }), { handle, created: true });
    await api.opensSocket(backend, first);
    api.refused(await api.auth(backend, "openid/certified", { ...grant, handle }), 401, "unauthorized");
    const kinds = (await api.identities(backend, first.access)).map(({ kind, value }) => [kind, value]);
    equal(kinds, [["certified", "…"]]);
  });
  await check("openid: another login with a code signs the same account in", async () => {
    api.session(await api.auth(backend, "openid/certified", await grantOf(openid, login)), { handle, created: false });
  });
  await check("openid: a code with another nonce than its token's is refused", async () => {
    const other = { ...(await grantOf(openid, login)), nonce: randomUUID() };
    api.refused(await api.auth(backend, "openid/certified", other), 401, "unauthorized");
  });
  await check("openid: a code whose token has no nonce is refused", async () => {
    const none = { ...(await openid.code(login)), nonce: randomUUID() };
    api.refused(await api.auth(backend, "openid/certified", none), 401, "unauthorized");
  });
  await check("openid: a code that eight bring at once lets one in at most", async () => {
    const grant = { ...(await grantOf(openid, "gustav")), handle: api.freshHandle("inge") };
    const answers = await Promise.all(Array.from({ length: 8 }, () => api.auth(backend, "openid/certified", grant)));
    must(answers.filter(({ status }) => status === 200).length <= 1, answers.map(({ status }) => status));
  });
}

async function byToken(backend, openid) {
  const [login, handle] = [`user-${randomUUID()}`, api.freshHandle("emma")];
  await check("openid: an id_token of the app signs up, and a code signs the same account in", async () => {
    const nonce = randomUUID();
    const proof = { id_token: await openid.idToken(login, nonce), nonce };
    api.refused(await api.auth(backend, "openid/certified", proof), 409, "handle_required");
    api.session(await api.auth(backend, "openid/certified", { ...proof, handle }), { handle, created: true });
    api.refused(await api.auth(backend, "openid/certified", proof), 401, "unauthorized");
    api.session(await api.auth(backend, "openid/certified", await grantOf(openid, login)), { handle, created: false });
  });
  await check("openid: a provider's account joins an account that is there", async () => {
    const anna = await api.signUp(backend);
    const nonce = randomUUID();
    const proof = { id_token: await openid.idToken(`user-${randomUUID()}`, nonce), nonce };
    api.linked(await api.auth(backend, "openid/certified", proof, anna.access), { handle: anna.handle, kind: "certified" });
    equal((await api.identities(backend, anna.access)).map(({ kind }) => kind).sort(), ["certified", "email"]);
  });
}

/** One provider under two names, which takes codes as Twitter/X besides: what was proven for one name is nothing for another. */
async function apart(backend, openid) {
  await check("openid: a code that was exchanged under one name is no proof under another", async () => {
    const grant = await grantOf(openid, `user-${randomUUID()}`);
    const handle = api.freshHandle("ghost");
    api.refused(await api.auth(backend, "openid/certified", grant), 409, "handle_required");
    for (const path of ["openid/twin", "twitter"]) {
      api.refused(await api.auth(backend, path, { ...grant, handle }), 401, "unauthorized");
    }
  });
  await check("openid: and a code that was exchanged for Twitter/X is none for a provider", async () => {
    const grant = await grantOf(openid, `user-${randomUUID()}`);
    api.refused(await api.auth(backend, "twitter", grant), 409, "handle_required");
    api.refused(await api.auth(backend, "openid/certified", { ...grant, handle: api.freshHandle("ghost") }), 401, "unauthorized");
  });
  await check("openid: one login under two names is two accounts", async () => {
    const login = `user-${randomUUID()}`;
    for (const name of ["certified", "twin"]) {
      const handle = api.freshHandle("doppel");
      const answer = await api.auth(backend, `openid/${name}`, { ...(await grantOf(openid, login)), handle });
      api.session(answer, { handle, created: true });
    }
  });
}

/** Keys come and go; algorithms other than RSA; another claim than `sub`. */
async function rotating() {
  const mock = await Mock.open();
  try {
    const keys = await keysFor(mock);
    await Backend.with([...api.WIDE, ...mock.openidFlags({ claim: "oid" })], async (backend) => {
      const proof = async (claims, key = keys.right, header = { alg: "RS256", kid: keys.kid }) => {
        const nonce = randomUUID();
        return { id_token: await minted(key, header, { ...goodClaims(mock, nonce), ...claims }), nonce };
      };
      const handle = api.freshHandle();
      await check("openid: the claim that the operator names decides who it is", async () => {
        api.session(await api.auth(backend, "openid/mock", { ...(await proof({ oid: "4711" })), handle }), { handle, created: true });
        api.session(await api.auth(backend, "openid/mock", await proof({ oid: "4711" })), { handle, created: false });
        api.refused(await api.auth(backend, "openid/mock", await proof({ oid: "4712" })), 409, "handle_required");
      });
      await check("openid: a token in which that claim is missing, empty or no text is refused", async () => {
        for (const oid of [undefined, "", 4711, null, ["4711"], { id: "4711" }, "o".repeat(300)]) {
          api.refused(await api.auth(backend, "openid/mock", await proof({ oid })), 401, "unauthorized");
        }
      });
      await check("openid: a key of a curve is used with its own algorithm", async () => {
        const curve = await proof({ oid: "4711" }, keys.curve.privateKey, { alg: "ES256", kid: "curve" });
        api.session(await api.auth(backend, "openid/mock", curve), { handle, created: false });
      });
      await check("openid: somebody else's mail address in a token opens nothing of theirs", async () => {
        const anna = await api.signUp(backend);
        const claims = { oid: randomUUID(), email: anna.mail, email_verified: true };
        api.refused(await api.auth(backend, "openid/mock", await proof(claims)), 409, "handle_required");
      });
    });
  } finally {
    await mock.close();
  }
}

/** A provider whose discovery says that it is another one, or names a place without TLS. */
async function lies() {
  for (const [what, change] of [
    ["another issuer", (url) => ({ issuer: `${url}/` })],
    ["keys at a place without TLS", () => ({ jwks_uri: "http://keys.example/jwks" })],
    ["no place for codes", () => ({ token_endpoint: undefined })],
  ]) {
    const mock = await Mock.open();
    mock.told = (document) => ({ ...document, ...change(mock.url) });
    try {
      await Backend.with([...api.WIDE, ...mock.openidFlags({ jwks_url: undefined, redirect_uris: [BACK] })], async (backend) => {
        await check(`openid: discovery that says ${what}: 503 overloaded, and no page is sent there`, async () => {
          await api.until("discovery", async () => mock.discoveries > 0);
          const nonce = randomUUID();
          const proof = { id_token: await mock.idToken({ nonce }), nonce, handle: api.freshHandle("ghost") };
          api.refused(await api.auth(backend, "openid/mock", proof), 503, "overloaded");
          equal((await ways(backend)).openid, [{ name: "mock", title: "mock" }]);
        });
      });
    } finally {
      await mock.close();
    }
  }
}

/** Token endpoints that fail, as for Twitter/X; and those that answer without an id_token, or with one that is not good. */
async function broken() {
  const provider = await Broken.open();
  const mock = await Mock.open();
  try {
    const named = {
      name: "broken", issuer: mock.url, client_ids: [APP], jwks_url: `${mock.url}/jwks`,
      authorize_url: `${provider.url}/auth`, token_url: `${provider.url}/token`, redirect_uris: [BACK],
    };
    await Backend.with([...api.WIDE, ...flags(named)], async (backend) => {
      const attempt = (code, nonce = randomUUID()) =>
        api.auth(backend, "openid/broken", { code, nonce, code_verifier: "v".repeat(43), redirect_uri: BACK, handle: api.freshHandle("ghost") });
      const exchanges = Broken.exchanges.filter((way) => way !== "invalid_grant");
      await Promise.all([...exchanges, "no-id-token"].map((way) =>
        check(`provider: ${way}: 503 overloaded, within 10 s`, async () => {
          const begun = Date.now();
          api.refused(await attempt(way), 503, "overloaded");
          must(Date.now() - begun < 10_000, `${Date.now() - begun} ms`);
        })));
      // It is asked again after a pause.
      const answered = async (code, nonce) => {
        let answer;
        await api.until("the provider is asked again", async () => (answer = await attempt(code, nonce)).status !== 503);
        return answer;
      };
      await check("provider: a code that it refuses is the client's fault: 401", async () => api.refused(await answered("invalid_grant"), 401, "unauthorized"));
      const coded = async (change) => {
        const nonce = randomUUID();
        provider.idTokens.set(nonce, await mock.idToken({ nonce, change: ({ payload }) => change?.(payload) }));
        return [`id ${nonce}`, nonce];
      };
      await check("provider: an id_token of another client in its answer: 401", async () =>
        api.refused(await answered(...(await coded((payload) => { payload.aud = "stranger"; }))), 401, "unauthorized"));
      await check("provider: an id_token that has expired in its answer: 401", async () =>
        api.refused(await answered(...(await coded((payload) => { payload.exp = 1; }))), 401, "unauthorized"));
      await check("control: the provider whole again signs up", async () => equal((await answered(...(await coded()))).body.created, true));
      await check("no redirect of the provider's was followed", () => equal(provider.trapped, 0));
    });
  } finally {
    await Promise.all([provider.close(), mock.close()]);
  }
}
