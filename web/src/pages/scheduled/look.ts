// One scheduled webhook: the API lists them, and this looks through the list.
import type { Scheduled } from "../../gen/postrider/v1/schedule_pb";
import { api } from "../../lib/api";

/** How many pages are looked through. */
const MOST_PAGES = 40;

export interface Look {
  /** Undefined where it was not found. */
  found: Scheduled | undefined;
  /** How many were looked at. */
  looked: number;
  /** Whether these were all. */
  isAll: boolean;
}

/** Looks for one by its id, what is due first at first. */
export async function lookFor(id: string, signal: AbortSignal): Promise<Look> {
  let pageToken = "";
  let looked = 0;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const { scheduled, nextPageToken } = await api.schedule.listScheduled({ pageSize: 500, pageToken }, { signal });
    looked += scheduled.length;
    const found = scheduled.find((one) => one.scheduledId === id);
    if (found !== undefined || nextPageToken === "") return { found, looked, isAll: nextPageToken === "" };
    pageToken = nextPageToken;
  }
  return { found: undefined, looked, isAll: false };
}

const OFTEN: Readonly<Record<string, string>> = { daily: "every day", weekly: "every week", monthly: "every month" };

/** How often one comes, in words. */
export function howOften(recurrence: string): string {
  return OFTEN[recurrence] ?? "once";
}
