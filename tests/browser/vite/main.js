// Somebody's own app, as a new project of Vite begins: it has our client as a package, and a page of its own. The walk
// calls what is on `window`.
import { Session, SoundOff, memoryStore } from "soundoff-client";

/** What a person does here: signs in, posts a picture and sees it. Resolves to what came of it, or went wrong. */
window.visit = async ({ url, name }) => {
  const seen = [];
  try {
    const session = new Session({ url, store: memoryStore() });
    const email = `${name}@example.org`;
    const { request } = await session.startEmail(email);
    const code = await window.codeOf(email);
    await session.verifyEmail({ email, code, request, handle: name });
    const client = new SoundOff({ url, store: memoryStore(), token: () => session.token() });
    client.start();
    const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
    canvas.getContext("2d").fillRect(5, 5, 20, 20);
    const blob = await new Promise((done) => canvas.toBlob(done));
    const ready = new Promise((done) => client.on("push:media.ready", ({ media }) => done(media)));
    await session.uploadMedia(blob, { onProgress: (share) => seen.push(share) });
    const { id } = await ready;
    const { post } = await client.call("post.create", { media: [id] });
    const image = Object.assign(new Image(), { crossOrigin: "anonymous", src: new URL(post.media[0].url, url) });
    await image.decode();
    await client.stop();
    return { text: post.text, width: image.naturalWidth, progress: seen.at(-1) };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
};

/** What the client says of its socket on this page. */
window.connects = async ({ url, token }) => {
  const client = new SoundOff({ url, store: memoryStore(), token: () => token });
  const reason = new Promise((done) =>
    client.on("state", ({ state, reason }) =>
      state === "online" ? done("online") : reason?.code === "cors" && done(reason.message),
    ),
  );
  client.start();
  const said = await reason;
  client.stop();
  return said;
};
