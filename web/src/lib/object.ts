// JSON objects that a person writes: schemas and payloads. They are sent as numbers of 64 bits, texts, lists and objects, and not as they are written.
import type { JsonObject } from "@bufbuild/protobuf";
import { tokens } from "./json";

/** An object, or what is wrong with the text. */
export type Read = { ok: true; value: JsonObject } | { ok: false; error: string };

/** Reads a text as a JSON object. */
export function readObject(text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return { ok: false, error: `This is no JSON: ${cause instanceof Error ? cause.message : "it cannot be read"}.` };
  }
  if (!isObject(value)) return { ok: false, error: "This is no object: it begins with { and ends with }." };
  const changed = tokens(text)?.find((token) => token.kind === "number" && !isExact(token.text));
  if (changed !== undefined) return { ok: false, error: `The number ${changed.text} has no exact place in 64 bits: write it as a text, or shorter.` };
  return { ok: true, value };
}

/** An object as a person reads and changes it. */
export function written(value: JsonObject): string {
  return JSON.stringify(value, null, 2);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a number as it is written comes to the same where it is sent. Of those with a point or an exponent the nearest one does. */
function isExact(text: string): boolean {
  const number = Number(text);
  if (!Number.isFinite(number)) return false;
  return !/^-?\d+$/.test(text) || BigInt(number) === BigInt(text);
}
