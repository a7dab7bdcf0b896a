// Starts the real binary on a port and a directory of its own, and speaks its REST APIs.
import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;
const TALK_KEPT_BYTES = 16_384;

export const binary = path.resolve(process.env.POSTRIDER_BIN ?? path.join(repository, "target/debug/postrider"));

/** Starts `postrider serve`, in development mode unless the flags say otherwise; the server ends with `stop()`. */
export async function startPostrider(flags = ["--dev"], settings = {}) {
  await access(binary).catch(() => {
    throw new Error(`no binary at ${binary}: run \`cargo build -p postrider-server\` or set POSTRIDER_BIN`);
  });
  const directory = await mkdtemp(path.join(tmpdir(), "postrider-interop-"));
  const portFile = path.join(directory, "port");
  const child = spawn(
    binary,
    ["serve", ...flags, "--listen", "127.0.0.1:0", "--port-file", portFile, "--data-dir", path.join(directory, "data")],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...cleanEnvironment(), ...settings }, cwd: directory },
  );
  let talk = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => { talk = (talk + text).slice(-TALK_KEPT_BYTES); });
  }
  const ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(signal ?? code)));
  const failed = new Promise((_, reject) => child.once("error", reject));
  const stop = async () => {
    child.kill("SIGTERM");
    const how = await withLimit(ended, STOP_LIMIT_MS, "the server did not stop after SIGTERM").catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
    await rm(directory, { recursive: true, force: true });
    return how;
  };
  const giveUp = new AbortController();
  try {
    const died = ended.then((how) => { throw new Error(`the server ended with ${how} instead of listening`); });
    const first = Promise.race([addressFrom(portFile, giveUp.signal), died, failed]);
    const address = await withLimit(first, START_LIMIT_MS, "the server did not listen in time");
    return { url: `http://${address}`, stop, talk: () => talk };
  } catch (error) {
    child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
    throw new Error(`${error.message}\n${talk}`, { cause: error });
  } finally {
    giveUp.abort();
  }
}

/** The environment without settings that belong to another server. */
export function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("POSTRIDER_")));
}

/** Waits until the server has written the address that it accepts connections on, or the signal says to give up. */
function addressFrom(portFile, signal) {
  return new Promise((resolve, reject) => {
    const look = async () => {
      const text = await readFile(portFile, "utf8").catch(() => "");
      if (text.endsWith("\n")) resolve(text.trim());
    };
    watch(path.dirname(portFile), { signal }).on("change", look).on("error", reject);
    look();
  });
}

/** Fails with `message` if `promise` is not settled within `ms`. */
export async function withLimit(promise, ms, message) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(message)), ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One request to the Tasks API; answers the status, the headers and the JSON body, if there is one. */
async function call(base, method, route, { headers = {}, body } = {}) {
  const response = await fetch(base + route, { method, headers, body });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
}

/** Makes a key that may do everything in a namespace. */
export async function makeKey(base, masterKey, namespace) {
  const answer = await call(base, "POST", "/v1/keys", {
    headers: { "content-type": "application/json", "x-api-key": masterKey },
    body: JSON.stringify({ name: "interop", namespace, scopes: ["read", "write"] }),
  });
  if (answer.status !== 201) throw new Error(`POST /v1/keys: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.key;
}

/** Creates a subscription and answers its id. */
export async function subscribe(base, settings) {
  const answer = await call(base, "POST", "/subscriptions", {
    headers: { "content-type": "application/json" },
    body: JSON.stringify(settings),
  });
  if (answer.status !== 201) throw new Error(`POST /subscriptions: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.id;
}

/** Sends `body` (bytes) to a subscription. */
export function ingest(base, subscription, body, { type, signature } = {}) {
  const headers = { "content-type": "application/json" };
  if (type !== undefined) headers["x-event-type"] = type;
  if (signature !== undefined) headers["x-hub-signature-256"] = signature;
  return call(base, "POST", `/ingest/${subscription}`, { headers, body });
}

/** Reads a delivery task and its logs. */
export const readDelivery = (base, id) => call(base, "GET", `/deliveries/${id}`);

/** Reads the newest logs of a subscription. */
export const recentLogs = (base, subscription) => call(base, "GET", `/subscriptions/${subscription}/deliveries?limit=100`);

/** Reads a delivery until `holds(it)`; polls because the API has no way to wait. */
export async function untilDelivery(base, id, holds, limitMs = 30_000) {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await readDelivery(base, id);
    if (answer.status === 200 && holds(answer.body)) return answer.body;
    if (performance.now() > end) throw new Error(`delivery ${id} stays ${answer.status} ${JSON.stringify(answer.body)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Reads a delivery until its task has `status`. */
export const untilStatus = (base, id, status) => untilDelivery(base, id, ({ task }) => task.status === status);
