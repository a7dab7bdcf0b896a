// Payloads as they are typed: sent byte for byte, and so never read and written anew.

/** What is wrong with a payload; undefined where it is the JSON of an object, or nothing, which stands for an empty one. */
export function payloadFault(text: string): string | undefined {
  if (text.trim() === "") return undefined;
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (cause) {
    return `This is no JSON: ${cause instanceof Error ? cause.message : "it cannot be read"}`;
  }
  return typeof read === "object" && read !== null && !Array.isArray(read) ? undefined : "A payload is an object: it begins with { and ends with }.";
}

/** JSON of an object with one more field, whose value is JSON already and stays as it is. */
export function withField(fields: Readonly<Record<string, unknown>>, name: string, json: string): string {
  const others = JSON.stringify(fields).slice(1, -1);
  return `{${others}${others === "" ? "" : ","}${JSON.stringify(name)}:${json.trim() === "" ? "{}" : json.trim()}}`;
}
