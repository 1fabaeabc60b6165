// Named checks, one line each, and what they assert with.
import assert from "node:assert/strict";

const counts = { passed: 0, failed: 0 };

/** Runs one named check. A failure is printed and the walk goes on. Returns whether it passed. */
export async function check(name, body) {
  try {
    await body();
    counts.passed += 1;
    console.log(`ok ${name}`);
    return true;
  } catch (error) {
    counts.failed += 1;
    const lines = error.stack?.split("\n").slice(1).filter((line) => !/(?:checks|waiting|device)\.mjs/.test(line));
    const place = /(?:jswalk|signin|browser)\/[\w.-]+:\d+/.exec(lines?.join("\n"));
    console.log(`FAILED ${name}: ${brief(error.message)} (${place?.[0]})`);
    return false;
  }
}

/** Prints the totals; returns the process's exit code. */
export function tally() {
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed > 0 || counts.passed === 0 ? 1 : 0;
}

export function brief(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
  return text.length > 600 ? `${text.slice(0, 600)}…` : text.replaceAll("\n", " ");
}

/** Strict equality; a difference is printed in brief. */
export function equal(found, expected) {
  if (!isDeepEqual(found, expected)) throw new Error(`found ${brief(found)}, expected ${brief(expected)}`);
}

function isDeepEqual(a, b) {
  try {
    assert.deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

export function must(condition, message) {
  if (!condition) throw new Error(brief(message));
}

/** Checks that an object has exactly these keys, each of a kind: "string", "number", "time", "ulid" or a value. */
export function shape(object, kinds) {
  equal(Object.keys(object).sort(), Object.keys(kinds).sort());
  for (const [key, kind] of Object.entries(kinds)) {
    const value = object[key];
    const good =
      kind === "string" || kind === "number" ? typeof value === kind
      : kind === "time" ? /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)
      : kind === "ulid" ? /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(value)
      : isDeepEqual(value, kind);
    must(good, `${key} is ${brief(value)}, expected ${brief(kind)}`);
  }
}
