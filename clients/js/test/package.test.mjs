// What is published, and what the server serves of it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { PROTOCOL } from "tailrace";

const folder = new URL("..", import.meta.url).pathname;
const read = (path) => readFile(new URL(`../${path}`, import.meta.url), "utf8");
const run = (program, ...parameters) => execFileSync(program, parameters, { cwd: folder, encoding: "utf8" });

/** In bytes: what a page loads, compressed; and the tarball, with types, React's hook and the README. */
const MOST = { loaded: 6_000, packed: 11_500 };

test("the module that the server serves is a fresh build", async () => {
  const scratch = await mkdtemp(join(tmpdir(), "tailrace-"));
  run(process.execPath, "build.mjs", "served", join(scratch, "tailrace.js"));
  const isFresh = (await read("../../web/assets/tailrace.js")) === (await readFile(join(scratch, "tailrace.js"), "utf8"));
  assert.ok(isFresh, "web/assets/tailrace.js is not what clients/js/src is: run `npm run build` in clients/js");
  await rm(scratch, { recursive: true });
});

test("every recipe of the README compiles, and so does what must; what must not does not", async () => {
  const readme = await read("README.md");
  await mkdir(join(folder, "build/readme"), { recursive: true });
  const recipes = [...readme.matchAll(/^```(tsx?)\n(.*?)^```/gms)];
  assert.ok(recipes.length >= 7);
  for (const [index, [, kind, text]] of recipes.entries()) await writeFile(join(folder, `build/readme/${index}.${kind}`), text);
  run("node_modules/.bin/tsc", "-p", "test");
});

test("the version is the server's, and ids are those that the protocol describes", async () => {
  const cargo = await read("../../Cargo.toml");
  const { version, license } = JSON.parse(await read("package.json"));
  const [, theirs] = /\[workspace\.package\]\nversion = "(.*)"/.exec(cargo);
  assert.deepEqual([version, license], [theirs, /\nlicense = "(.*)"/.exec(cargo)[1]]);
  const [, ids] = /\| 1 \| version, (\d+) \|/.exec(await read("../../docs/protocol.md"));
  assert.equal(PROTOCOL, Number(ids));
});

test("the package is small, and has all that it names", async () => {
  const [{ size, files }] = JSON.parse(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts"));
  const names = files.map(({ path }) => path);
  const { exports } = JSON.parse(await read("package.json"));
  for (const target of Object.values(exports).flatMap((entry) => Object.values(entry))) {
    if (target.startsWith("./dist/")) assert.ok(names.includes(target.slice(2)), target);
  }
  const loaded = gzipSync(await read("dist/index.js"), { level: 9 }).length;
  console.log(`${loaded} bytes are loaded, ${size} packed: ${names.join(", ")}`);
  assert.ok(loaded < MOST.loaded && size < MOST.packed, `${loaded} and ${size} bytes`);
});
