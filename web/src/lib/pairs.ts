// Names with values: labels, headers, metadata. In a form they are a list, whose rows can be empty or wrong meanwhile.

export interface Pair {
  name: string;
  value: string;
}

type Named = Readonly<Record<string, string>>;

/** The rows of a form, by name. */
export function toPairs(map: Named): Pair[] {
  return Object.entries(map).map(([name, value]) => ({ name, value })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What rows say; empty ones say nothing. */
export function toMap(pairs: readonly Pair[]): Record<string, string> {
  return Object.fromEntries(pairs.filter((pair) => !isBlank(pair)).map(({ name, value }): [string, string] => [name.trim(), value]));
}

/** What is wrong with rows before anybody is asked; undefined where nothing is. Header names differ in more than upper and lower case. */
export function faultOf(pairs: readonly Pair[], areHeaders = false): string | undefined {
  const seen = new Set<string>();
  for (const pair of pairs) {
    if (isBlank(pair)) continue;
    const name = areHeaders ? pair.name.trim().toLowerCase() : pair.name.trim();
    if (name === "") return `The value “${pair.value}” has no name.`;
    if (seen.has(name)) return `“${pair.name.trim()}” is there twice.`;
    seen.add(name);
  }
  return undefined;
}

/** Whether both say the same. */
export function isSame(a: readonly Pair[], b: readonly Pair[]): boolean {
  const spelt = (pairs: readonly Pair[]): string => JSON.stringify(toPairs(toMap(pairs)).map(({ name, value }) => [name, value]));
  return spelt(a) === spelt(b);
}

/** Names and values in a line: `region=eu, tier=gold`. */
export function inLine(map: Named): string {
  return toPairs(map).map(({ name, value }) => `${name}=${value}`).join(", ");
}

/** Reads such a line. What has no `=` is a name with an empty value. */
export function fromLine(text: string): Record<string, string> {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  return Object.fromEntries(
    parts.map((part): [string, string] => {
      const at = part.indexOf("=");
      return at < 0 ? [part, ""] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    }),
  );
}

function isBlank({ name, value }: Pair): boolean {
  return name.trim() === "" && value === "";
}
