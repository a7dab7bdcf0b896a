// What must not stand in an address, and so in the browser's history.
import { access } from "./api";

const SECRET = /(?:^|\s)(?:pr_[\w-]{20,}|whsec_[\w+/=-]{16,})/;

/** From so many characters on a key is looked for within words too: a shorter one may be a part of anything. */
const LONG_KEY = 16;

/** Whether a text has what looks like an API key or a signing secret, or the key in use, which may look like anything. */
export function isSecret(text: string): boolean {
  const { key } = access;
  if (SECRET.test(text)) return true;
  if (key === null) return false;
  return key.length >= LONG_KEY ? text.includes(key) : text.split(/\s+/).includes(key);
}
