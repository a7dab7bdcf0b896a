// Puts what Vite has built into dist/, compressed; the server's build script embeds what it finds there.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const from = new URL("build/", import.meta.url);
const to = new URL("dist/", import.meta.url);

/** All scripts together, compressed: more than this is a mistake. */
const MOST_SCRIPT_BYTES = 200_000;

/** Whose code is in the bundles: it goes with its licence. */
const BUNDLED = ["svelte", "clsx", "esm-env", "uplot", "@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web"];

/** The text of a package's licence, or what the package says that it is. */
function licence(name) {
  const folder = new URL(`node_modules/${name}/`, import.meta.url);
  const { version, license } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version}: ${license}\n\n${file === undefined ? "" : `${readFileSync(new URL(file, folder), "utf8").trim()}\n\n`}`;
}

writeFileSync(new URL("assets/licenses.txt", from), BUNDLED.map(licence).join("\n"));

for (const name of readdirSync(to)) {
  if (!name.startsWith(".")) rmSync(new URL(name, to), { recursive: true });
}

let scripts = 0;
for (const name of readdirSync(from, { recursive: true })) {
  const path = name.replaceAll("\\", "/");
  if (statSync(new URL(path, from)).isDirectory()) continue;
  const packed = gzipSync(readFileSync(new URL(path, from)), { level: 9 });
  if (path.endsWith(".js")) scripts += packed.length;
  const target = new URL(`${path}.gz`, to);
  mkdirSync(new URL(".", target), { recursive: true });
  writeFileSync(target, packed);
}

if (scripts > MOST_SCRIPT_BYTES) {
  throw new Error(`the scripts are ${scripts} bytes compressed, ${MOST_SCRIPT_BYTES} are allowed: take something out, or make it smaller`);
}
console.log(`scripts: ${scripts} bytes compressed`);
