// The package for npm has what belongs in it, and works for a stranger: it is installed, imported and compiled against.
import { deepEqual, equal, ok } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const HERE = new URL("..", import.meta.url).pathname;
const [{ files, filename }] = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: HERE, encoding: "utf8" }),
);
const names = files.map(({ path }) => path).sort();
deepEqual(names, ["LICENSE", "README.md", "messages.d.ts", "package.json", "soundoff.d.ts", "soundoff.js"], filename);

const manifest = JSON.parse(await readFile(join(HERE, "package.json"), "utf8"));
deepEqual([manifest.dependencies, manifest.license, manifest.sideEffects], [undefined, "Apache-2.0", false]);
const script = await readFile(join(HERE, "soundoff.js"), "utf8");
equal(/^import |\bimport\(/m.test(script), false, "it is one module");
ok(script.length < 47_500, `${script.length} bytes are more than anybody wants to load`);
deepEqual(await readFile(join(HERE, "LICENSE"), "utf8"), await readFile(join(HERE, "../../LICENSE"), "utf8"));

const elsewhere = await mkdtemp(join(tmpdir(), "soundoff-packed-"));
try {
  const run = (command, ...given) => execFileSync(command, given, { cwd: elsewhere, encoding: "utf8" });
  const [{ filename: tarball }] = JSON.parse(run("npm", "pack", "--json", HERE));
  await writeFile(join(elsewhere, "package.json"), '{"type":"module","private":true}');
  run("npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", `./${tarball}`);
  await writeFile(
    join(elsewhere, "use.js"),
    'import * as all from "soundoff-client";\nconsole.log(Object.keys(all).sort().join());\n',
  );
  equal(run("node", "use.js").trim(), "Session,SoundOff,SoundOffError,memoryStore");
  await copyFile(join(HERE, "test/types/use.ts"), join(elsewhere, "use.ts"));
  for (const [module, resolution] of [
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ]) {
    const lax = ["--module", module, "--moduleResolution", resolution, "--target", "es2022", "--lib", "es2022,dom"];
    run(join(HERE, "node_modules/.bin/tsc"), "--strict", "--noEmit", ...lax, "use.ts");
  }
} finally {
  await rm(elsewhere, { recursive: true });
}
