// Passkeys, with an authenticator that others wrote: to sign in, to prove once more who one is, and for roles that want
// one.
import { AuthenticatorEmulator, PasskeysCredentialsMemoryRepository, WebAuthnEmulator } from "nid-webauthn-emulator";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must, shape } from "../jswalk/checks.mjs";
import { Phone } from "../jswalk/phone.mjs";
import * as api from "./api.mjs";

const DOMAIN = "example.org";
const PAGE = `https://${DOMAIN}`;
const FLAGS = [...api.WIDE, "--passkey-domain", DOMAIN, "--origins", "https://app.example.org"];

export async function passkeys() {
  await Backend.with(FLAGS, async (backend) => {
    await signingIn(backend);
    await refusals(backend);
    await taking(backend);
  });
  await Backend.with([...FLAGS, "--proof-s", "2"], proving);
  await Backend.with([...FLAGS, "--passkey-for", "moderator,admin"], roles);
  await limits();
}

/** A device with no passkey in it. */
const newDevice = (params) =>
  new WebAuthnEmulator(new AuthenticatorEmulator({ credentialsRepository: new PasskeysCredentialsMemoryRepository(), ...params }));

/** What a device does while it behaves otherwise. */
async function meanwhile(device, params, act) {
  const { authenticator } = device;
  const before = authenticator.params;
  authenticator.params = { ...before, ...params };
  try {
    return await act();
  } finally {
    authenticator.params = before;
  }
}

const started = async (backend, what, bearer) => {
  const answer = await api.auth(backend, `${what}/start`, undefined, bearer);
  must(answer.status === 200, answer.text);
  equal(answer.body.expires_in, 300);
  return answer.body.options;
};

/** Adds a passkey in a device to a session's account; the server's answer. */
async function add(backend, device, bearer, { origin = PAGE, name } = {}) {
  const options = await started(backend, "passkeys", bearer);
  return api.auth(backend, "passkeys", { credential: device.createJSON(origin, options), name }, bearer);
}

/** What a device answers to a call of `start`. */
async function asked(backend, device, bearer, origin = PAGE) {
  return device.getJSON(origin, await started(backend, "passkey", bearer), [origin]);
}

const verify = (backend, credential, bearer) => api.auth(backend, "passkey/verify", { credential }, bearer);

async function withPasskey(backend, params) {
  const [user, device] = [await api.signUp(backend), newDevice(params)];
  api.linked(await add(backend, device, user.access), { handle: user.handle, kind: "passkey" });
  return { ...user, device };
}

const mine = async (backend, bearer) =>
  (await api.identities(backend, bearer)).filter(({ kind }) => kind === "passkey");
const remove = (backend, id, bearer) => api.call(backend, `/v1/auth/identities/${id}`, { method: "DELETE", bearer });
const inAgain = async (backend, { device, handle }) =>
  api.session(await verify(backend, await asked(backend, device)), { handle, created: false });
const refresh = async (backend, { refresh }) => {
  const answer = await api.auth(backend, "refresh", { refresh_token: refresh });
  must(answer.status === 200, answer.text);
  return answer.body;
};

async function signingIn(backend) {
  let anna;
  await check("passkeys: pages learn to which domain they belong", async () => {
    equal((await api.call(backend, "/v1/auth/ways", { method: "GET" })).body.passkey, { domain: DOMAIN });
  });
  await check("passkeys: one is added to an account, for its device to find by itself", async () => {
    const user = await api.signUp(backend);
    const options = await started(backend, "passkeys", user.access);
    equal([options.rp.id, options.user.name, options.attestation], [DOMAIN, user.handle, "none"]);
    equal([options.authenticatorSelection.residentKey, options.authenticatorSelection.userVerification], ["required", "required"]);
    must(!Buffer.from(options.user.id, "base64url").includes(user.handle), "the device keeps the handle in clear twice");
    const device = newDevice();
    const added = await api.auth(backend, "passkeys", { credential: device.createJSON(PAGE, options), name: " Anna's key " }, user.access);
    api.linked(added, { handle: user.handle, kind: "passkey" });
    const [item] = await mine(backend, user.access);
    shape(item, { id: "string", kind: "passkey", value: "Anna's key", linked_at: "time", used_at: "time" });
    anna = { ...user, device };
  });
  await check("passkeys: it signs in whom nobody has named, again and again", async () => {
    for (let n = 0; n < 3; n++) {
      const session = await inAgain(backend, anna);
      const { body } = await api.call(backend, "/v1/auth/sessions", { method: "GET", bearer: session.access });
      equal([body.items[0].current, body.items[0].way], [true, "passkey"]);
      await api.opensSocket(backend, session);
    }
  });
  for (const algorithm of ["ES256", "EdDSA", "RS256"]) {
    await check(`passkeys: ${algorithm}, also from a listed page`, async () => {
      const user = await withPasskey(backend, { algorithmIdentifiers: [algorithm] });
      const credential = await asked(backend, user.device, undefined, "https://app.example.org");
      api.session(await verify(backend, credential), { handle: user.handle, created: false });
    });
  }
  await check("passkeys: two of one account, each on a device that has none yet", async () => {
    const second = newDevice();
    api.linked(await add(backend, second, anna.access), { handle: anna.handle, kind: "passkey" });
    const { excludeCredentials } = await started(backend, "passkeys", anna.access);
    equal([excludeCredentials.length, (await mine(backend, anna.access)).length], [2, 2]);
    await inAgain(backend, { ...anna, device: second });
    await inAgain(backend, anna);
  });
  await check("passkeys: its owner is told, and nobody else's address is", async () => {
    const subject = "A way to sign in was added";
    const told = await api.until("a notice", async () => {
      const all = (await api.outbox(backend)).filter(({ to, subject: said }) => to === anna.mail && said === subject);
      return all.length >= 2 && all;
    });
    must(told.every(({ text }) => text.startsWith(`A passkey was added to the account @${anna.handle}`)), told[0].text);
  });
}

async function refusals(backend) {
  const user = await withPasskey(backend);
  const { device } = user;
  const no = async (credential, status = 401, code = "unauthorized", bearer) =>
    api.refused(await verify(backend, await credential, bearer), status, code);
  await check("passkeys: an answer opens once", async () => {
    const credential = await asked(backend, device);
    api.session(await verify(backend, credential), { handle: user.handle, created: false });
    await no(credential);
  });
  await check("passkeys: of twenty at once one opens", async () => {
    const credential = await asked(backend, device);
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(backend, credential)));
    equal(answers.filter(({ status }) => status === 200).length, 1);
    must(answers.every(({ status }) => [200, 401, 409].includes(status)), answers.map(({ status }) => status));
  });
  await check("passkeys: another page, another domain, nobody checked, another challenge: 401", async () => {
    await no(asked(backend, device, undefined, "https://evil.example.org"));
    const unchecked = () => ({ options: { uv: false, up: true } });
    await meanwhile(device, { userGetAssertionInteraction: unchecked }, () => no(asked(backend, device)));
    await no(started(backend, "passkey").then((options) => device.getJSON(PAGE, { ...options, challenge: "AAAA" })));
    await no(started(backend, "passkeys", user.access).then(({ challenge }) => device.getJSON(PAGE, { challenge, rpId: DOMAIN, userVerification: "required" })));
    const elsewhere = newDevice();
    elsewhere.createJSON("https://evil.example", { ...(await started(backend, "passkeys", user.access)), rp: { id: "evil.example", name: "x" } });
    await no(started(backend, "passkey").then((options) => elsewhere.getJSON("https://evil.example", { ...options, rpId: "evil.example" })));
  });
  await check("passkeys: one that is nobody's, and another's answer for a session: 401", async () => {
    const stranger = newDevice();
    stranger.createJSON(PAGE, await started(backend, "passkeys", user.access));
    await no(asked(backend, stranger));
    const bob = await withPasskey(backend);
    const options = await started(backend, "passkey", bob.access);
    await no(device.getJSON(PAGE, { ...options, allowCredentials: [] }), 401, "unauthorized", user.access);
    await no(asked(backend, device, user.access));
  });
  await check("passkeys: a copy is noticed by its counter", async () => {
    await inAgain(backend, user);
    const { body } = await meanwhile(device, { signCounterIncrement: 0 }, () => no(asked(backend, device)));
    must(/counter went back/.test(body.detail), body.detail);
    await inAgain(backend, user);
  });
  await check("passkeys: what is none: 400, and 401 where a session is missing", async () => {
    const good = await asked(backend, device);
    for (const credential of [null, {}, "x", { ...good, id: "!" }, { ...good, type: "password" }, { ...good, response: {} }])
      await no(credential, 400, "bad_message");
    for (const what of ["passkeys", "passkeys/start"])
      api.refused(await api.auth(backend, what, { credential: good }), 401, "unauthorized");
    for (const name of ["", "  ", "a\nb", "x".repeat(51)])
      api.refused(await add(backend, newDevice(), user.access, { name }), 400, "bad_message");
    api.refused(await api.auth(backend, "passkeys", { credential: good }, user.access), 400, "bad_message");
  });
}

/** A new passkey that says to be another. */
function claiming({ response, rawId: own, ...rest }, rawId) {
  const bytes = (text) => Buffer.from(text, "base64url");
  const object = bytes(response.attestationObject);
  bytes(rawId).copy(object, object.indexOf(bytes(own)));
  return { ...rest, id: rawId, rawId, response: { ...response, attestationObject: object.toString("base64url") } };
}

async function taking(backend) {
  await check("passkeys: one account's is no other's", async () => {
    const [anna, bob] = [await withPasskey(backend), await api.signUp(backend)];
    const make = async ({ access }) => newDevice().createJSON(PAGE, await started(backend, "passkeys", access));
    const takes = async (credential) => api.auth(backend, "passkeys", { credential }, bob.access);
    api.refused(await takes(await make(anna)), 401, "unauthorized");
    // Nothing signs a new passkey, so its id may be anybody's.
    const { rawId } = await asked(backend, anna.device);
    const claimed = claiming(await make(bob), rawId);
    api.refused(await takes({ ...claimed, id: "AAAA" }), 400, "bad_message");
    api.refused(await takes(claimed), 409, "conflict");
    equal(await mine(backend, bob.access), []);
    await inAgain(backend, anna);
    const own = await make(bob);
    api.linked(await takes(own), { handle: bob.handle, kind: "passkey" });
    api.refused(await takes(own), 401, "unauthorized");
    equal((await mine(backend, bob.access)).length, 1);
  });
  await check("passkeys: what is left is more than passkeys", async () => {
    const user = await withPasskey(backend);
    const mail = (await api.identities(backend, user.access)).find(({ kind }) => kind === "email");
    api.refused(await remove(backend, mail.id, user.access), 409, "conflict");
    equal((await api.identities(backend, user.access)).length, 2);
  });
  await check("passkeys: one that is removed opens nothing, and what it began ends", async () => {
    const user = await withPasskey(backend);
    const begun = await inAgain(backend, user);
    const socket = await Phone.open(backend, begun.access);
    const [{ id }] = await mine(backend, user.access);
    equal((await remove(backend, id, user.access)).status, 204);
    equal(await socket.closeCode(), 4503);
    api.refused(await api.auth(backend, "refresh", { refresh_token: begun.refresh }), 401, "unauthorized");
    api.refused(await verify(backend, await asked(backend, user.device)), 401, "unauthorized");
    api.refused(await api.auth(backend, "passkey/start", undefined, user.access), 404, "not_found");
    await refresh(backend, user);
    // Nothing is left of it: the same one may come again.
    const { rawId } = user.device.getJSON(PAGE, { challenge: "AAAA", rpId: DOMAIN, userVerification: "required" });
    const options = await started(backend, "passkeys", user.access);
    const credential = claiming(newDevice().createJSON(PAGE, options), rawId);
    api.linked(await api.auth(backend, "passkeys", { credential }, user.access), { handle: user.handle, kind: "passkey" });
    api.linked(await add(backend, newDevice(), user.access), { handle: user.handle, kind: "passkey" });
  });
  await check("passkeys: they count among the twenty ways", async () => {
    const user = await api.signUp(backend);
    for (let n = 0; n < 19; n++) equal((await add(backend, newDevice(), user.access)).status, 200);
    api.refused(await add(backend, newDevice(), user.access), 409, "conflict");
    equal((await api.identities(backend, user.access)).length, 20);
  });
}

async function proving(backend) {
  await check("passkeys: one is a fresh proof", async () => {
    const user = await withPasskey(backend);
    await api.until("the proof grows old", async () =>
      (await remove(backend, "email.none", user.access)).body?.code === "proof_required");
    api.refused(await api.auth(backend, "passkeys/start", undefined, user.access), 403, "proof_required");
    const options = await started(backend, "passkey", user.access);
    equal(options.allowCredentials.length, 1);
    api.linked(await verify(backend, user.device.getJSON(PAGE, options), user.access), { handle: user.handle, kind: "passkey" });
    const [{ id }] = await mine(backend, user.access);
    equal((await remove(backend, id, user.access)).status, 204);
  });
  await check("passkeys: one that was asked for in time is not added late", async () => {
    const user = await api.signUp(backend);
    const credential = newDevice().createJSON(PAGE, await started(backend, "passkeys", user.access));
    await api.until("the proof grows old", async () =>
      (await remove(backend, "email.none", user.access)).body?.code === "proof_required");
    api.refused(await api.auth(backend, "passkeys", { credential }, user.access), 403, "proof_required");
    equal(await mine(backend, user.access), []);
  });
}

const roleOf = (token) => api.claimsOf(token).role;
const byMail = async (backend, { mail, handle }) => {
  const answer = await api.verify(backend, mail);
  return { ...api.session(answer, { handle, created: false }), passkeyFor: answer.body.passkey_for };
};

/** Whether a token's user may take others' posts down. */
async function mayModerate(backend, { access, handle }) {
  const phone = await Phone.open(backend, access);
  equal(phone.welcome.user, handle);
  const code = await phone.fails("post.remove", { post: "01ARZ3NDEKTSV4RRFFQ69G5FAV" });
  await phone.bye();
  return code !== "forbidden";
}

async function roles(backend) {
  const modo = await withPasskey(backend);
  await backend.operate("users", "role", modo.handle, "moderator");
  let weak;
  await check("roles: without a passkey a moderator is a plain user, and learns why", async () => {
    weak = await byMail(backend, modo);
    equal([roleOf(weak.access), weak.passkeyFor], ["user", "moderator"]);
    must(!(await mayModerate(backend, weak)), "the role is there without it");
    const next = await refresh(backend, weak);
    equal([roleOf(next.access_token), next.passkey_for], ["user", "moderator"]);
    weak = { ...weak, access: next.access_token, refresh: next.refresh_token };
  });
  await check("roles: a session that began with one has the role, also after a refresh", async () => {
    const strong = await inAgain(backend, modo);
    equal(roleOf(strong.access), "moderator");
    must(await mayModerate(backend, strong), "the role is missing");
    const next = await refresh(backend, strong);
    equal([roleOf(next.access_token), next.passkey_for], ["moderator", undefined]);
  });
  await check("roles: who has the mailbox alone gets no passkey in, and none out", async () => {
    api.refused(await api.auth(backend, "passkeys/start", undefined, weak.access), 403, "passkey_required");
    const [{ id }] = await mine(backend, weak.access);
    api.refused(await remove(backend, id, weak.access), 403, "passkey_required");
    // A challenge of before the role was given does not help either.
    const late = await api.signUp(backend);
    const credential = newDevice().createJSON(PAGE, await started(backend, "passkeys", late.access));
    await backend.operate("users", "role", late.handle, "admin");
    api.refused(await api.auth(backend, "passkeys", { credential }, late.access), 403, "passkey_required");
    await backend.operate("users", "role", late.handle, "user");
    api.linked(await api.auth(backend, "passkeys", { credential }, late.access), { handle: late.handle, kind: "passkey" });
  });
  await check("roles: a passkey strengthens a session that began without: its next token has the role", async () => {
    api.linked(await verify(backend, await asked(backend, modo.device, weak.access), weak.access), { handle: modo.handle, kind: "passkey" });
    const next = await refresh(backend, weak);
    equal([roleOf(next.access_token), next.passkey_for], ["moderator", undefined]);
    weak = { ...weak, access: next.access_token, refresh: next.refresh_token };
    must(await mayModerate(backend, weak), "the role is missing");
  });
  await check("roles: a strong session adds and removes; what the removed one strengthened ends", async () => {
    const second = newDevice();
    api.linked(await add(backend, second, weak.access, { name: "second" }), { handle: modo.handle, kind: "passkey" });
    const other = await inAgain(backend, { ...modo, device: second });
    const first = (await mine(backend, other.access)).find(({ value }) => value !== "second");
    equal((await remove(backend, first.id, other.access)).status, 204);
    api.refused(await api.auth(backend, "refresh", { refresh_token: weak.refresh }), 401, "unauthorized");
    equal(roleOf((await refresh(backend, other)).access_token), "moderator");
  });
  await check("roles: one that removes its own passkey is a plain user's from the next token on", async () => {
    const admin = await withPasskey(backend);
    await backend.operate("users", "role", admin.handle, "admin");
    const strong = await inAgain(backend, admin);
    const [{ id }] = await mine(backend, strong.access);
    equal((await remove(backend, id, strong.access)).status, 204);
    const next = await refresh(backend, strong);
    equal([roleOf(next.access_token), next.passkey_for], ["user", "admin"]);
    api.refused(await api.auth(backend, "passkeys/start", undefined, next.access_token), 403, "passkey_required");
  });
  await check("roles: users without one are as before", async () => {
    const user = await api.signUp(backend);
    const body = await refresh(backend, user);
    equal([roleOf(body.access_token), body.passkey_for], ["user", undefined]);
  });
}

async function limits() {
  await Backend.with(["--passkey-domain", DOMAIN, "--sign-ins-per-minute", "3"], async (backend) => {
    await check("passkeys: challenges are limited as sign-ins are: 429", async () => {
      for (let n = 0; n < 3; n++) await started(backend, "passkey");
      api.refused(await api.auth(backend, "passkey/start"), 429, "rate_limited");
    });
  });
  await Backend.with(["--sign-ins-per-minute", "1000"], async (backend) => {
    await check("passkeys: on a developer's machine they belong to localhost, on any port", async () => {
      equal((await started(backend, "passkey")).rpId, "localhost");
      equal((await api.call(backend, "/v1/auth/ways", { method: "GET" })).body.passkey, { domain: "localhost" });
    });
  });
}
