// A request that can be made again by hand.
import { decode } from "./json";

/** A request as it was made. */
export interface Made {
  method: string;
  url: string;
  headers: readonly { name: string; value: string; masked: boolean }[];
  body: { bytes: Uint8Array; truncated: boolean; removed: boolean } | undefined;
}

/** What curl sets by itself. */
const OWN = new Set(["host", "content-length", "transfer-encoding", "connection"]);

/** The command line that makes a request again. Where a value is masked or a body is not kept whole, it says what to fill in. */
export function curl(made: Made): string {
  const parts = [`curl -i ${/[[\]{}]/.test(made.url) ? "-g " : ""}-X ${quoted(made.method)} ${quoted(made.url)}`];
  const masked: string[] = [];
  for (const header of made.headers) {
    if (OWN.has(header.name.toLowerCase())) continue;
    if (header.masked) masked.push(header.name);
    const value = header.masked ? "FILL-IN" : header.value;
    // With a colon and nothing behind it curl leaves the header out.
    parts.push(`-H ${quoted(value === "" ? `${header.name};` : `${header.name}: ${value}`)}`);
  }
  const notes = masked.length > 0 ? [`# fill in: ${masked.join(", ")}`] : [];
  if (made.body !== undefined) {
    const text = made.body.truncated || made.body.removed ? null : decode(made.body.bytes);
    if (text === null || text.includes("\0")) {
      notes.push("# put the body into the file body: it is not kept as text, or not whole");
      parts.push("--data-binary @body");
    } else if (text !== "") {
      parts.push(`--data-raw ${quoted(text)}`);
    }
  }
  return [...notes, parts.join(" \\\n  ")].join("\n");
}

/** A text as one word of a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
