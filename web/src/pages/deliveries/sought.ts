// Deliveries by a text out of a log: their own id or idempotency key, or the id or key of their event, endpoint, subscription or dead letter.
import type { Client } from "@connectrpc/connect";
import type { DeliverySummary, Finding, LedgerService } from "../../gen/postrider/v1/ledger_pb";
import type { Portion } from "../../lib/poll.svelte";
import type { Filter } from "./filter";

type Ledger = Pick<Client<typeof LedgerService>, "find" | "listDeliveries" | "explainDelivery" | "explainEvent">;

type Narrowing = "eventId" | "endpointId" | "subscriptionId";

/** How long it may take to look through the newest deliveries for a key. */
const PATIENCE_MS = 60_000;

const PAGE_ROWS = 100;

/** Most lists that are asked for a page: a key may be that of an event in each of many namespaces. */
const MOST_LISTS = 10;

/** What a finding narrows a list by, where it does. */
const NARROWS: Readonly<Record<string, Narrowing>> = {
  event: "eventId",
  endpoint: "endpointId",
  subscription: "subscriptionId",
};

/** What may be the number of an event. */
const NUMBER = /^[+-]?\d+$/;

/** Something that was found, and that has deliveries. */
interface Wide {
  by: Narrowing;
  id: string;
}

/** Where a page begins: in the lists of what was found, one after the other, and behind them in the search for the text. */
interface Place {
  /** What was found. */
  wide: Wide[];
  /** Which of them is walked. */
  at: number;
  /** Where its list goes on; empty at its beginning. */
  list: string;
  /** Deliveries that were found by themselves: they are shown already. */
  named: string[];
  /** Where to go on looking for the text; empty where everything was looked through. */
  find: string;
}

/** A page of the deliveries that the text names and the filter lets through. It may be empty, and have a next one all the same. */
export async function deliveriesOf(ledger: Ledger, text: string, filter: Filter, token: string, signal: AbortSignal): Promise<Portion<DeliverySummary>> {
  const place: Place = token === "" ? { wide: [], at: 0, list: "", named: [], find: "" } : (JSON.parse(token) as Place);
  if (place.at < place.wide.length) return listed(ledger, filter, place, signal);
  const found = await ledger.find({ text, namespace: filter.namespace, pageToken: place.find }, { signal, timeoutMs: PATIENCE_MS });
  const fresh = [...new Set(found.findings.map(deliveryOf))].filter((id) => id !== "" && !place.named.includes(id));
  const stories = await Promise.all(fresh.map((deliveryId) => ledger.explainDelivery({ deliveryId }, { signal })));
  const isNew = (row: DeliverySummary): boolean => isLetThrough(row, filter) && !isAmong(row, place.wide);
  const rows = stories.flatMap(({ delivery }) => (delivery !== undefined && isNew(delivery) ? [delivery] : []));
  // What was walked before stays in the place: nothing is shown twice.
  const wide = [...place.wide, ...(await meant(ledger, text, found.findings, signal))];
  const named = [...place.named, ...fresh];
  const more = await listed(ledger, filter, { wide, at: place.at, list: "", named, find: found.nextPageToken }, signal);
  return { rows: [...rows, ...more.rows], next: more.next };
}

/** What has deliveries among the findings. A number that is the key of events besides is meant as their key: that is the one which publishers know. */
async function meant(ledger: Ledger, text: string, findings: readonly Finding[], signal: AbortSignal): Promise<Wide[]> {
  const wide = new Map<string, Wide>();
  for (const { kind, id } of findings) {
    const by = NARROWS[kind];
    if (by !== undefined) wide.set(`${by} ${id}`, { by, id });
  }
  const all = [...wide.values()];
  const [first, ...others] = all;
  if (first === undefined || others.length === 0 || !NUMBER.test(text)) return all;
  // The server answers first whose number it is. There may be none: then the first one has the key, as the others have.
  const { event } = await ledger.explainEvent({ eventId: first.id }, { signal });
  return event?.event?.idempotencyKey === text ? all : others;
}

/** A page out of the lists of what was found, from a place on. It ends with a list that goes on. */
async function listed(ledger: Ledger, filter: Filter, from: Place, signal: AbortSignal): Promise<Portion<DeliverySummary>> {
  const { wide, named, find } = from;
  const rows: DeliverySummary[] = [];
  let { at, list } = from;
  let asked = 0;
  while (asked < MOST_LISTS && rows.length < PAGE_ROWS) {
    const one = wide[at];
    if (one === undefined) break;
    // Where something else of that kind is asked for besides, no delivery is of both.
    if (filter[one.by] === "" || filter[one.by] === one.id) {
      asked += 1;
      const page = await ledger.listDeliveries({ filter: { ...filter, [one.by]: one.id }, pageSize: PAGE_ROWS, pageToken: list }, { signal });
      const before = wide.slice(0, at);
      rows.push(...page.deliveries.filter((row) => !named.includes(row.deliveryId) && !isAmong(row, before)));
      list = page.nextPageToken;
      if (list !== "") break;
    }
    at += 1;
  }
  const isOver = at >= wide.length && find === "";
  const next: Place = { wide, at, list, named, find };
  return { rows, next: isOver ? "" : JSON.stringify(next) };
}

/** Whether a delivery stands in one of these lists. */
function isAmong(row: DeliverySummary, lists: readonly Wide[]): boolean {
  return lists.some(({ by, id }) => row[by] === id);
}

function deliveryOf({ kind, id, deliveryId }: Finding): string {
  return kind === "delivery" ? id : deliveryId;
}

/** Whether the rest of the filter lets a delivery through that was found by its id. */
function isLetThrough(row: DeliverySummary, filter: Filter): boolean {
  const made = row.createdAt?.seconds ?? 0n;
  const fits = (wanted: string, is: string): boolean => wanted === "" || wanted === is;
  return (
    (filter.states.length === 0 || filter.states.includes(row.state)) &&
    fits(filter.category, row.category) &&
    fits(filter.errorCode, row.errorCode) &&
    fits(filter.endpointId, row.endpointId) &&
    fits(filter.subscriptionId, row.subscriptionId) &&
    fits(filter.eventId, row.eventId) &&
    fits(filter.eventType, row.eventType) &&
    (filter.createdFrom === undefined || made >= filter.createdFrom.seconds) &&
    (filter.createdBefore === undefined || made < filter.createdBefore.seconds)
  );
}
