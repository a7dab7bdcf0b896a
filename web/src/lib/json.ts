// JSON for reading: laid out anew without touching a byte of its values. Going through JSON.parse would change numbers such as 1.0 or 12345678901234567890.

/** A piece of laid-out JSON. */
export interface Token {
  kind: "key" | "string" | "number" | "word" | "sign" | "space";
  text: string;
}

/** Longest text that is laid out, in characters: beyond that only the text itself is shown. */
export const MOST_LAID_OUT = 512 * 1024;

/** Splits JSON into pieces, laid out with two blanks a level; null where it is no JSON, or too long. */
export function tokens(text: string): Token[] | null {
  if (text.length > MOST_LAID_OUT || !isJson(text)) return null;
  const found: Token[] = [];
  let depth = 0;
  const line = (): void => {
    found.push({ kind: "space", text: `\n${"  ".repeat(depth)}` });
  };
  const scanner = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
  let match = scanner.exec(text);
  while (match !== null) {
    const piece = match[0];
    match = scanner.exec(text);
    const following = match?.[0];
    if (piece === "{" || piece === "[") {
      found.push({ kind: "sign", text: piece });
      // An empty one stays on its line.
      if (following === (piece === "{" ? "}" : "]")) continue;
      depth += 1;
      line();
    } else if (piece === "}" || piece === "]") {
      const opener = found.at(-1);
      if (opener?.kind !== "sign" || opener.text !== (piece === "}" ? "{" : "[")) {
        depth -= 1;
        line();
      }
      found.push({ kind: "sign", text: piece });
    } else if (piece === ",") {
      found.push({ kind: "sign", text: piece });
      line();
    } else if (piece === ":") {
      found.push({ kind: "sign", text: ": " });
    } else if (piece.startsWith('"')) {
      found.push({ kind: following === ":" ? "key" : "string", text: piece });
    } else {
      found.push({ kind: /^[-\d]/.test(piece) ? "number" : "word", text: piece });
    }
  }
  return found;
}

/** JSON laid out as text; null where it is no JSON, or too long. */
export function pretty(text: string): string | null {
  return tokens(text)?.map((token) => token.text).join("") ?? null;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What bytes say: text where they are UTF-8, else null. Of a body that is kept in part the last character may be cut in two: it is left out. */
export function decode(bytes: Uint8Array, isCut = false): string | null {
  const whole = strict(bytes);
  if (whole !== null || !isCut) return whole;
  for (let cut = 1; cut <= 3 && cut <= bytes.length; cut += 1) {
    const byte = bytes[bytes.length - cut] ?? 0;
    // The first byte of a character of several.
    if (byte >= 0xc0) return strict(bytes.subarray(0, bytes.length - cut));
    if (byte < 0x80) return null;
  }
  return null;
}

function strict(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The first bytes as hexadecimal digits, sixteen a line. */
export function hex(bytes: Uint8Array, most = 1024): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, most); at += 16) {
    const row = [...bytes.subarray(at, Math.min(at + 16, most))];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const signs = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${signs}`);
  }
  return lines.join("\n");
}
