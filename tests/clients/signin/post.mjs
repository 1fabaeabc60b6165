// Where codes go: a mail server (smtp-server), and an operator's hook for texts.
import { once } from "node:events";
import { SMTPServer } from "smtp-server";
import { bodyOf, listen } from "./listen.mjs";

export class MailServer {
  mails = [];
  /** Mails whose delivery has begun, successful or not. */
  recipients = [];
  /** Awaited before a recipient is accepted or refused. */
  held = Promise.resolve();

  /** With a user it needs a password; with `refuse` it refuses every recipient. */
  static async open({ user, password, refuse = false } = {}) {
    const post = new MailServer();
    post.server = new SMTPServer({
      authOptional: user === undefined,
      allowInsecureAuth: true,
      disabledCommands: ["STARTTLS"],
      logger: false,
      onAuth: (given, _, done) =>
        given.username === user && given.password === password ? done(null, { user }) : done(new Error("who are you?")),
      onRcptTo: async ({ address }, _, done) => {
        post.recipients.push(address);
        await post.held;
        return refuse ? done(Object.assign(new Error(`no such mailbox: ${address}`), { responseCode: 550 })) : done();
      },
      onData: async (stream, session, done) => {
        const parts = [];
        for await (const part of stream) parts.push(part);
        const text = Buffer.concat(parts).toString();
        post.mails.push({ from: session.envelope.mailFrom.address, to: session.envelope.rcptTo.map(({ address }) => address), text });
        done();
      },
    });
    post.server.on("error", () => {});
    const listening = post.server.listen(0, "127.0.0.1");
    await once(listening, "listening");
    const name = user === undefined ? "" : `${user}:${password}@`;
    post.url = `smtp://${name}127.0.0.1:${listening.address().port}`;
    return post;
  }

  mailTo(address) {
    return this.mails.find(({ to }) => to.includes(address));
  }

  close() {
    return new Promise((resolve) => this.server.close(resolve));
  }
}

export class TextHook {
  requests = [];
  status = 200;

  static async open() {
    const hook = new TextHook();
    hook.http = await listen();
    hook.url = `${hook.http.url}/texts`;
    hook.http.on(async (request, response) => {
      const { method, url, headers } = request;
      hook.requests.push({ method, url, headers, body: JSON.parse(await bodyOf(request)) });
      response.writeHead(hook.status).end();
    });
    return hook;
  }

  textTo(number) {
    return this.requests.find(({ body }) => body.to === number)?.body.text;
  }

  close() {
    return this.http.close();
  }
}
