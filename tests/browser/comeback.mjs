// Connections are cut and servers crash while people continue: everything arrives once, in order, on both sides.
import { equal } from "../clients/jswalk/checks.mjs";
import { becomes, expect, step } from "./waiting.mjs";

export async function comeback(stage) {
  let anna, bert;
  await step("anna and bert sign up, follow each other and talk", async () => {
    [anna, bert] = await Promise.all([stage.signedUp("anna"), stage.signedUp("bert")]);
    await Promise.all([anna.follow("bert"), bert.follow("anna")]);
    await Promise.all([anna.nav("Home"), bert.nav("Home")]);
    await bert.post("Bert is here");
    await anna.card("Bert is here").waitFor();
  });
  const said = { posts: [], dms: [], remarks: [] };
  await cut(anna, bert, said);
  await deaf(anna, bert, said);
  await crashed(stage, anna, bert, said);
  await reloaded(anna, bert, said);
  await truth(anna, bert, said);
}

/** The conversation as both sides read it. Each side's own messages are in order; so are all, if those of one side came after the other's. */
async function bothRead(anna, bert, dms) {
  for (const [who, other] of [
    [anna, "bert"],
    [bert, "anna"],
  ]) {
    await who.open(`/messages/${other}`);
    await becomes(who.bubbles, dms);
    await becomes(who.waiting, 0);
  }
}

/** The posts of anna's on bert's timeline and on her own, the newest first. */
async function bothSee(anna, bert, posts) {
  const hers = (who) => async () => {
    await who.letIn();
    return (await who.posts()).filter((post) => post.startsWith("Anna "));
  };
  for (const who of [anna, bert]) {
    await who.nav("Home");
    await becomes(hers(who), posts.toReversed());
    await becomes(who.waiting, 0);
  }
}

/** Anna does each thing once. It is shown as done, and as on its way. */
async function doAll(anna, said, when) {
  await anna.nav("Home");
  await anna.post(`Anna ${when}`);
  await anna.card(`Anna ${when}`).getByText("Sending…").waitFor();
  const card = anna.card("Bert is here");
  if ((await card.locator(".remark, .thread").count()) === 0)
    await card.getByRole("button", { name: "Comments" }).click();
  await anna.comment(card, `Remark ${when}`);
  await card.locator("[data-pending]").getByText(`Remark ${when}`).waitFor();
  await anna.open("/messages/bert");
  const dms = [1, 2, 3, 4, 5].map((number) => `${number} ${when}`);
  for (const dm of dms) await anna.send(dm);
  await becomes(async () => (await anna.bubbles()).slice(-dms.length), dms);
  said.posts.push(`Anna ${when}`);
  said.remarks.push(`Remark ${when}`);
  said.dms.push(...dms);
}

async function cut(anna, bert, said) {
  await step("her wire is cut: what anna does is shown at once, and as waiting", async () => {
    anna.gate.set("closed");
    await anna.offline();
    await anna.page
      .getByRole("status")
      .getByText(/^(Offline|Connecting)/)
      .waitFor();
    const like = anna.card("Bert is here").getByRole("button", { name: "Like" });
    await like.click();
    await expect(async () => (await like.getAttribute("aria-pressed")) === "true", "pressed");
    await doAll(anna, said, "while cut off");
    equal(await anna.waiting(), 5);
  });
  await step("bert has nothing of it yet, and writes to her meanwhile", async () => {
    equal(await bert.posts(), ["Bert is here"]);
    await bert.open("/messages/anna");
    for (const dm of ["Are you there?", "Anna?"]) await bert.send(dm);
    await becomes(bert.waiting, 0);
    said.dms.unshift("Are you there?", "Anna?");
  });
  await step("the wire is back: all of it arrives once and in order, on both sides", async () => {
    anna.gate.set("open");
    await anna.online();
    await bothRead(anna, bert, said.dms);
    await bothSee(anna, bert, said.posts);
    await becomes(() => bert.card("Bert is here").locator(".like .count").textContent(), "1 like");
    await becomes(() => bert.card("Bert is here").locator(".comment .count").textContent(), "1 comment");
  });
}

async function deaf(anna, bert, said) {
  await step("her wire loses every answer: bert has it all, and anna cannot know", async () => {
    anna.gate.set("deaf");
    await doAll(anna, said, "unanswered");
    await bert.open("/messages/anna");
    // Each waits for the answer to the one before, so that they stay in order.
    await becomes(bert.bubbles, [...said.dms.slice(0, -5), "1 unanswered"]);
    await bert.nav("Home");
    await expect(async () => (await bert.letIn(), bert.card("Anna unanswered").isVisible()), "the post at bert's");
    await expect(async () => (await anna.waiting()) === 5, "what waits");
  });
  await step("the wire breaks and comes back: what she sends again takes effect no second time", async () => {
    anna.gate.set("open");
    await bothRead(anna, bert, said.dms);
    await bothSee(anna, bert, said.posts);
  });
}

/** Waits for both to be online: after some failures a client waits for up to 30 s before it tries again. */
const back = (anna, bert) => Promise.all([anna.online(), bert.online()]);

async function crashed(stage, anna, bert, said) {
  await step("the server is killed while both write, and started again: everything once, in order", async () => {
    await bert.open("/messages/anna");
    await anna.open("/messages/bert");
    await anna.send("Just before");
    said.dms.push("Just before");
    await becomes(bert.bubbles, said.dms);
    await stage.crash(async () => {
      await Promise.all([anna.offline(), bert.offline()]);
      await doAll(anna, said, "while it is down");
    });
    await back(anna, bert);
    await bothRead(anna, bert, said.dms);
    await bothSee(anna, bert, said.posts);
  });
  await step("killed in the middle of what is sent: everything once, in order", async () => {
    await anna.open("/messages/bert");
    const dms = Array.from({ length: 12 }, (_, at) => `Through the crash ${at}`);
    const writing = (async () => {
      for (const dm of dms) await anna.send(dm);
    })();
    await expect(async () => (await anna.bubbles()).includes(dms[3]), "some on their way");
    await stage.crash(() => writing);
    await back(anna, bert);
    said.dms.push(...dms);
    await bothRead(anna, bert, said.dms);
  });
}

async function reloaded(anna, bert, said) {
  await step("anna reloads while things wait: they are still there, and are sent once", async () => {
    anna.gate.set("unplugged");
    await anna.offline();
    await doAll(anna, said, "before the reload");
    await anna.page.reload();
    await becomes(async () => (await anna.bubbles()).slice(-5), said.dms.slice(-5));
    equal(await anna.waiting(), 5);
    await anna.nav("Home");
    await anna.card("Anna before the reload").getByText("Sending…").waitFor();
    anna.gate.set("open");
    await bothRead(anna, bert, said.dms);
    await bothSee(anna, bert, said.posts);
  });
  await step("anna closes the page while it is sent, and opens another: sent once", async () => {
    await anna.nav("Home");
    anna.gate.set("deaf");
    await anna.post("Anna closes the page");
    said.posts.push("Anna closes the page");
    await expect(async () => (await bert.letIn(), bert.card("Anna closes the page").isVisible()), "the post at bert's");
    await anna.page.close();
    anna.gate.set("open");
    anna.page = await anna.context.newPage();
    await anna.open("/");
    await bothSee(anna, bert, said.posts);
  });
}

async function truth(anna, bert, said) {
  await step("and all of it is so for a browser that has seen nothing", async () => {
    // What the app keeps in the browser is removed; the sign-in stays.
    for (const who of [anna, bert]) {
      await who.page.evaluate(() =>
        Object.keys(localStorage)
          .filter((key) => key.startsWith("soundoff.app/"))
          .forEach((key) => localStorage.removeItem(key)),
      );
      await who.page.reload();
    }
    await bothSee(anna, bert, said.posts);
    await bothRead(anna, bert, said.dms);
    for (const who of [anna, bert]) {
      await who.nav("Home");
      const card = who.card("Bert is here");
      await card.getByRole("button", { name: "Comments" }).click();
      await becomes(() => who.remarks(card), said.remarks);
      await becomes(() => card.locator(".like .count").textContent(), "1 like");
    }
  });
}
