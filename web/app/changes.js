// One bell for all: whatever is known changes, and soon after what is on the page is brought up to date once.

const listeners = new Set();
let due = false;

function ring() {
  due = false;
  for (const listener of [...listeners]) listener();
}

/** Says that something has changed. */
export function changed() {
  if (due) return;
  due = true;
  // Not with the next frame: a hidden page gets none, and its title still counts what is new.
  setTimeout(ring);
}

/** Calls `listener` after changes, until `signal` is aborted. */
export function onChange(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

// Times in words grow old, too.
setInterval(changed, 30_000);
document.addEventListener("visibilitychange", changed);
