// A phone in the local network: it opens what `up --lan` prints, over plain HTTP, and is paired by that.
import { networkInterfaces } from "node:os";
import { Server } from "../../web/client/test/server.mjs";
import { equal, must } from "../clients/jswalk/checks.mjs";
import { FLAGS, PHONE } from "./stage.mjs";
import { becomes, expect, step } from "./waiting.mjs";

/** What the server has printed after a word, such as `phone`. */
async function printed(server, word) {
  const find = () => server.printed.find((line) => line.startsWith(word));
  await expect(find, `a line that begins with ${word}`);
  return find().split(/\s+/)[1];
}

export async function lan(stage) {
  const own = Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === "IPv4" && !internal);
  if (!own) return console.log("!! SKIPPED: a phone in the local network: this machine is in no network");
  const server = await Server.start(...FLAGS, "--lan");
  try {
    const url = await printed(server, "phone");
    const device = () => stage.device({ viewport: PHONE }, { origin: new URL(url).origin, close() {} });
    const stranger = await device();
    await step("who is not paired gets no code, no token and no figures, and is told what to do", () => refused(stranger));
    const phone = await device();
    await step("the printed URL pairs a phone, and does not stay in the address", async () => {
      await phone.page.goto(url);
      await phone.page.getByLabel("Email").waitFor();
      equal(phone.page.url(), `${phone.gate.origin}/`);
    });
    await step("a person signs up, posts and is answered, without TLS", async () => {
      await phone.signUp("petra");
      await phone.post("From my phone");
      await becomes(phone.waiting, 0);
      equal(await phone.posts(), ["From my phone"]);
    });
    await step("the console connects and sends, and the operators' page shows and moves the gate", () => developers(phone));
  } finally {
    await server.stop();
  }
}

async function refused({ page, gate }) {
  await page.goto(gate.origin);
  await page.getByLabel("Email").fill("stranger@example.org");
  await page.getByRole("button", { name: "Send code" }).click();
  await page.getByRole("button", { name: "Open the outbox" }).click();
  await page.getByRole("alert").filter({ hasText: "up --lan" }).waitFor();
  await page.goto(`${gate.origin}/console`);
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByRole("log").getByText("up --lan").waitFor();
  await page.goto(`${gate.origin}/ops`);
  await page.getByText(/^Not paired: .*up --lan/).waitFor();
}

async function developers({ page, gate }) {
  await page.goto(`${gate.origin}/console`);
  await page.getByLabel("Handle").fill("alice");
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByRole("log").getByText("welcome").waitFor();
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("log").getByText('"reply"').waitFor();
  await page.goto(`${gate.origin}/ops`);
  await page.getByText("Open to all.").waitFor();
  must((await page.locator("#plots svg").count()) > 0, "no plots");
}
