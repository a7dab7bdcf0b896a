// Batches that go on in the server: deliveries retried, events re-pushed, dead letters replayed. Their progress is followed whatever page is
// shown, and found again after the page was reloaded. What is too much for one batch is done by several, one after the other.
import { type MessageInitShape, create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import type { ReplayJob } from "../gen/postrider/v1/dead_letters_pb";
import { RetryMatchingRequestSchema } from "../gen/postrider/v1/ledger_pb";
import { type BatchJobStatus, BatchJobStatusSchema } from "../gen/webhook/webhook_pb";
import { api } from "./api";
import { type Trouble, trouble } from "./errors";
import { keep, recall } from "./storage";

interface Calls {
  status: (id: string) => Promise<BatchJobStatus | undefined>;
  cancel: (id: string) => Promise<unknown>;
  /** Begins the next batch of what is too much for one; an empty id where nothing is left of it. */
  next?: (rest: string) => Promise<{ id: string; rest: string }>;
}

/** What is kept in the tab. */
interface Kept {
  id: string;
  /** What the batches after this one are begun with; empty where this is the last one. */
  rest: string;
  /** How many are meant in all, as they were counted at the beginning. */
  meant: number;
  /** What the batches before have done. */
  before: Sum;
}

interface Sum {
  total: number;
  processed: number;
  failed: number;
}

const NONE: Sum = { total: 0, processed: 0, failed: 0 };

const LOOK_MS = 500;
const AFTER_FAILURE_MS = 3_000;

export class Batch {
  /** Its id; empty where there is none. */
  id = $state("");
  now = $state.raw<BatchJobStatus | undefined>(undefined);
  problem = $state.raw<Trouble | undefined>(undefined);
  /** Whether it was asked to stop. */
  stopping = $state(false);
  /** Called once when it has ended. */
  ended: (now: BatchJobStatus) => void = () => undefined;
  readonly #name: string;
  readonly #calls: Calls;
  /** Whether the server knows nothing more of it. */
  #over = $state(false);
  #rest = $state("");
  #meant = $state(0);
  #before = $state.raw<Sum>(NONE);
  /** Whether the next one is being begun. */
  #between = $state(false);
  /** Counts what it looks for: an answer to an earlier question is not heard. */
  #round = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, calls: Calls) {
    this.#name = name;
    this.#calls = calls;
  }

  /** Whether it is still going on. */
  get isRunning(): boolean {
    if (this.#between) return true;
    return this.id !== "" && !this.#over && (this.now === undefined || this.now.status === "pending" || this.now.status === "processing");
  }

  /** How far it is, with the batches before and those that are to come. */
  get done(): Sum {
    const { total, processed, failed } = this.#before;
    const now = this.now ?? NONE;
    const begun = total + now.total;
    return { total: this.#rest === "" ? begun : Math.max(this.#meant, begun), processed: processed + now.processed, failed: failed + now.failed };
  }

  /** Whether there is more of it that waits for somebody to go on: the next batch could not be begun. */
  get isHeld(): boolean {
    return this.#rest !== "" && !this.isRunning && this.now?.status === "completed";
  }

  /** Follows a batch that was started. `rest` begins the next one when it has ended, until there is nothing left of the `meant`. */
  follow(id: string, rest = "", meant = 0): void {
    this.#take({ id, rest, meant, before: NONE });
  }

  /** Goes on with the one that was followed before the page was loaded, if there was one. */
  resume(): void {
    const kept = recall("tab", this.#name);
    if (this.id !== "" || kept === null) return;
    try {
      this.#take(JSON.parse(kept) as Kept);
    } catch {
      keep("tab", this.#name, null);
    }
  }

  /** Stops it. What it has done stays, and no further batch is begun. */
  async cancel(): Promise<void> {
    const id = this.id;
    this.#rest = "";
    // Nor does the page begin another one after it was loaded anew.
    if (recall("tab", this.#name) !== null) keep("tab", this.#name, JSON.stringify({ id, rest: "", meant: this.#meant, before: this.#before } satisfies Kept));
    this.stopping = true;
    try {
      await this.#calls.cancel(id);
    } catch (cause) {
      // One that has just ended needs no stopping where the next one was to begin.
      if (id === this.id && !this.#between) this.problem = trouble(cause);
    }
    this.stopping = false;
    if (id === this.id && this.isRunning && !this.#between) await this.#look();
  }

  /** Begins the next batch of it. */
  async goOn(): Promise<void> {
    const { next } = this.#calls;
    if (next === undefined || this.#between) return;
    const own = this.#round;
    this.#between = true;
    this.problem = undefined;
    try {
      const begun = await next(this.#rest);
      if (own !== this.#round) return;
      // Somebody has stopped it meanwhile.
      if (this.#rest === "" && begun.id !== "") await this.#calls.cancel(begun.id);
      const before = this.done;
      const total = this.#before.total + (this.now?.total ?? 0);
      this.#between = false;
      if (begun.id === "") {
        this.#rest = "";
        this.#end();
      } else {
        this.#take({ id: begun.id, rest: this.#rest === "" ? "" : begun.rest, meant: this.#meant, before: { ...before, total } });
      }
    } catch (cause) {
      if (own === this.#round) this.problem = trouble(cause);
    }
    if (own === this.#round) this.#between = false;
  }

  /** Follows it no more. */
  dismiss(): void {
    clearTimeout(this.#timer);
    this.#round += 1;
    this.#over = false;
    this.#between = false;
    this.#rest = "";
    this.#meant = 0;
    this.#before = NONE;
    this.id = "";
    this.now = undefined;
    this.problem = undefined;
    keep("tab", this.#name, null);
  }

  #take(kept: Kept): void {
    this.dismiss();
    this.id = kept.id;
    this.#rest = kept.rest;
    this.#meant = kept.meant;
    this.#before = kept.before;
    keep("tab", this.#name, JSON.stringify(kept));
    void this.#look();
  }

  #end(): void {
    keep("tab", this.#name, null);
    if (this.now !== undefined) this.ended(this.now);
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    this.#round += 1;
    const own = this.#round;
    // What nobody sees is looked at less often.
    let pause = document.hidden ? AFTER_FAILURE_MS : LOOK_MS;
    try {
      const now = await this.#calls.status(this.id);
      if (own !== this.#round) return;
      this.now = now;
      this.problem = undefined;
    } catch (cause) {
      if (own !== this.#round) return;
      this.problem = trouble(cause);
      if (!this.problem.mayPass) {
        // Nothing more is to be learnt of it.
        this.#over = true;
        keep("tab", this.#name, null);
        return;
      }
      pause = AFTER_FAILURE_MS;
    }
    if (this.isRunning) this.#timer = setTimeout(() => void this.#look(), pause);
    else if (this.isHeld) void this.goOn();
    else this.#end();
  }
}

/** Deliveries that are retried. */
export const retries = new Batch("retry", {
  status: async (retryId) => (await api.deliveries.getRetryStatus({ retryId })).batch,
  cancel: (retryId) => api.deliveries.cancelRetry({ retryId }),
  next: async (rest) => {
    const request = fromJsonString(RetryMatchingRequestSchema, rest);
    const { retryId, nextPageToken } = await api.ledger.retryMatching(request);
    return { id: retryId, rest: restOf({ ...request, pageToken: nextPageToken }) };
  },
});

/** What is left of a bulk retry behind a token, as `follow` takes it; empty where that is nothing. */
export function restOf(request: MessageInitShape<typeof RetryMatchingRequestSchema>): string {
  return (request.pageToken ?? "") === "" ? "" : toJsonString(RetryMatchingRequestSchema, create(RetryMatchingRequestSchema, request));
}

/** Events that are re-pushed. */
export const repushes = new Batch("repush", {
  status: async (repushId) => (await api.events.getRepushStatus({ repushId })).batch,
  cancel: (repushId) => api.events.cancelRepush({ repushId }),
});

/** Dead letters that are replayed. */
export const replays = new Batch("replay", {
  status: async (jobId) => told((await api.deadLetters.getReplayJob({ jobId })).job),
  cancel: (jobId) => api.deadLetters.cancelReplayJob({ jobId }),
});

/** A job as other batches are told. What it left as it was is no failure. */
function told(job: ReplayJob | undefined): BatchJobStatus | undefined {
  if (job === undefined) return undefined;
  return create(BatchJobStatusSchema, {
    status: job.state === "running" ? "processing" : job.state,
    total: Number(job.matched),
    processed: Number(job.replayed + job.left),
    createdAt: job.createdAt,
  });
}
