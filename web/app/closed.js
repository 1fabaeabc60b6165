// The notice while the operators keep the service closed, or let people back in little by little.
import { h, text } from "./dom.js";
import { closed, me, onChange } from "./live.js";

const COUNTED_MS = 2 * 60_000;
const FAR_MS = 12 * 3_600_000;

/** A time of day, with its day when it is far. */
const clock = (at, left) =>
  new Date(at).toLocaleString([], { hour: "2-digit", minute: "2-digit", ...(left > FAR_MS && { weekday: "long" }) });

/** When they will be let in; a server that does not know this yet only says when to try again. */
function when({ at, isKnown }) {
  const left = at - Date.now();
  if (left <= 0) return "One moment…";
  if (left >= COUNTED_MS) return `You will be let in at about ${clock(at, left)}.`;
  const seconds = Math.ceil(left / 1000);
  const counted = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return isKnown ? `You will be let in in ${counted}.` : `We try again in ${counted}.`;
}

/** Shows the notice in `place` while it is needed. */
export function notice(place) {
  const why = h("p.because", { role: "status" });
  // Not read aloud each second.
  const until = h("p", { role: "timer" });
  const kept = h("p.note", "What you do until then is kept, and sent once you are in.");
  let ticking;
  place.append(why, until, kept);
  const update = () => {
    const shut = closed();
    place.hidden = !shut;
    clearTimeout(ticking);
    text(why, shut ? `Sound Off cannot let you in yet: ${shut.why}` : "");
    if (!shut) return;
    text(until, when(shut));
    kept.hidden = !me();
    ticking = setTimeout(update, 1000);
  };
  onChange(update);
  update();
}
