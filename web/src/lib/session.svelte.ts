// Who is signed in. The key is kept in memory, in this tab, and on this device only where that was chosen; it goes into one header and nowhere else.
import type { GetSessionResponse } from "../gen/postrider/v1/overview_pb";
import { access, api } from "./api";
import { replays, repushes, retries } from "./batch.svelte";
import { clock } from "./clock.svelte";
import { type Trouble, isRefused, trouble } from "./errors";
import { millis } from "./format";
import { keep, recall } from "./storage";
import { toasts } from "./toast.svelte";

export type Scope = "read" | "write" | "admin";

/** What a key is made of: anything else was pasted along with it. */
const KEY = /^[\x21-\x7e]{1,512}$/;

const AGAIN_MS = 3_000;

class Session {
  /** `starting` until the server has answered; `locked` where it wants a key; `away` where it is not reached. */
  state = $state<"starting" | "locked" | "open" | "away">("starting");
  /** Who the caller is, once that is known. */
  info = $state.raw<GetSessionResponse | undefined>(undefined);
  /** Why a key is asked for; empty where none was shown before. */
  why = $state("");
  /** What keeps the server from answering. */
  problem = $state.raw<Trouble | undefined>(undefined);
  /** Counts sign-ins: what is shown belongs to one of them. */
  number = $state(0);
  /** Called when somebody signs out. */
  left: () => void = () => undefined;
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    // What was still under way when the page was locked says nothing new; where no key was shown none was refused.
    access.refused = (error) => {
      if (this.state !== "locked") this.#lock(access.key === null ? "" : trouble(error).message);
    };
  }

  /** Whether a key is in use; without one the server lets the caller in by itself. */
  hasKey(): boolean {
    return access.key !== null;
  }

  /** Begins with the key that was kept, if there is one. */
  start(): Promise<void> {
    access.key = recall("tab", "key") ?? recall("device", "key");
    return this.#open(access.key !== null);
  }

  /** Signs in. Resolves when the server has answered; `why` says what was wrong. */
  async signIn(pasted: string, onDevice: boolean): Promise<void> {
    const key = pasted.trim();
    if (!KEY.test(key)) {
      this.why = "This is no key: it is one word of letters, digits and signs, without blanks.";
      return;
    }
    access.key = key;
    await this.#open(true);
    if (this.state !== "open" || access.key !== key) return;
    keep("tab", "key", key);
    keep("device", "key", onDevice ? key : null);
  }

  /** Forgets the key, here and on this device. */
  signOut(): Promise<void> {
    this.#forget();
    this.info = undefined;
    // Nor does the next one see what this one looked at.
    this.left();
    return this.#open(false);
  }

  /** Asks for a key where the server would do without one. */
  askForKey(): void {
    this.why = "";
    this.state = "locked";
  }

  /** Goes back from asking for a key, where the server does without one. */
  goOn(): Promise<void> {
    access.key = null;
    return this.#open(false);
  }

  /** Whether the caller may do this: `admin` may do everything. */
  can(scope: Scope): boolean {
    const scopes = this.info?.scopes ?? [];
    return scopes.includes("admin") || scopes.includes(scope);
  }

  /** Why the caller may not do this; undefined where it may. For the `why` of buttons. */
  lacks(scope: Scope): string | undefined {
    return this.can(scope) ? undefined : `This key lacks the scope ${scope}.`;
  }

  async #open(shown: boolean): Promise<void> {
    clearTimeout(this.#again);
    if (this.state === "open") this.state = "starting";
    try {
      const info = await api.overview.getSession({});
      const now = millis(info.now);
      if (now !== undefined) clock.adjust(now);
      this.info = info;
      this.why = "";
      this.problem = undefined;
      this.number += 1;
      this.state = "open";
    } catch (cause) {
      if (isRefused(cause)) {
        this.#lock(shown ? trouble(cause).message : "");
      } else if (this.state === "locked") {
        this.why = trouble(cause).message;
      } else {
        this.problem = trouble(cause);
        this.state = "away";
        this.#again = setTimeout(() => void this.#open(shown), AGAIN_MS);
      }
    }
  }

  #lock(why: string): void {
    this.#forget();
    this.why = why;
    this.state = "locked";
  }

  #forget(): void {
    access.key = null;
    for (const batch of [retries, repushes, replays]) batch.dismiss();
    toasts.clear();
    for (const name of ["key", "start", "start-aside"]) keep("tab", name, null);
    keep("device", "key", null);
  }
}

export const session = new Session();
