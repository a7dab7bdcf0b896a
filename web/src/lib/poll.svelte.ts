// Asking the server, once or again and again.
import { untrack } from "svelte";
import { type Trouble, trouble } from "./errors";

/** An answer as it is now. */
export class Answer<T> {
  /** The newest answer. It stays while another one is on its way, or fails; not where something else was asked that fails. */
  data = $state.raw<T | undefined>(undefined);
  /** Why the last question got none. */
  problem = $state.raw<Trouble | undefined>(undefined);
  /** Whether one is on its way that somebody waits for: the first one, or one after something else was asked. */
  busy = $state(true);
  /** Asks again at once. */
  again: () => void = () => undefined;
}

/** After a failure that may pass: how long until the next try, in milliseconds. */
const AFTER_FAILURE_MS = 5_000;

/**
 * Asks while the component that calls this is shown, and the page is visible.
 *
 * `ask` is called at once, and again whenever something reactive changes that it reads before its first `await`. `every` tells after how many
 * milliseconds to ask again; undefined is never. `about` names what the answer is of, such as a namespace: where that changes, the answer of the
 * former is not shown any longer.
 */
export function poll<T>(
  ask: (signal: AbortSignal) => Promise<T>, every: (data: T) => number | undefined = () => undefined, about: () => string = () => "",
): Answer<T> {
  const answer = new Answer<T>();
  let before: string | undefined;
  $effect(() => {
    const of = about();
    /** Whether this question has an answer: what is shown may be that of another one. */
    let isAnswered = false;
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let current = 0;

    const settle = async (asked: Promise<T>, number: number): Promise<void> => {
      let pause: number | undefined;
      try {
        const data = await asked;
        if (ended.signal.aborted || number !== current) return;
        answer.data = data;
        isAnswered = true;
        answer.problem = undefined;
        pause = every(data);
      } catch (cause) {
        if (ended.signal.aborted || number !== current) return;
        answer.problem = trouble(cause);
        if (!isAnswered) answer.data = undefined;
        if (answer.problem.mayPass) {
          const advice = answer.problem.advice.replace(/Try again in a moment\.$/, "It is asked again by itself.");
          answer.problem = { ...answer.problem, advice };
          pause = AFTER_FAILURE_MS;
        }
      }
      answer.busy = false;
      if (pause !== undefined) timer = setTimeout(next, pause);
    };
    const next = (): void => {
      clearTimeout(timer);
      if (document.hidden) {
        document.addEventListener("visibilitychange", next, { once: true, signal: ended.signal });
        return;
      }
      current += 1;
      void settle(ask(ended.signal), current);
    };

    untrack(() => {
      answer.busy = true;
      if (before !== undefined && before !== of) answer.data = undefined;
      before = of;
      answer.again = () => untrack(next);
    });
    // Only what `ask` reads is to be followed.
    void settle(ask(ended.signal), current);
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  });
  return answer;
}

/** A page of a list that is walked. */
export interface Portion<Row> {
  rows: Row[];
  /** Where the next one begins; empty at the end. */
  next: string;
}

/** Most rows that a walk gathers: whoever wants to see more narrows the list. */
const MOST_ROWS = 20_000;

/** A list that is walked page by page. */
export class Walk<Row> {
  rows = $state.raw<Row[]>([]);
  problem = $state.raw<Trouble | undefined>(undefined);
  busy = $state(true);
  /** Whether there is more to be had. */
  more = $state(false);
  /** Whether there is more that is not gathered any more. */
  full = $state(false);
  /** Gets the next page. */
  next: () => void = () => undefined;
  /** Starts over; what is shown stays until the first page is there. */
  again: () => void = () => undefined;
}

/** Walks a list while the component that calls this is shown; begins anew whenever something reactive changes that `ask` reads at first. */
export function walk<Row>(ask: (token: string, signal: AbortSignal) => Promise<Portion<Row>>): Walk<Row> {
  const list = new Walk<Row>();
  let rounds = $state(0);
  list.again = () => {
    rounds += 1;
  };
  $effect(() => {
    void rounds;
    const ended = new AbortController();
    let token = "";

    const settle = async (asked: Promise<Portion<Row>>, isFirst: boolean): Promise<void> => {
      try {
        const portion = await asked;
        if (ended.signal.aborted) return;
        list.rows = isFirst ? portion.rows : [...list.rows, ...portion.rows];
        list.problem = undefined;
        token = portion.next;
        list.full = token !== "" && list.rows.length >= MOST_ROWS;
        list.more = token !== "" && !list.full;
      } catch (cause) {
        if (ended.signal.aborted) return;
        list.problem = trouble(cause);
        if (isFirst) list.rows = [];
        // It can be asked for again, but not by itself.
        list.more = false;
      }
      list.busy = false;
    };
    untrack(() => {
      list.busy = true;
      list.next = () => {
        if (list.busy || ended.signal.aborted) return;
        list.busy = true;
        void untrack(() => settle(ask(token, ended.signal), token === ""));
      };
    });
    void settle(ask(token, ended.signal), true);
    return () => ended.abort();
  });
  return list;
}
