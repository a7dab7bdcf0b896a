// Tells the stories of interop/rpc with a client; what the words of a story mean is said there.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";
import { withLimit } from "../postrider.mjs";

const STORIES = new URL("../../../rpc/", import.meta.url);
const PATIENCE_MS = 30_000;

/** Every story as `{ name, about, steps }`, by name. */
export function stories() {
  const files = readdirSync(STORIES).filter((name) => name.endsWith(".json")).sort();
  return files.map((file) => ({ name: file.replace(".json", ""), ...JSON.parse(readFileSync(new URL(file, STORIES), "utf8")) }));
}

/** Goes through a story: `known` are the names that it may use from its beginning. */
export async function tell(story, client, receiver, known) {
  const names = new Map(Object.entries(known));
  for (const step of story.steps) {
    try {
      await (step.received === undefined ? calls(step, client, names) : receives(step, receiver, names));
    } catch (error) {
      error.message = `${story.name}, "${step.title}": ${error.message}`;
      throw error;
    }
  }
}

async function calls(step, client, names) {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await client.call(step.call, filled(step.send, names), step.key);
    try {
      return compare(step, answer, names);
    } catch (error) {
      if (!step.until || performance.now() > end) throw error;
      // No call waits for a change.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function compare(step, { refused, answer }, names) {
  if (step.refused !== undefined) {
    assert.ok(refused, `it was answered: ${JSON.stringify(answer)}`);
    assert.equal(refused.code, step.refused.code, refused.message);
    assert.ok(refused.message.includes(step.refused.message), `${step.refused.message} is not in: ${refused.message}`);
    return;
  }
  assert.ok(!refused, `it was refused: ${refused?.code} ${refused?.message}`);
  const bound = new Map();
  match(step.answer ?? step.shows, answer, { exact: step.answer !== undefined, names, bound, path: "answer" });
  for (const [name, value] of bound) names.set(name, value);
}

async function receives(step, receiver, names) {
  const arrived = receiver.requests(step.received, step.requests.length);
  const came = await withLimit(arrived, PATIENCE_MS, `not all of the ${step.requests.length} requests came to ${step.received}`);
  for (const [index, { json, secret, ...wanted }] of step.requests.entries()) {
    const { method, headers, body } = came[index];
    const text = body.toString("utf8");
    const context = { exact: false, names, bound: new Map(), path: `request ${index}` };
    match(wanted, { method, headers, text }, context);
    if (json !== undefined) {
      // Who names its version means the whole envelope.
      match(json, JSON.parse(text), { ...context, exact: Object.hasOwn(json, "version"), path: `${context.path}.json` });
    }
    if (secret !== undefined) new Webhook(filled(secret, names)).verify(text, headers);
  }
}

/** A value with what its `${name}` stand for. */
function filled(value, names) {
  if (typeof value === "string") {
    return value.replace(/\$\{([^}]+)\}/g, (_, name) => {
      assert.ok(names.has(name), `nothing is called ${name}`);
      return names.get(name);
    });
  }
  if (Array.isArray(value)) return value.map((member) => filled(member, names));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, filled(member, names)]));
}

const KINDS = {
  uuid: (value) => typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
  time: (value) => typeof value === "string" && /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z$/.test(value),
  text: (value) => typeof value === "string" && value !== "",
  count: (value) => Number.isInteger(value) && value > 0,
};

/** Fails where `value` is not as wanted; what a story gives names to lands in `bound`. */
function match(wanted, value, context) {
  const { names, bound, path } = context;
  const kind = typeof wanted === "string" ? wanted.match(/^<([a-z]+)(?: as (.+))?>$/) : null;
  if (kind) {
    assert.ok(Object.hasOwn(KINDS, kind[1]), `there is no kind ${kind[1]}`);
    assert.ok(KINDS[kind[1]](value), `${path} is no ${kind[1]}: ${JSON.stringify(value)}`);
    if (kind[2] !== undefined) bound.set(kind[2], value);
  } else if (Array.isArray(wanted)) {
    matchList(wanted, value, context);
  } else if (wanted !== null && typeof wanted === "object") {
    matchObject(wanted, value, context);
  } else {
    assert.deepEqual(value, filled(wanted, names), `${path} is ${JSON.stringify(value)} in place of ${JSON.stringify(filled(wanted, names))}`);
  }
}

function matchList(wanted, value, context) {
  const { exact, path } = context;
  assert.ok(Array.isArray(value), `${path} is no list: ${JSON.stringify(value)}`);
  if (exact) {
    assert.equal(value.length, wanted.length, `${path} has ${value.length} entries: ${JSON.stringify(value)}`);
    wanted.forEach((member, index) => match(member, value[index], { ...context, path: `${path}[${index}]` }));
    return;
  }
  for (const member of wanted) {
    const first = value.find((candidate) => fits(member, candidate, context));
    assert.ok(first !== undefined, `${path} has no ${JSON.stringify(member)}: ${JSON.stringify(value)}`);
    match(member, first, context);
  }
}

function fits(wanted, value, context) {
  try {
    match(wanted, value, { ...context, bound: new Map() });
    return true;
  } catch {
    return false;
  }
}

function matchObject(wanted, value, context) {
  const { exact, path } = context;
  assert.ok(value !== null && typeof value === "object" && !Array.isArray(value), `${path} is no object: ${JSON.stringify(value)}`);
  for (const [key, member] of Object.entries(wanted)) match(member, value[key], { ...context, path: `${path}.${key}` });
  const more = exact ? Object.keys(value).filter((key) => !Object.hasOwn(wanted, key)) : [];
  assert.deepEqual(more, [], `${path} has more: ${JSON.stringify(value)}`);
}
