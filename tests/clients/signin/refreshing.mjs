// Refresh tokens that race, are lost, and are stolen; and a provider that renews its keys.
import { randomUUID } from "node:crypto";
import { generateKeyPair } from "jose";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import { Phone } from "../jswalk/phone.mjs";
import * as api from "./api.mjs";
import { goodClaims, minted } from "./apple-rows.mjs";
import { Mock } from "./mock.mjs";

const ROUNDS = 20;
const INVENTED = 50;

export async function refreshing() {
  await Backend.with(api.WIDE, async (backend) => {
    const refresh = (token) => api.auth(backend, "refresh", { refresh_token: token });
    const next = async (token) => {
      const answer = await refresh(token);
      must(answer.status === 200, answer.text);
      return answer.body.refresh_token;
    };
    await inTurn({ backend, refresh, next });
    await atOnce({ backend, refresh, next });
    await leaving({ backend, refresh });
    await operated({ backend, refresh, next });
  });
  await keyRenewal();
}

async function inTurn({ backend, refresh, next }) {
  await check("refresh: a pair of new tokens, for the same user and sign-in", async () => {
    const user = await api.signUp(backend);
    const { status, body } = await refresh(user.refresh);
    equal([status, body.user, Object.keys(body).sort()], [200, { handle: user.handle }, ["access_token", "expires_in", "refresh_token", "user"]]);
    const [before, after] = [api.claimsOf(user.access), api.claimsOf(body.access_token)];
    equal([after.sid, after.sub, after.role], [before.sid, user.handle, "user"]);
    must(after.jti !== before.jti && body.refresh_token !== user.refresh, "the old tokens again");
    await api.opensSocket(backend, { access: body.access_token, handle: user.handle });
  });
  await check("refresh: ten in a row", async () => {
    let { refresh: token } = await api.signUp(backend);
    const seen = new Set([token]);
    for (let n = 0; n < 10; n++) seen.add((token = await next(token)));
    equal(seen.size, 11);
  });
  await check("refresh: a lost answer is given once more, the same", async () => {
    const { refresh: token } = await api.signUp(backend);
    const lost = await next(token);
    equal(await next(token), lost);
    await next(lost);
  });
  await check("refresh: a third time is a theft: the newest token is refused too, and the sockets close with 4503", async () => {
    const user = await api.signUp(backend);
    const bystander = await api.signUp(backend);
    const [phone, other] = [await Phone.open(backend, user.access), await Phone.open(backend, bystander.access)];
    const newest = await next(user.refresh);
    await next(user.refresh);
    api.refused(await refresh(user.refresh), 401, "unauthorized");
    api.refused(await refresh(newest), 401, "unauthorized");
    equal(await phone.closeCode(), 4503);
    await other.roundTrip();
    await other.bye();
  });
  await check("refresh: an old token after its next was used ends all: sockets, access tokens, the newest token", async () => {
    const user = await api.signUp(backend);
    const phone = await Phone.open(backend, user.access);
    const second = await next(user.refresh);
    const { body: third } = await refresh(second);
    api.refused(await refresh(user.refresh), 401, "unauthorized");
    equal(await phone.closeCode(), 4503);
    api.refused(await refresh(third.refresh_token), 401, "unauthorized");
    const late = await Phone.dial(backend);
    late.write({ op: "hello", token: third.access_token });
    equal(await late.closeCode(), 4503);
    api.refused(await api.call(backend, "/v1/auth/identities", { method: "GET", bearer: third.access_token }), 401, "unauthorized");
  });
  await check("refresh: other sign-ins of the same user live on", async () => {
    const user = await api.signUp(backend);
    const tablet = api.session(await api.verify(backend, user.mail), { handle: user.handle, created: false });
    const phone = await Phone.open(backend, tablet.access);
    equal((await api.auth(backend, "logout", { refresh_token: user.refresh })).status, 204);
    api.refused(await refresh(user.refresh), 401, "unauthorized");
    await phone.roundTrip();
    await next(tablet.refresh);
    await phone.bye();
  });
}

/** Many refreshes at once with one token: all that succeed get the same next token. Returns all answers. */
async function crowd({ backend, refresh }, many) {
  const user = await api.signUp(backend);
  const answers = await Promise.all(Array.from({ length: many }, () => refresh(user.refresh)));
  const good = answers.filter(({ status }) => status === 200);
  must(good.length > 0, "no refresh succeeds");
  equal(new Set(good.map(({ body }) => body.refresh_token)).size, 1);
  return { answers, token: good[0].body.refresh_token };
}

/** Two at once: none ends the session, and the sign-in lives. */
async function race(world) {
  const { answers, token } = await crowd(world, 2);
  must(answers.every(({ status }) => status !== 401), `thrown out: ${answers.map(({ status }) => status)}`);
  for (const answer of answers) if (answer.status !== 200) api.refused(answer, 409, "conflict");
  await world.next(token);
}

async function atOnce(world) {
  await check("refresh: two at once: one gets the next token, and the other that or 409 conflict", () => race(world));
  await check(`refresh: ${ROUNDS} rounds of two at once`, async () => {
    for (let round = 0; round < ROUNDS; round++) await race(world);
  });
  // In a crowd, a request that comes after two answers counts as theft; two different next tokens are never given out.
  await check(`refresh: ${ROUNDS} rounds of eight at once: one next token`, async () => {
    for (let round = 0; round < ROUNDS; round++) await crowd(world, 8);
  });
}

async function leaving({ backend, refresh }) {
  await check("logout: 204; the refresh token and the access token open nothing, and the socket closes with 4503", async () => {
    const user = await api.signUp(backend);
    const phone = await Phone.open(backend, user.access);
    const answer = await api.auth(backend, "logout", { refresh_token: user.refresh });
    equal([answer.status, answer.text], [204, ""]);
    equal(await phone.closeCode(), 4503);
    api.refused(await refresh(user.refresh), 401, "unauthorized");
    const late = await Phone.dial(backend);
    late.write({ op: "hello", token: user.access });
    equal(await late.closeCode(), 4503);
  });
  await check("logout: of an ended session is 204 as well, and an access token logs nobody out", async () => {
    const user = await api.signUp(backend);
    for (const refresh_token of ["x", "", user.access]) equal((await api.auth(backend, "logout", { refresh_token })).status, 204);
    await api.opensSocket(backend, user);
  });
}

/** An operator's change to a user shows at the next refresh. */
async function operated({ backend, refresh, next }) {
  await check("role: a refresh gives the user's new role, up and down", async () => {
    const user = await api.signUp(backend);
    let token = user.refresh;
    for (const role of ["moderator", "admin", "user"]) {
      await backend.operate("users", "role", user.handle, role);
      const { body } = await refresh(token);
      equal(api.claimsOf(body.access_token).role, role);
      await api.opensSocket(backend, { access: body.access_token, handle: user.handle });
      token = body.refresh_token;
    }
  });
  await check("revoke: an operator's ends refresh tokens too", async () => {
    const user = await api.signUp(backend);
    const phone = await Phone.open(backend, user.access);
    const last = await next(user.refresh);
    await backend.operate("users", "revoke", user.handle);
    equal(await phone.closeCode(), 4503);
    api.refused(await refresh(last), 401, "unauthorized");
  });
  await check("revoke: a user who signs in right after it gets a valid session", async () => {
    // Three times: revocation and sign-in must fall into one second, so that only their order distinguishes them.
    for (let round = 0; round < 3; round++) {
      const user = await api.signUp(backend);
      // The code is asked for before, so that it can be used at once.
      const sent = await api.codeFor(backend, user.mail);
      await backend.operate("users", "revoke", user.handle);
      const again = api.session(await api.verify(backend, user.mail, { sent }), { handle: user.handle, created: false });
      await api.opensSocket(backend, again);
      await next(again.refresh);
    }
  });
}

async function keyRenewal() {
  const mock = await Mock.open();
  try {
    await Backend.with([...api.WIDE, ...mock.appleFlags()], async (backend) => {
      const attempt = async (id_token, nonce) => api.auth(backend, "apple", { id_token, nonce, handle: api.freshHandle() });
      const good = async () => {
        const nonce = randomUUID();
        return (await attempt(await mock.idToken({ nonce }), nonce)).status;
      };
      await check(`keys: ${INVENTED} invented key ids make no more than one more fetch of the provider's keys`, async () => {
        equal([await good(), mock.fetches], [200, 1]);
        const { privateKey } = await generateKeyPair("RS256");
        const tokens = await Promise.all(Array.from({ length: INVENTED }, async () => {
          const nonce = randomUUID();
          return [await minted(privateKey, { alg: "RS256", kid: randomUUID() }, goodClaims(mock, nonce)), nonce];
        }));
        const answers = await Promise.all(tokens.map(([token, nonce]) => attempt(token, nonce)));
        for (const answer of answers) api.refused(answer, 401, "unauthorized");
        must(mock.fetches <= 2, `${mock.fetches} fetches`);
        equal(await good(), 200);
      });
      const before = [];
      for (let n = 0; n < 2; n++) {
        const nonce = randomUUID();
        before.push([await mock.idToken({ nonce }), nonce]);
      }
      const fetches = mock.fetches;
      await mock.rotate();
      await check("keys: while the provider is slow to send new ones, the known ones work at once", async () => {
        const release = mock.hold();
        try {
          let asking;
          await api.until("a fetch", () => {
            asking ??= good().finally(() => { asking = undefined; });
            return mock.fetches > fetches;
          }, 12_000);
          const begun = Date.now();
          equal((await attempt(...before[0])).status, 200);
          must(Date.now() - begun < 2_000, `${Date.now() - begun} ms behind somebody else's fetch`);
        } finally {
          release();
        }
      });
      await check("keys: renewed ones are known after ten seconds, and the old are gone", async () => {
        await api.until("the new key", async () => (await good()) === 200, 12_000);
        must(mock.fetches > fetches && mock.fetches <= fetches + 2, `${mock.fetches - fetches} fetches`);
        api.refused(await attempt(...before[1]), 401, "unauthorized");
      });
      await check("keys: the known ones work while the provider is away", async () => {
        const nonce = randomUUID();
        const token = await mock.idToken({ nonce });
        await mock.close();
        equal((await attempt(token, nonce)).status, 200);
      });
    });
    await Backend.with([...api.WIDE, ...mock.appleFlags()], async (backend) => {
      await check("keys: none known and the provider away: 503 overloaded", async () => {
        const nonce = randomUUID();
        const token = await minted((await generateKeyPair("RS256")).privateKey, { alg: "RS256", kid: "k" }, goodClaims(mock, nonce));
        api.refused(await api.auth(backend, "apple", { id_token: token, nonce }), 503, "overloaded");
      });
    });
  } finally {
    await mock.close().catch(() => {});
  }
}
