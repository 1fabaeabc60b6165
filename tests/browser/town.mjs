// A small town of people who have posted and talked, so that pages are not empty.
import { picture } from "./picture.mjs";

const POSTS = [
  [
    "tomek",
    "Second batch of rye is out of the oven. First come, first served, no reservations, not even for you @sam_r.",
  ],
  ["lena", "Took the long way over the hills this morning. Nobody up there but the larks.", ["hills"]],
  ["jonas", "The ferry is running again after the storm. Every hour on the hour, bring cash, the card reader drowned."],
  ["priya", "Rehearsal notes: slower in the middle eight, louder at the end, and somebody please tune the piano."],
  [
    "sam_r",
    "Does anybody have a ladder of four metres or more that I could borrow until Sunday? Gutter trouble. Will return with cake.",
  ],
  ["mira", "Opening night is Friday! Doors at seven, first song at eight. There will be soup."],
  ["jonas", "Harbour, seven in the morning.", ["harbour"]],
  ["priya", "One sky, two takes.", ["dusk", "hills"]],
];
const COMMENTS = [
  ["lena", "harbour", "That light. I was on the other side, freezing."],
  ["mira", "harbour", "Can we have this one for the poster?"],
  ["tomek", "harbour", "Take the next ferry over, bread is still warm."],
  ["sam_r", "Opening night", "Is the soup the one with the lentils?"],
  ["priya", "Opening night", "It had better be."],
];
const LIKES = {
  harbour: ["lena", "mira", "tomek", "priya", "sam_r"],
  "Opening night": ["jonas", "priya", "sam_r"],
  "long way": ["mira", "jonas"],
  "One sky": ["lena"],
};
const DMS = [
  ["tomek", "mira", "Two loaves set aside for Friday."],
  ["priya", "mira", "Piano is tuned. It was the cat."],
  ["jonas", "mira", "Did you see the harbour one? I have it in large, too."],
  ["mira", "jonas", "It is lovely. Poster?"],
  ["jonas", "mira", "Only if my name is smaller than the soup."],
  ["mira", "jonas", "Deal. I will send you a proof tonight, the printer wants it by ten."],
  ["jonas", "mira", "Ferry at six then. Save me a seat by the window?"],
];
const NAMES = {
  mira: ["Mira Holm", "Runs the hall by the harbour. Songs, soup, folding chairs."],
  jonas: ["Jonas Vik", "Ferry hand. Photographs on the way: early light, wet rope."],
};

/** Fills the server as several people, all from the page of one of them, `mira`. */
export async function settle(stage, mira) {
  const others = ["jonas", "priya", "tomek", "lena", "sam_r"];
  const tokens = await stage.server.tokens([...others, "mira"]);
  const pictures = Object.fromEntries(
    ["harbour", "hills", "dusk"].map((name) => [name, picture(name).toString("base64")]),
  );
  await mira.page.evaluate(live, { tokens, pictures, others, POSTS, COMMENTS, LIKES, DMS, NAMES });
}

/** Runs in the page. */
async function live({ tokens, pictures, others, POSTS, COMMENTS, LIKES, DMS, NAMES }) {
  const { SoundOff, memoryStore } = await import("/client/soundoff.js");
  const people = {};
  for (const [handle, token] of Object.entries(tokens)) {
    people[handle] = new SoundOff({ token: async () => token, store: memoryStore() });
    people[handle].start();
  }
  for (const [handle, [name, bio]] of Object.entries(NAMES)) await people[handle].call("profile.update", { name, bio });
  for (const handle of others) {
    await people.mira.call("follow.add", { user: handle });
    if (handle !== "lena") await people[handle].call("follow.add", { user: "mira" });
    if (handle !== "jonas") await people[handle].call("follow.add", { user: "jonas" });
  }
  for (const handle of ["priya", "jonas"]) await people.mira.call("close.add", { user: handle });
  await people.mira.call("privacy.update", { private: true });
  // She has not let lena in yet.
  await people.lena.call("follow.add", { user: "mira" });
  const { group } = await people.mira.call("group.create", {
    name: "Harbour choir",
    about: "We sing on Tuesdays, in the hall. Come if you can hold a note, or a chair.",
    sight: "closed",
    entry: "ask",
  });
  for (const user of ["jonas", "priya", "lena"]) await people[user].call("group.join", { group: group.id });
  for (const user of ["jonas", "priya"]) await people.mira.call("group.answer", { group: group.id, user, accept: true });
  await people.priya.call("post.create", { group: group.id, text: "Who has the key to the hall?" });
  const upload = async (handle, name) => {
    const body = Uint8Array.from(atob(pictures[name]), (letter) => letter.charCodeAt(0));
    const ready = new Promise((done) => people[handle].on("push:media.ready", done));
    const answer = await fetch("/v1/media", {
      method: "POST",
      headers: { authorization: `Bearer ${tokens[handle]}` },
      body,
    });
    await ready;
    return (await answer.json()).media.id;
  };
  const posts = [];
  for (const [author, text, names] of POSTS) {
    const media = [];
    for (const name of names ?? []) media.push(await upload(author, name));
    posts.push((await people[author].call("post.create", { text, ...(media.length > 0 && { media }) })).post);
  }
  const find = (words) => posts.find(({ text }) => text.toLowerCase().includes(words.toLowerCase())).id;
  for (const [author, words, text] of COMMENTS)
    await people[author].call("comment.create", { post: find(words), text });
  for (const [words, who] of Object.entries(LIKES))
    for (const handle of who) await people[handle].call("like.add", { post: find(words) });
  for (const [from, to, text] of DMS) await people[from].call("dm.send", { to, text });
  await Promise.all(Object.values(people).map((client) => client.stop()));
}

/** Lets the people talk for a while, sometimes more and sometimes less, so that the operators' page has something to show. */
export async function chat(stage, mira, ms) {
  const others = ["jonas", "priya", "tomek", "lena"];
  await mira.page.evaluate(chatter, { tokens: await stage.server.tokens(others), others, ms });
}

/** Runs in the page. Nothing that is said here comes to mira's pages. */
async function chatter({ tokens, others, ms }) {
  const { SoundOff, memoryStore } = await import("/client/soundoff.js");
  const people = others.map((handle) => new SoundOff({ token: async () => tokens[handle], store: memoryStore() }));
  people.forEach((client) => client.start());
  const { items } = await people[0].call("post.list", { user: "priya" });
  const all = [];
  for (const end = performance.now() + ms; performance.now() < end;) {
    const wave = 1 + Math.sin(performance.now() / 9000) + Math.random();
    for (let times = 0; times < wave * 4; times++) {
      const [from, to] = [times % 4, (times + 1) % 4];
      all.push(people[from].call("dm.send", { to: others[to], text: "Still raining?" }));
      all.push(people[from].call("timeline.fetch", {}));
    }
    all.push(people[3].call("like.add", { post: items[0].id }));
    if (Math.random() < 0.05) all.push(people[3].call("like.remove", { post: items[0].id }));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await Promise.allSettled(all);
  await people[3].call("like.add", { post: items[0].id });
  await Promise.all(people.map((client) => client.stop()));
}
