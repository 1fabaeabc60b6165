// The settings of what this user lets others see and do, and who is close to them.
import { button, confirm, h, person, rows, status, text } from "./dom.js";
import { act, because, failedOf, pending } from "./effects.js";
import { changed, client, pages } from "./live.js";
import { loadPrivacy, privacy } from "./people.js";
import { handleIn } from "./texts.js";
import { ending } from "./timeline.js";

const FROM = { everyone: "Everyone", followers: "Who follows me", following: "Whom I follow", mutuals: "Whom I follow and who follows me", nobody: "Nobody" };
const TAKEN = [
  ["dm_from", "Who may write to you", "What was written before stays."],
  ["comment_from", "Who may comment on your posts", "Of those who see them. Comments that are there stay."],
  ["mention_from", "Whose mentions reach you", "So far no mention sends you anything; your choice is kept for when it does."],
];

const field = (input, label, hint) => {
  const described = h("p.note", { id: `${input.id}-hint` }, hint);
  input.setAttribute("aria-describedby", described.id);
  return h("div.field", h("label", { for: input.id }, label), input, described);
};

function lock(change) {
  const box = h("input", { id: "private", type: "checkbox", role: "switch" });
  box.addEventListener("change", async () => {
    const wanted = box.checked;
    // What holds stays on show until the user is sure.
    box.checked = privacy().private;
    if (wanted || (await confirm("Make your account public?", "Everybody sees your posts for everyone, old ones too, and whom you follow. All who have asked to follow you follow you then.", "Make it public", "Stay private"))) change({ private: wanted });
    box.checked = privacy().private;
  });
  const line = h("div.panel.lock", box, h("label", { for: box.id }, "Private account"),
    h("p.note", { id: "private-hint" }, "Only who follows you sees your posts and lists, and who wants to follow you must ask. Going private hides what you posted before, too. Who follows you stays."));
  box.setAttribute("aria-describedby", "private-hint");
  line.update = (now) => (box.checked = now.private);
  return line;
}

function taken([name, label, hint], change) {
  const choice = h("select", { id: name }, ...Object.entries(FROM).map(([value, words]) => h("option", { value }, words)));
  choice.addEventListener("change", () => change({ [name]: choice.value }));
  const line = field(choice, label, hint);
  line.update = (now) => choice.value === now[name] || (choice.value = now[name]);
  return line;
}

/** Close friends: whom this user names sees the posts that are for them. */
function close(signal) {
  const [list, note] = [h("ol.list", { "aria-label": "Close friends" }), status()];
  const friends = pages("close.list", { limit: 100 }, { signal, turn: (items) => items.filter((who) => !friends.items.includes(who)) });
  const end = ending(friends.more);
  const input = h("input", { id: "friend", maxlength: 31, autocapitalize: "none", autocomplete: "off", oninput: () => input.setCustomValidity("") });
  const add = (event) => {
    event.preventDefault();
    const user = handleIn(input);
    if (!user) return;
    act("close.add", { user });
    input.value = "";
  };
  const heard = client.on("reply", ({ type, sent, error }) => {
    if (error || !/^close\.(add|remove)$/.test(type)) return;
    friends.items = [...(type === "close.add" ? [sent.user] : []), ...friends.items.filter((who) => who !== sent.user)];
  });
  signal.addEventListener("abort", heard);
  const row = (who) => person(who, button("Remove", () => act("close.remove", { user: who }), { "aria-label": `Remove @${who}` }));
  const element = h("section", { "aria-labelledby": "close-friends" }, h("h2", { id: "close-friends" }, "Close friends"),
    h("p.note", "Only they see your posts for close friends. They are not told that they are on this list. Who you remove sees none of these posts from then on, old ones included."),
    h("form.writer", { onsubmit: add }, h("div.field", h("label", { for: "friend" }, "Handle"), input), h("button.primary", "Add")), note, list, end);
  element.update = () => {
    const last = new Map(pending("close.add close.remove").map(({ type, body }) => [body.user, type]));
    const all = [...new Set([...[...last.keys()].reverse(), ...friends.items])].filter((who) => last.get(who) !== "close.remove");
    rows(list, all, (who) => who, row);
    text(note, friends.error ? because(friends.error) : all.length > 0 ? "" : friends.loaded ? "Nobody yet." : "Loading…");
    end.update(!friends.error && friends.next);
  };
  friends.more();
  return element;
}

export function privacyPage(signal) {
  const note = status("Loading…");
  let [failed, isChanged] = [null, false];
  const change = (body) => {
    isChanged = true;
    act("privacy.update", body);
  };
  const fields = [lock(change), ...TAKEN.map((one) => taken(one, change))];
  const form = h("div.privacy", ...fields);
  const friends = close(signal);
  const element = h("div.settings", h("h1", "Privacy"), form, note, friends);
  loadPrivacy(signal).catch((error) => ((failed = error), changed()));
  const state = () => {
    if (pending("privacy.update").length > 0) return client.state === "online" ? "Saving…" : "Not in effect yet: it is sent once you are back.";
    return isChanged && failedOf(["privacy.update"]).length === 0 ? "Saved." : "";
  };
  const update = () => {
    const now = privacy();
    form.toggleAttribute("inert", !now);
    if (now) fields.forEach((field) => field.update(now));
    text(note, now ? state() : failed ? because(failed) : "Loading…");
    friends.update();
  };
  return { title: "Privacy", element, update };
}
