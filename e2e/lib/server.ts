// Starts the real binary on a port and in a directory of its own.
import { spawn } from "node:child_process";
import { watch } from "node:fs";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Api } from "./api";
import { within } from "./until";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 30_000;
const TALK_KEPT = 16_384;

/** What is tested. */
export const binary = path.resolve(process.env["POSTRIDER_BIN"] ?? path.join(repository, "target/debug/postrider"));

/** The key that each server is started with: it sees and may do everything. */
export const MASTER_KEY = "a-master-key-of-the-browser-tests";

/** Requests are not counted here, deliveries may go to this machine, and what hangs does not hold up the end. */
const FLAGS = ["--allow-network", "127.0.0.0/8", "--rate-limit-read", "0", "--rate-limit-write", "0", "--shutdown-timeout", "1s"];

export interface Server {
  /** Where it is, without a slash at its end. */
  url: string;
  /** What the owner of the master key can do: at another node, where there are two. */
  api: Api;
  /** The key that a page needs here; none in development mode. */
  key: string | undefined;
  /** When its process was started, in milliseconds since 1970. */
  startedAt: number;
  /** When it listened. */
  listenedAt: number;
  /** The end of what it printed. */
  talk: () => string;
  /** Stops it. What it has stored is removed, unless the directory was given. */
  stop: () => Promise<void>;
}

interface Options {
  /** Whether it runs in development mode, where callers need no key. */
  dev?: boolean;
  /** Where it keeps everything, if that is to outlive it. */
  directory?: string;
  /** More flags. */
  flags?: readonly string[];
  /** More of its environment. */
  environment?: Readonly<Record<string, string>>;
}

/** A directory of one's own, for servers that are started over the same store. */
export async function makeDirectory(): Promise<{ path: string; remove: () => Promise<void> }> {
  const made = await mkdtemp(path.join(tmpdir(), "postrider-e2e-"));
  return { path: made, remove: () => rm(made, { recursive: true, force: true }) };
}

/** Starts a server, and resolves when it is ready. */
export async function startServer(options: Options = {}): Promise<Server> {
  await access(binary).catch(() => {
    throw new Error(`there is no binary at ${binary}: run scripts/e2e, which builds one, or set POSTRIDER_BIN`);
  });
  const own = await makeDirectory();
  const portFile = path.join(own.path, "port");
  const data = options.directory ?? path.join(own.path, "data");
  const flags = [...FLAGS, ...(options.flags ?? []), ...(options.dev === true ? ["--dev"] : []), "--listen", "127.0.0.1:0", "--port-file", portFile, "--data-dir", data];
  const startedAt = Date.now();
  const child = spawn(binary, ["serve", ...flags], {
    cwd: own.path,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...cleanEnvironment(), POSTRIDER_BOOTSTRAP_KEY: MASTER_KEY, ...options.environment },
  });
  let talk = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      talk = (talk + text).slice(-TALK_KEPT);
    });
  }
  const ended = new Promise<number | string | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(signal ?? code));
  });
  // It is awaited where it counts.
  ended.catch(() => undefined);
  // A run that is broken off leaves no server behind.
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);

  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    try {
      const how = await within(STOP_LIMIT_MS, "the server's end after SIGTERM", ended);
      if (how !== 0) throw new Error(`the server ended with ${how}\n${talk}`);
    } finally {
      kill();
      process.off("exit", kill);
      await own.remove();
    }
  };
  const giveUp = new AbortController();
  try {
    const died = ended.then((how): never => {
      throw new Error(`the server ended with ${how} instead of listening`);
    });
    const address = await within(START_LIMIT_MS, "the server's start", Promise.race([addressFrom(portFile, giveUp.signal), died]));
    const listenedAt = Date.now();
    const url = `http://${address}`;
    const ready = await fetch(`${url}/ready`);
    if (!ready.ok) throw new Error(`/ready: ${ready.status}`);
    await whole(url);
    const key = options.dev === true ? undefined : MASTER_KEY;
    return { url, api: new Api(url, MASTER_KEY), key, startedAt, listenedAt, talk: () => talk, stop };
  } catch (error) {
    kill();
    process.off("exit", kill);
    await own.remove();
    throw new Error(`${error instanceof Error ? error.message : error}\n${talk}`, { cause: error });
  } finally {
    giveUp.abort();
  }
}

/** Refuses a binary that was built without the dashboard. */
async function whole(url: string): Promise<void> {
  const page = await (await fetch(`${url}/`)).text();
  if (!page.includes("assets/")) throw new Error("the binary has no dashboard: run scripts/setup web, and build it again");
}

/** The environment without settings that belong to another server. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("POSTRIDER_")));
}

/** Waits until the server has written the address that it accepts connections on. */
function addressFrom(portFile: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const look = async (): Promise<void> => {
      const text = await readFile(portFile, "utf8").catch(() => "");
      if (text.endsWith("\n")) resolve(text.trim());
    };
    watch(path.dirname(portFile), { signal }).on("change", () => void look()).on("error", reject);
    void look();
  });
}
