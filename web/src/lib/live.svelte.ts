// The newest deliveries as they happen. What comes between two frames is put on the screen together; what is kept is bounded, however much comes.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { DeliveryFilterSchema, DeliverySummary, WatchDeliveriesResponse } from "../gen/postrider/v1/ledger_pb";
import { untrack } from "svelte";
import { access, api, noteRefusal } from "./api";
import { type Trouble, trouble } from "./errors";
import { Gathered, merge, refresh } from "./rows";

/** How many rows come at a time at the most. More than a screen of them cannot be read four times a second. */
const LIMIT = 50;

type Filter = MessageInitShape<typeof DeliveryFilterSchema>;

/** How many rows are kept. */
export const MOST_LIVE_ROWS = 100;

/** So many new rows are put on the screen at a time: drawing more takes long, and nobody can read them before the next ones come. */
const MOST_NEW = 20;
/** After rows were drawn nothing is drawn for so many times as long as that took: the page stays quick however busy the machine is. */
const REST = 12;
/** But never for longer than this: the rows go on, whatever a drawing takes. */
const LONGEST_REST_MS = 2_000;
/** How many ids are remembered of what was too fast: what comes again is counted once. */
const MOST_COUNTED = 5_000;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** The server gives a sign of life every 10 s: a connection without one for this long is dead, whatever the network says. */
const SILENCE_MS = 30_000;

export class Live {
  rows = $state.raw<DeliverySummary[]>([]);
  /** How many new ones were too fast to be shown. */
  passed = $state(0);
  /** How many new ones came while the rows were held. */
  waiting = $state(0);
  state = $state<"connecting" | "live" | "broken">("connecting");
  problem = $state.raw<Trouble | undefined>(undefined);
  /** Whether a person holds the rows. */
  paused = $state(false);
  #pointed = false;
  #unseen: DeliverySummary[] = [];
  #gathered = new Gathered<DeliverySummary>();
  #passed = 0;
  #counted = new Set<string>();
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether something is about to be drawn, was not drawn yet, or is rested from. */
  #isDrawing = false;
  #fits: (row: DeliverySummary) => boolean = () => true;

  /** Holds the rows where they are, or lets them go on. What is known goes on changing in its place. */
  pause(on: boolean): void {
    this.paused = on;
    this.#release();
  }

  /** The same while the pointer or the focus is on them: nobody can point at what moves. */
  point(on: boolean): void {
    this.#pointed = on;
    this.#release();
  }

  clear(): void {
    this.#pointed = false;
    this.rows = [];
    this.passed = 0;
    this.waiting = 0;
    this.#unseen = [];
    this.#gathered.takeAll();
    this.#passed = 0;
    this.#counted.clear();
  }

  /** Takes what is new or changed. What does not fit the filter any more comes too, once: it leaves the rows. */
  take(message: WatchDeliveriesResponse, fits: (row: DeliverySummary) => boolean): void {
    this.#fits = fits;
    this.#passed += Number(message.passed);
    const known = this.#known();
    for (const row of this.#gathered.add(message.changed, (id) => known.has(id), fits, MOST_LIVE_ROWS)) this.#count(row.deliveryId);
    if (!this.#gathered.isEmpty || this.#passed > 0) this.#draw();
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#isDrawing = false;
  }

  /** Draws with the next frame, and rests after that. */
  #draw(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    this.#frame = requestAnimationFrame(() => {
      const began = performance.now();
      this.#apply();
      // The frame after that has it on the screen, and then this comes.
      this.#frame = requestAnimationFrame(() => {
        this.#timer = setTimeout(() => this.#rest(Math.min((performance.now() - began) * REST, LONGEST_REST_MS)));
      });
    });
  }

  #rest(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#isDrawing = false;
      if (!this.#gathered.isEmpty || this.#passed > 0) this.#draw();
    }, ms);
  }

  /** The ids of what is shown, or will be once nobody holds the rows. */
  #known(): Set<string> {
    return new Set([...this.rows, ...this.#unseen].map((row) => row.deliveryId));
  }

  /** Counts one that is too fast to be shown. */
  #count(id: string): void {
    if (this.#counted.has(id)) return;
    if (this.#counted.size >= MOST_COUNTED) this.#counted.clear();
    this.#counted.add(id);
    this.#passed += 1;
  }

  /** What changed, and of what is new and fits no more than can be shown; the others are counted. */
  #cut(changed: DeliverySummary[]): DeliverySummary[] {
    const known = this.#known();
    const most = known.size === 0 ? MOST_LIVE_ROWS : MOST_NEW;
    let fresh = 0;
    return changed.filter((row) => {
      if (known.has(row.deliveryId)) return true;
      if (!this.#fits(row)) return false;
      fresh += 1;
      if (fresh <= most) return true;
      this.#count(row.deliveryId);
      return false;
    });
  }

  #apply(): void {
    const changed = this.#cut(this.#gathered.takeAll());
    if (this.#passed > 0) this.passed += this.#passed;
    this.#passed = 0;
    if (changed.length === 0) return;
    if (this.paused || this.#pointed) {
      const held = refresh(this.rows, changed);
      const unseen = refresh(this.#unseen, held.others);
      this.rows = held.rows;
      this.#unseen = [...unseen.others, ...unseen.rows].filter(this.#fits).slice(0, MOST_LIVE_ROWS);
      this.waiting += unseen.others.length;
    } else {
      this.rows = merge(this.rows, changed, MOST_LIVE_ROWS).filter(this.#fits);
    }
  }

  #release(): void {
    if (this.paused || this.#pointed) return;
    this.rows = merge(this.rows, this.#unseen, MOST_LIVE_ROWS).filter(this.#fits);
    this.#unseen = [];
    this.waiting = 0;
  }
}

/** Watches while the component that calls this is shown and the page is visible. Another filter begins anew; undefined watches nothing. */
export function watch(filter: () => Filter | undefined): Live {
  const live = new Live();
  $effect(() => {
    const wanted = filter();
    if (wanted === undefined) return undefined;
    const ended = new AbortController();
    untrack(() => {
      live.clear();
      void follow(live, wanted, ended.signal);
    });
    return () => {
      ended.abort();
      live.stop();
    };
  });
  return live;
}

async function follow(live: Live, filter: Filter, ended: AbortSignal): Promise<void> {
  const states = filter.states ?? [];
  const category = filter.category ?? "";
  const errorCode = filter.errorCode ?? "";
  const fits = (row: DeliverySummary): boolean =>
    (states.length === 0 || states.includes(row.state)) &&
    (category === "" || row.category === category) &&
    (errorCode === "" || row.errorCode === errorCode);
  let pause = FIRST_PAUSE_MS;
  while (!ended.aborted) {
    await visible(ended);
    const away = new AbortController();
    const leave = (): void => {
      if (document.hidden) away.abort();
    };
    document.addEventListener("visibilitychange", leave);
    const silent = new AbortController();
    const listen = (): ReturnType<typeof setTimeout> => setTimeout(() => silent.abort(), SILENCE_MS);
    let watchdog = listen();
    const shown = access.key;
    try {
      live.state = "connecting";
      const signal = AbortSignal.any([ended, away.signal, silent.signal]);
      const messages = api.ledger.watchDeliveries({ filter, limit: LIMIT }, { signal, timeoutMs: 0 });
      for await (const message of messages) {
        clearTimeout(watchdog);
        watchdog = listen();
        live.state = "live";
        live.problem = undefined;
        pause = FIRST_PAUSE_MS;
        live.take(message, fits);
      }
      live.state = "connecting";
    } catch (cause) {
      if (ended.aborted) return;
      if (!away.signal.aborted) {
        noteRefusal(cause, shown);
        live.state = "broken";
        live.problem = trouble(
          silent.signal.aborted ? new ConnectError("Nothing has come for 30 seconds: the connection is lost.", Code.DeadlineExceeded) : cause,
        );
        if (!live.problem.mayPass) return;
      }
    } finally {
      clearTimeout(watchdog);
      document.removeEventListener("visibilitychange", leave);
    }
    if (!away.signal.aborted) {
      await sleep(pause, ended);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}

/** Until somebody can see the page. */
function visible(ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (document.hidden && !ended.aborted) return;
      document.removeEventListener("visibilitychange", look);
      ended.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    ended.addEventListener("abort", look);
    look();
  });
}

function sleep(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      ended.removeEventListener("abort", over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    ended.addEventListener("abort", over);
  });
}
