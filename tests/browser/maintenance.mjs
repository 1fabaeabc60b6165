// Operators close the service and open it again: people are told why and when, come back by themselves, and lose nothing.
import { equal, must } from "../clients/jswalk/checks.mjs";
import { becomes, step } from "./waiting.mjs";

const WHILE_CLOSED = "Anna while it is closed";

const notice = (device) => device.page.getByRole("region", { name: "Closed for now" });
const when = (device) => notice(device).getByRole("timer");

export async function maintenance(stage) {
  const operator = await stage.device();
  const anna = await stage.signedUp("anna");
  const late = await stage.device();
  const stands = operator.page.locator("#stands");
  const ask = (form, name) => operator.page.getByRole("form", { name: form }).getByRole("button", { name }).click();
  await step("an operator closes the gate on /ops, with a reason that fits", async () => {
    await operator.page.goto(`${operator.gate.origin}/ops`);
    await becomes(() => stands.textContent(), "Open to all.");
    const reason = operator.page.getByLabel("Reason, for people to read");
    await reason.fill("é".repeat(33));
    await operator.page.getByText("2 bytes too many").waitFor();
    await ask("Close the gate", "Close");
    equal(await reason.evaluate((field) => field.checkValidity()), false);
    await reason.fill("new disks");
    await operator.page.getByText("55 bytes left").waitFor();
    await operator.page.getByLabel("For how long").fill("10m");
    await ask("Close the gate", "Close");
    equal(await stands.textContent(), "Open to all.", "it asks once more");
    await ask("Close the gate", "Yes, close it for everybody");
    await stands.getByText(/^Closed since .*, expected to end at /).waitFor();
    await operator.page.getByText("People read: new disks").waitFor();
  });
  await step("who is in sees why and until when, and goes on writing", async () => {
    await notice(anna).getByText("Sound Off cannot let you in yet: new disks").waitFor();
    await when(anna).getByText(/^You will be let in at about \d\d:\d\d\.$/).waitFor();
    await notice(anna).getByText("is kept, and sent once you are in").waitFor();
    await anna.post(WHILE_CLOSED);
    await anna.card(WHILE_CLOSED).getByText("Sending…").waitFor();
  });
  await step("so does who loads the page again; what was written is there", async () => {
    await anna.page.clock.install();
    await anna.page.reload();
    await when(anna).getByText(/at about/).waitFor();
    await anna.card(WHILE_CLOSED).getByText("Sending…").waitFor();
    // The server's time goes on as before: only this page believes that nine minutes have passed.
    await anna.page.clock.fastForward("09:10");
    await when(anna).getByText(/^You will be let in in [01]:\d\d\.$/).waitFor();
  });
  await step("who wants to sign in is told, too", async () => {
    await late.page.clock.install();
    await late.page.goto(late.gate.origin);
    await notice(late).getByText("new disks").waitFor();
    await late.page.getByLabel("Email").fill("late@example.org");
    await late.page.getByRole("button", { name: "Send code" }).click();
    await late.page.getByRole("alert").getByText(/^Not yet: new disks\. Try again in \d+ minutes\.$/).waitFor();
    equal(await notice(late).getByText("is kept").isVisible(), false, "there is nothing to keep");
  });
  await step("it is opened over two seconds: both come in at their time, and the notice goes away", async () => {
    await operator.page.getByLabel("Over how long").fill("2s");
    await operator.page.getByLabel("First", { exact: true }).fill("GB, web");
    await ask("Open the gate", "Open");
    await stands.getByText("Open to all.").waitFor();
    must(await notice(anna).isVisible(), "she comes before her time");
    for (const who of [anna, late]) await who.page.clock.fastForward("12:00");
    await anna.online();
    await notice(anna).waitFor({ state: "hidden" });
    await notice(late).waitFor({ state: "hidden" });
    await becomes(() => late.page.getByRole("alert").textContent(), "");
  });
  await step("what was written meanwhile is posted, once", async () => {
    await becomes(anna.waiting, 0);
    await late.signUp("late_one");
    await late.open("/u/anna");
    await becomes(late.posts, [WHILE_CLOSED]);
  });
}
