// Real payloads: every published example of every GitHub event, each spelt in several legal ways.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
const EXAMPLES = dirname(require.resolve("@octokit/webhooks-examples/package.json"));

/** Spellings that mean the same and differ in their bytes; a server that re-serialises cannot keep them apart. */
export const spellings = {
  compact: (value) => JSON.stringify(value),
  pretty: (value) => `${JSON.stringify(value, null, 2).replaceAll("\n", "\r\n")}\r\n`,
  odd: (value) => `\n${spellOddly(value)} \t`,
};

/** Every different example as `{ type, value }`. */
export function githubEvents() {
  const seen = new Map();
  for (const edition of editions()) {
    for (const event of JSON.parse(readFileSync(edition, "utf8"))) {
      for (const value of event.examples) seen.set(`${event.name} ${JSON.stringify(value)}`, { type: event.name, value });
    }
  }
  return [...seen.values()];
}

/** One file per edition of GitHub: all that there are, so that a later release of the package is not read in part. */
function editions() {
  const files = readdirSync(EXAMPLES).map((name) => join(EXAMPLES, name, "index.json"));
  return files.filter((file) => existsSync(file)).sort();
}

/** Legal JSON that parsers and writers are known to change. */
export const awkward = [
  '{"big":9007199254740993,"bigger":123456789012345678901234567890,"tiny":1e-400}',
  '{"as written":[1.0,1.10,1E5,1e+5,-0,-0.0,0.1e1]}',
  '{"b":1,"a":2,"b":3}',
  '{"lone":"\\ud83d","pair":"\\ud83d\\ude00","nul":"\\u0000","slash":"\\/","raw":"\u2028\u2029 \u007f 日本語 😀"}',
  `{"deep":${"[".repeat(60)}${"]".repeat(60)}}`,
  '{"":"","__proto__":{"polluted":true},"constructor":null}',
  " \t\r\n{ } \n",
];

function spellOddly(value) {
  if (Array.isArray(value)) return `[ ${value.map(spellOddly).join("\t, ")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value).map(([key, member]) => `${spellOddly(key)} :\n${spellOddly(member)}`);
    return `{${members.join(" ,\t")} }`;
  }
  if (typeof value === "string") return `"${value.replace(/[^\x20-\x7e]|[e"\\/]/g, escaped)}"`;
  if (Number.isInteger(value)) return `${value}.0e0`;
  return JSON.stringify(value);
}

/** One UTF-16 code unit as an escape with upper-case digits, which no common writer produces. */
const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
