// Builds the package into dist/, and the module that the server serves: the core, readable, in one file.
//
//     node build.mjs              both
//     node build.mjs dist         the package
//     node build.mjs served FILE  the module, as this file

import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { rollup } from "rollup";
import { minify } from "terser";

const [, , only, file] = process.argv;
const here = (path) => new URL(path, import.meta.url).pathname;
const SERVED = file ?? here("../../web/assets/tailrace.js");

const HEADER = `/**
 * tailrace.js: the client of Tailrace streams. One ES module without dependencies; an EventSource does without it, where its
 * limits do not matter (docs/protocol.md).
 *
 *     import { Tailrace } from "./tailrace.js";
 *
 *     const stream = new Tailrace("/t/acme/events", { topics: ["orders"], from: "-15m" });
 *     stream.on("order.created", (event) => console.log(event.lastEventId, event.json()));
 *     stream.on("tailrace.gap", (event) => reloadFromTheDatabase(event.json()));
 *
 * Built from clients/js/src by \`npm run build\` in clients/js: change it there. The npm package \`tailrace\` is the same, with
 * types, and with what pages seldom need: resuming over reloads, one connection for all tabs, React.
 */
`;

/** The compiler drops empty lines, but no comments. */
const MARK = "//~";

/** Names that are not seen from outside. */
const INTERNAL = /^(address|enter|hold|move|opened|patience|position|received|rest|room|seen|take|ways|wrap)$/;

async function compile() {
  await rm(here("build"), { recursive: true, force: true });
  await cp(here("src"), here("build/src"), { recursive: true });
  for (const name of await readdir(here("build/src"))) {
    const path = here(`build/src/${name}`);
    await writeFile(path, (await readFile(path, "utf8")).replace(/^$(?!\n*$(?![\s\S]))/gm, MARK));
  }
  const to = ["--rootDir", here("build/src"), "--outDir", here("build/js")];
  execFileSync(here("node_modules/.bin/tsc"), ["-p", here("tsconfig.build.json"), ...to], { stdio: "inherit" });
}

const readable = (code) =>
  code
    .replace(new RegExp(`^\\s*${MARK}$`, "gm"), "")
    .replace(/^( +)/gm, (indent) => indent.slice(indent.length / 2)) // the compiler indents by four
    .replace("\nclass Tailrace {", "\nexport class Tailrace {")
    .replace(/\nexport \{ Tailrace \};\n/, "")
    .replace(/\n{3,}/g, "\n\n");

async function served() {
  const bundle = await rollup({ input: here("build/js/tailrace.js") });
  const { output } = await bundle.generate({ format: "es" });
  await writeFile(SERVED, HEADER + "\n" + readable(output[0].code).trim() + "\n");
}

async function dist() {
  await rm(here("dist"), { recursive: true, force: true });
  const compress = { passes: 3, unsafe_arrows: true, keep_fargs: false };
  const options = { module: true, ecma: 2022, compress, mangle: { properties: { regex: INTERNAL, builtins: true } } };
  const plugin = { name: "minify", renderChunk: (code) => minify(code, options) };
  for (const name of ["index", "react", "worker"]) {
    const bundle = await rollup({ input: here(`build/js/${name}.js`), external: name === "index" ? [] : ["react", here("build/js/index.js")] });
    await bundle.write({ file: here(`dist/${name}.js`), format: "es", plugins: [plugin], paths: (id) => id.replace(/.*\/index.js$/, "./index.js") });
  }
  for (const name of ["index", "protocol", "react", "tailrace", "types"]) await cp(here(`build/js/${name}.d.ts`), here(`dist/${name}.d.ts`));
}

await compile();
if (only !== "dist") await served();
if (only !== "served") await dist();
