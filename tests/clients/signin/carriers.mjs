// Codes by a mail server and a hook for texts; carriers that refuse; and nothing of it all in the log.
import { randomUUID } from "node:crypto";
import { Backend } from "../jswalk/backend.mjs";
import { check, equal, must } from "../jswalk/checks.mjs";
import { Phone } from "../jswalk/phone.mjs";
import * as api from "./api.mjs";
import { Mock } from "./mock.mjs";
import { MailServer, TextHook } from "./post.mjs";

/** How often each kind of mail server is timed. */
const TIMED = 15;

export async function carriers({ openid }) {
  const [user, password, token] = ["soundoff", randomUUID(), randomUUID()];
  const [mailServer, hook, mock] = [await MailServer.open({ user, password }), await TextHook.open(), await Mock.open()];
  // All that no log may hold.
  const secrets = new Set([password, token, openid.web.client_secret, Buffer.from(`\0${user}\0${password}`).toString("base64")]);
  const flags = [
    "--log", "debug", ...api.WIDE, ...mock.appleFlags(), ...openid.twitterFlags(),
    "--smtp-url", mailServer.url, "--texts-url", hook.url, "--texts-token", token, "--text-countries", "+49", "--mail-from", "Sound Off <no-reply@example.org>",
  ];
  try {
    await Backend.with(flags, async (backend) => {
      const world = { backend, mailServer, hook, mock, openid, secrets, token };
      const users = [await byMail(world), await byText(world)];
      await elsewhere(world, users);
      await check("the outbox stays empty: what is carried is not kept", async () => equal(await api.outbox(backend), []));
      const usual = await timed(backend);
      await refusing(world, usual);
      await silentLog(world);
    });
    await budget(hook);
  } finally {
    await Promise.all([mailServer.close(), hook.close(), mock.close()]);
  }
}

/** Texts cost money: where they may go, and how many are sent in a day. */
async function budget(hook) {
  await Backend.with([...api.WIDE, "--texts-url", hook.url, "--text-countries", "DE", "--texts-per-day", "2"], async (backend) => {
    await check("text: none goes to a country that is not named: 404 not_configured", async () => {
      const texts = hook.requests.length;
      for (const phone of ["+881612345678", "+44 20 7946 0018", "+1 876 555 0123"]) {
        api.refused(await api.auth(backend, "phone/start", { phone }), 404, "not_configured");
      }
      equal(hook.requests.length, texts);
    });
    await check("text: the third of a day of two is refused: 429", async () => {
      const start = (n) => api.auth(backend, "phone/start", { phone: `+49 170 12345${n}0` });
      for (const n of [1, 2]) api.started(await start(n));
      const { body, headers } = api.refused(await start(3), 429, "rate_limited");
      must(body.detail.includes("no more texts are sent today"), body.detail);
      must(Number(headers.get("retry-after")) <= 86_400, headers.get("retry-after"));
      api.started(await api.auth(backend, "email/start", { email: api.freshMail() }));
    });
  });
}

function keep(secrets, ...values) {
  for (const value of values) secrets.add(value);
}

async function byMail({ backend, mailServer, secrets }) {
  const [mail, handle] = [api.freshMail(), api.freshHandle()];
  let user;
  await check("mail: a code comes by SMTP, after a password, from the operator's sender address", async () => {
    const request = api.started(await api.auth(backend, "email/start", { email: mail }));
    const { from, to, text } = await api.until("the mail", () => mailServer.mailTo(mail));
    equal([from, to], ["no-reply@example.org", [mail]]);
    const [head, body] = text.split("\r\n\r\n");
    for (const line of [/^From: .*Sound Off.* <no-reply@example\.org>$/m, new RegExp(`^To: ${mail}$`, "m"), /^Subject: \d{6} is your sign-in code$/m, /^Date: /m]) {
      must(line.test(head.replaceAll("\r", "")), `${line} is not in ${head}`);
    }
    const code = api.codeIn(body);
    must(head.includes(code) && body.includes("10 minutes"), text);
    user = api.session(await api.verify(backend, mail, { sent: { request, code }, handle }), { handle, created: true });
    keep(secrets, mail, code, user.access, user.refresh);
  });
  await check("mail: the session that it opened opens a socket", () => api.opensSocket(backend, user));
  await check("mail: an address that smuggles a header is no address, and no mail goes out", async () => {
    const mails = mailServer.recipients.length;
    for (const email of [`${mail}\r\nBcc: eve@example.org`, `${mail}, eve@example.org`, `<${mail}>`, `Anna <${mail}>`, "anna", "@example.org"]) {
      api.refused(await api.auth(backend, "email/start", { email }), 400, "bad_message");
    }
    const last = api.freshMail();
    await api.auth(backend, "email/start", { email: last });
    await api.until("the mail after those", () => mailServer.mailTo(last));
    equal(mailServer.recipients.length, mails + 1);
    keep(secrets, last, api.codeIn(mailServer.mailTo(last).text.split("\r\n\r\n")[1]));
  });
  return user;
}

async function byText({ backend, hook, secrets, token }) {
  const [phone, handle] = [api.freshPhone(), api.freshHandle()];
  let user;
  await check("text: a code is handed to the hook, with the bearer token and nothing else", async () => {
    const request = api.started(await api.auth(backend, "phone/start", { phone }));
    const text = await api.until("the text", () => hook.textTo(phone));
    const { method, url, headers, body } = hook.requests.at(-1);
    equal([method, url, headers.authorization, headers["content-type"], body], ["POST", "/texts", `Bearer ${token}`, "application/json", { to: phone, text }]);
    const code = api.codeIn(text);
    must(text.startsWith(code) && text.length <= 160, text);
    user = api.session(await api.verify(backend, phone, { sent: { request, code }, handle }), { handle, created: true });
    keep(secrets, phone, code, user.access, user.refresh);
  });
  await check("text: the session that it opened opens a socket", () => api.opensSocket(backend, user));
  await check("text: a hook that fails is tried again, and the answer is 202 all the same", async () => {
    const other = api.freshPhone();
    hook.status = 500;
    const request = api.started(await api.auth(backend, "phone/start", { phone: other }));
    await api.until("the first try", () => hook.textTo(other));
    hook.status = 200;
    const tries = () => hook.requests.filter(({ body }) => body.to === other);
    await api.until("the second try", () => tries().length === 2);
    equal(tries()[0].body, tries()[1].body);
    keep(secrets, other, api.codeIn(hook.textTo(other)));
    const handle = api.freshHandle();
    api.session(await api.verify(backend, other, { sent: { request, code: api.codeIn(hook.textTo(other)) }, handle }), { handle, created: true });
  });
  return user;
}

/** Every other way in, so that there is something for a log to betray. */
async function elsewhere({ backend, mock, openid, secrets }, [user, other]) {
  await check("the other ways in, good and bad, are walked for the log's sake", async () => {
    const [nonce, handle] = [randomUUID(), api.freshHandle()];
    const proof = { id_token: await mock.idToken({ nonce }), nonce };
    api.session(await api.auth(backend, "apple", { ...proof, handle }), { handle, created: true });
    api.refused(await api.auth(backend, "apple", proof), 401, "unauthorized");
    const login = `user-${randomUUID()}`;
    const grant = await openid.code(login);
    api.linked(await api.auth(backend, "twitter", grant, user.access), { handle: user.handle, kind: "twitter" });
    const bad = { ...(await openid.code(login)), code_verifier: `${randomUUID()}${randomUUID()}` };
    api.refused(await api.auth(backend, "twitter", bad), 401, "unauthorized");
    const next = (await api.auth(backend, "refresh", { refresh_token: other.refresh })).body;
    const last = (await api.auth(backend, "refresh", { refresh_token: next.refresh_token })).body;
    // The theft is a warning of its own in the log, by name and without the token.
    api.refused(await api.auth(backend, "refresh", { refresh_token: other.refresh }), 401, "unauthorized");
    const wrong = api.freshMail("wrong");
    api.refused(await api.auth(backend, "email/verify", { email: wrong, request: "01ARZ3NDEKTSV4RRFFQ69G5FAV", code: "918273" }), 401, "unauthorized");
    api.refused(await api.auth(backend, "email/verify", `{"email":"${wrong}","code":`), 400, "bad_message");
    const phone = await Phone.dial(backend);
    phone.write({ op: "hello", token: last.access_token });
    equal(await phone.closeCode(), 4503);
    keep(secrets, proof.id_token, nonce, login, grant.code, grant.code_verifier, bad.code, bad.code_verifier, wrong, "918273");
    keep(secrets, next.access_token, next.refresh_token, last.access_token, last.refresh_token, ...openid.accessTokens);
  });
}

/** How long `start` takes, in the middle of many. */
async function timed(backend) {
  const times = [];
  for (let n = 0; n < TIMED; n++) {
    const begun = performance.now();
    equal((await api.auth(backend, "email/start", { email: api.freshMail() })).status, 202);
    times.push(performance.now() - begun);
  }
  return times.sort((a, b) => a - b)[TIMED >> 1];
}

/** A mail server that takes its time and then says 550. */
async function refusing(world, usual) {
  const mailServer = await MailServer.open({ refuse: true });
  try {
    await Backend.with(["--log", "debug", ...api.WIDE, "--smtp-url", mailServer.url], async (backend) => {
      const mail = api.freshMail();
      await check("mail: a server that refuses is not waited for, and makes no difference to the answer: 202", async () => {
        let release;
        mailServer.held = new Promise((resolve) => { release = resolve; });
        const answer = await api.auth(backend, "email/start", { email: mail });
        api.started(answer);
        await api.until("the delivery", () => mailServer.recipients.includes(mail));
        release();
        await api.until("the warning", () => backend.log.includes("the mail server refused the mail with 550"));
      });
      await check("mail: nor to how long the answer takes", async () => {
        const refused = await timed(backend);
        // A debug build on a busy machine: what matters is that no mail server's time is in it.
        must(refused < 5 * usual + 50, `${refused} ms where ${usual} ms are usual`);
      });
      await check("mail: a server that refuses is tried three times", async () => {
        await api.until("the third try", () => mailServer.recipients.filter((to) => to === mail).length === 3);
      });
      world.refusedLog = backend.log;
      keep(world.secrets, ...mailServer.recipients);
    });
  } finally {
    await mailServer.close();
  }
}

async function silentLog({ backend, refusedLog, secrets, mailServer, hook }) {
  for (const { to, text } of mailServer.mails) {
    // A notice of a change has no code, but an address, which it shows masked.
    const isNotice = /^Subject: A way to sign in/m.test(text);
    keep(secrets, ...to, ...(isNotice ? [] : [api.codeIn(text.split("\r\n\r\n")[1])]));
  }
  for (const { body } of hook.requests) keep(secrets, body.to, api.codeIn(body.text));
  await check(`log: none of ${secrets.size} codes, addresses, tokens and passwords is in it, at debug`, async () => {
    await backend.stop();
    // Colours could stand within a secret; a time's microseconds are six digits too.
    const log = (backend.log + refusedLog).replace(/\x1b\[[\d;]*m/g, "").replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "");
    must(log.includes("DEBUG") && log.includes("used again") && log.includes("refused the mail"), `there is little in the log: ${log.length} characters`);
    must(secrets.size > 30 && ![...secrets].includes(undefined), [...secrets].length);
    for (const secret of secrets) {
      // Of what is long its end: the beginnings of tokens are alike.
      const end = secret.slice(-40);
      const shape = /^\d{6}$/.test(secret) ? `(?<!\\d)${secret}(?!\\d)` : end.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const at = log.search(new RegExp(shape));
      must(at < 0, `${secret.slice(0, 30)} is in the log: ${log.slice(Math.max(0, at - 100), at + 100)}`);
    }
  });
}
