// What the types allow, and what they do not. Compiled, never run.
import {
  memoryStore,
  Session,
  SoundOff,
  SoundOffError,
  type Comment,
  type List,
  type OnePost,
  type Push,
} from "soundoff-client";

const session = new Session({ url: "https://example.org", app: "web-1.0", store: memoryStore() });
const client = new SoundOff({
  url: location.origin,
  app: "web-1.0",
  token: ({ refused }) => session.token({ fresh: refused }),
  WebSocket,
  timings: { backoffMs: [500, 30_000] },
});

export async function calls(signal: AbortSignal): Promise<string[]> {
  const { post }: OnePost = await client.call("post.create", { text: "hello" });
  const comments: List<Comment> = await client.call("comment.list", { post: post.id, limit: 10 });
  await client.call("dm.send", { to: "bob", text: "hi" }, { id: "mine", signal, ordered: false });
  await client.call("profile.get");
  await client.call("profile.get", {}, { signal });
  const { media } = await client.call("media.begin", { bytes: 70 });
  await session.uploadMedia(new Blob([]), {
    begin: (body) => client.call("media.begin", body),
    onProgress: (share) => share.toFixed(),
  });
  const next: string | null = comments.next;
  return [media, post.author, next ?? "", ...comments.items.map((comment) => comment.text)];
}

export async function wrongCalls(): Promise<void> {
  // @ts-expect-error: no such type
  await client.call("post.make", { text: "hello" });
  // @ts-expect-error: the text is missing
  await client.call("comment.create", { post: "01" });
  // @ts-expect-error: the body is missing
  await client.call("comment.create");
  // @ts-expect-error: no such field
  await client.call("dm.send", { to: "bob", text: "hi", subject: "x" });
  // @ts-expect-error: a limit is a number
  await client.call("post.list", { limit: "10" });
  // @ts-expect-error: the reply has no such field
  (await client.call("post.create", { text: "hello" })).message;
  // @ts-expect-error: no such option
  await client.call("post.create", { text: "hello" }, { lane: "x" });
}

export function listening(): void {
  client.on("push:dm.received", ({ message }) => message.text.toUpperCase());
  client.on("event:typing", ({ from }) => from.toUpperCase());
  client.on("event:timeline", (page) => page.items.map(({ why }) => why.age));
  client.on("push", (push: Push) => {
    if (push.type === "like.added") push.body.by.toUpperCase();
    // @ts-expect-error: not every push has a message
    push.body.message;
  });
  client.on("event", (event) => (event.type === "post.created" ? event.body.post.id : null));
  client.on("state", ({ state, retryInMs }) => (state === "waiting" ? (retryInMs ?? 0) / 1000 : 0));
  client.on("state", ({ reason }) => [reason?.text?.toUpperCase(), reason?.code === "closed"]);
  client.on("reply", ({ id, error }) => [id, error?.code === "conflict"]);
  session.on("change", (user) => user?.handle.toUpperCase())();
  // @ts-expect-error: no such push
  client.on("push:dm.lost", () => {});
  // @ts-expect-error: no such state
  client.on("state", ({ state }) => state === "offline");
  // @ts-expect-error: `state` cannot be set
  client.state = "online";
}

export async function sessions(): Promise<void> {
  const { request } = await session.startEmail("anna@example.org");
  try {
    await session.verifyEmail({ email: "anna@example.org", code: "123456", request, handle: "anna" });
  } catch (error) {
    if (error instanceof SoundOffError && error.code === "handle_required") return;
  }
  await session.apple({ id_token: "t", nonce: "n" }, { link: true });
  await session.openid("google", { id_token: "t", nonce: "n" });
  await session.openid("google", { code: "c", code_verifier: "v", redirect_uri: "r", nonce: "n" }, { link: true });
  const { created } = await session.introduce("t", { handle: "anna" });
  created satisfies boolean;
  const { items } = await session.sessions();
  const ended: string = items[0]?.ends_at ?? "";
  await session.endSession(items.find(({ current }) => !current)?.id ?? ended);
  await session.prove({ id: "email.1", request, code: 123456 });
  await session.addPasskey("This phone");
  const strong: string | undefined = (await session.passkey()).passkey_for ?? (await session.ways()).passkey?.domain;
  await session.passkey({ mediation: "conditional", signal: AbortSignal.timeout(1000) });
  // @ts-expect-error: no such mediation
  await session.passkey({ mediation: strong });
  // @ts-expect-error: which address
  await session.startProof();
  // @ts-expect-error: the request is missing
  await session.verifyEmail({ email: "anna@example.org", code: "123456" });
  // @ts-expect-error: a code is missing
  await session.verifyEmail({ email: "anna@example.org" });
  // @ts-expect-error: a token is a string
  const token: number = await session.token();
  // @ts-expect-error: there must be a token
  new SoundOff({ url: "https://example.org", user: String(token) });
}
