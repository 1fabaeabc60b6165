// The User service as an app calls it: plain HTTP with fetch, and what its refusals must look like.
import { Phone } from "../jswalk/phone.mjs";
import { equal, must, shape } from "../jswalk/checks.mjs";

let last = 0;
/** A mail address, phone number or handle that nobody has had before: codes are counted per address, for an hour. */
export const freshMail = (name = "anna") => `${name}-${++last}@example.org`;
export const freshPhone = () => `+4915550${String(++last).padStart(6, "0")}`;
export const freshHandle = (name = "anna") => `${name}_${++last}`;

/** Limits per address on the net out of the way: here everybody comes from 127.0.0.1. */
export const WIDE = ["--codes-per-minute", "100000", "--sign-ins-per-minute", "100000"];

/** Calls a path: {status, headers, text, body}. */
export async function call(backend, path, { body, bearer, method = "POST" } = {}) {
  const answer = await fetch(backend.origin + path, {
    method,
    headers: { "content-type": "application/json", ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }) },
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text === "" ? undefined : JSON.parse(text) };
}

export const auth = (backend, what, body, bearer) => call(backend, `/v1/auth/${what}`, { body, bearer });

export const identities = async (backend, bearer) => {
  const { status, body } = await call(backend, "/v1/auth/identities", { method: "GET", bearer });
  equal(status, 200);
  return body.items;
};

/** The answer must be a refusal as documented, with this status and code. */
export function refused(answer, status, code) {
  equal([answer.status, answer.body?.code], [status, code]);
  must(answer.headers.get("content-type")?.startsWith("application/problem+json"), answer.headers.get("content-type"));
  const { title, detail } = answer.body;
  equal([answer.body.status, typeof title, typeof detail], [status, "string", "string"]);
  must(answer.headers.get("cache-control") === "no-store", "a refusal that caches may keep");
  if (status === 401) must(answer.headers.get("www-authenticate")?.startsWith("Bearer"), "a 401 without its challenge");
  if (status === 429 || status === 503) must(Number(answer.headers.get("retry-after")) > 0, "no Retry-After");
  return answer;
}

/** The answer must be a session: with this handle, and created or not. */
export function session(answer, { handle, created }) {
  must(answer.status === 200, `${answer.status} ${answer.text}`);
  const { access_token: access, refresh_token: refresh, expires_in: seconds, user } = answer.body;
  equal([answer.body.created, user], [created, { handle }]);
  must(access?.split(".").length === 3 && refresh?.length > 40 && seconds > 0, "no pair of tokens");
  equal(answer.headers.get("cache-control"), "no-store");
  return { access, refresh, handle };
}

export function linked(answer, { handle, kind }) {
  equal([answer.status, answer.body], [200, { user: { handle }, created: false, linked: kind }]);
}

/** Asks until the answer fits: conditions, not pauses. */
export async function until(what, ask, patience = 10_000) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await ask();
    if (found) return found;
    must(Date.now() < deadline, `${what} does not come in ${patience} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export const outbox = async (backend) => (await call(backend, "/dev/outbox", { method: "GET" })).body.items;

const CODE = /\b\d{6}\b/;
export const codeIn = (text) => CODE.exec(text)?.[0];

/** Sends a code; returns the request that it belongs to. */
export function started(answer) {
  equal(answer.status, 202);
  shape(answer.body, { request: "ulid", expires_in: 600, to: "string" });
  return answer.body.request;
}

/** Asks for a code, and reads it in the outbox: {request, code}. Where one has just been sent, the server is asked until it sends another. */
export async function codeFor(backend, address) {
  const kind = address.startsWith("+") ? "phone" : "email";
  const before = (await outbox(backend)).filter((notice) => notice.to === address).length;
  const answer = await until(`another code for ${address}`, async () => {
    const asked = await auth(backend, `${kind}/start`, { [kind]: address });
    return asked.status !== 429 && asked;
  });
  const request = started(answer);
  const notice = await until(`the code for ${address}`, async () => {
    const mine = (await outbox(backend)).filter(({ to }) => to === address);
    return mine.length > before && mine[0];
  });
  return { request, code: codeIn(notice.text) };
}

/** Verifies an address with what `codeFor` returned, or with what is asked for now; `code` takes its code's place. */
export async function verify(backend, address, { sent, code, handle, bearer } = {}) {
  const kind = address.startsWith("+") ? "phone" : "email";
  const proof = sent ?? (await codeFor(backend, address));
  return auth(backend, `${kind}/verify`, { [kind]: address, ...proof, ...(code !== undefined && { code }), handle }, bearer);
}

/** A new account by mail: {access, refresh, handle, mail}. */
export async function signUp(backend, handle = freshHandle()) {
  const mail = freshMail();
  return { ...session(await verify(backend, mail, { handle }), { handle, created: true }), mail };
}

/** What an access token says, unverified. */
export const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

/** The token must open a socket, as this user, both ways that a token can come. */
export async function opensSocket(backend, { access, handle }) {
  const byHello = await Phone.open(backend, access);
  equal(byHello.welcome.user, handle);
  const byHeader = await Phone.dial(backend, { headers: { authorization: `Bearer ${access}` } });
  byHeader.write({ op: "hello" });
  equal((await byHeader.take((f) => f.op === "welcome", "welcome")).user, handle);
  await Promise.all([byHello.bye(), byHeader.bye()]);
}

/** A token that must open none of the three doors that access tokens open. */
export async function opensNothing(backend, token) {
  const dialled = Phone.dial(backend, { headers: { authorization: `Bearer ${token}` } });
  const refusal = await dialled.then(() => must(false, "it is upgraded"), (error) => error);
  equal(refusal.response?.statusCode, 401);
  equal(JSON.parse(refusal.body).code, "unauthorized");
  const phone = await Phone.dial(backend);
  phone.write({ op: "hello", token });
  equal(await phone.closeCode(), 4500);
  refused(await call(backend, "/v1/auth/identities", { method: "GET", bearer: token }), 401, "unauthorized");
}
