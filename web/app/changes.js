// One bell for all: whatever is known changes, and what is on the page is brought up to date once, soon after.

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
  // A hidden page gets no frames, but its title still counts what is new.
  if (document.hidden) setTimeout(ring);
  else requestAnimationFrame(ring);
}

/** Calls `listener` after changes, until `signal` is aborted. */
export function onChange(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

// Times in words grow old, too.
setInterval(changed, 30_000);
