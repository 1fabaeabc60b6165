// Developers' pages on a phone: a browser that is not on the server's machine shows it the secret that
// `soundoff up --lan` prints.

const HEADER = "soundoff-pairing";
const KEPT_AS = "soundoff.pairing";

/** Takes the secret of the printed address, where it stands after `#`: browsers send that to nobody. */
function take() {
  const secret = /^#pair=([\w-]+)$/.exec(location.hash)?.[1];
  if (!secret) return;
  localStorage.setItem(KEPT_AS, secret);
  // The tab's list of pages, bookmarks and what people share are to be without it.
  history.replaceState(history.state, "", location.pathname + location.search);
}
take();
addEventListener("hashchange", take);

/** Asks for what is for developers (`dev/outbox`), with the secret if this browser has it. */
export async function ask(path, init = {}) {
  const secret = localStorage.getItem(KEPT_AS);
  const answer = await fetch(path, secret ? { ...init, headers: { ...init.headers, [HEADER]: secret } } : init);
  // It is that of another server, or of another data directory.
  if (secret && isUnpaired(answer)) localStorage.removeItem(KEPT_AS);
  return answer;
}

/** Whether an answer says that the secret is missing or wrong. */
export const isUnpaired = (answer) => answer.status === 401 && answer.headers.get("www-authenticate") === "SoundOff-Pairing";
