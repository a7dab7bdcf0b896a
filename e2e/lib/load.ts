// The process that puts load on a server, from the side of a test.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./load.mjs", import.meta.url));

export interface Settings {
  url: string;
  /** The key that it shows; none in development mode. */
  key?: string | undefined;
  namespace: string;
  /** How many endpoints get each event. */
  endpoints: number;
  eventsPerSecond: number;
  seconds: number;
  /** Whether it is not steady, and something fails now and then. */
  wave?: boolean;
}

export interface Report {
  published: number;
  received: number;
  /** How long the publishing took. */
  publishedSeconds: number;
  /** Until the last one was received. */
  seconds: number;
}

export interface Load {
  /** Begins to publish. */
  begin: () => void;
  /** Resolves once so many deliveries were received. */
  reached: (received: number) => Promise<void>;
  /** Resolves when everything was received. */
  ended: Promise<Report>;
  /** Ends it wherever it is. */
  stop: () => void;
}

/** Starts it. Resolves when its endpoints are there and it waits for the beginning. */
export async function startLoad(settings: Settings): Promise<Load> {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "pipe"] });
  let talk = "";
  let received = 0;
  const waiting: { count: number; resolve: () => void }[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    talk = (talk + text).slice(-4_096);
  });
  let isReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const ended = new Promise<Report>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line) as Partial<Report> & { ready?: boolean; done?: boolean };
      if (said.ready === true) isReady();
      received = said.received ?? received;
      for (const waiter of waiting.splice(0)) {
        if (received >= waiter.count) waiter.resolve();
        else waiting.push(waiter);
      }
      if (said.done === true) resolve(said as Report);
    });
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`the load ended with ${code}: ${talk}`)));
  });
  // It is awaited where it counts.
  ended.catch(() => undefined);
  const load: Load = {
    begin: () => void child.stdin.write("go\n"),
    reached: (count) =>
      Promise.race([
        received >= count ? Promise.resolve() : new Promise<void>((resolve) => void waiting.push({ count, resolve })),
        ended.then(() => undefined),
      ]),
    ended,
    stop: () => void child.kill("SIGKILL"),
  };
  await Promise.race([ready, ended]);
  return load;
}
