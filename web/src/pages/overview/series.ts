// What the charts of the overview show, made from the server's kept numbers.
import type { GetSeriesResponse, Percentiles, SeriesPoint } from "../../gen/postrider/v1/overview_pb";
import { millis } from "../../lib/format";

export const RANGES: readonly { value: string; text: string; seconds: number }[] = [
  { value: "15m", text: "15 min", seconds: 900 },
  { value: "1h", text: "1 h", seconds: 3_600 },
  { value: "6h", text: "6 h", seconds: 21_600 },
  { value: "24h", text: "24 h", seconds: 86_400 },
  { value: "7d", text: "7 d", seconds: 604_800 },
  { value: "30d", text: "30 d", seconds: 2_592_000 },
  { value: "90d", text: "90 d", seconds: 7_776_000 },
];

export interface Figures {
  /** Times in Unix seconds. */
  at: number[];
  events: number[];
  deliveries: number[];
  succeeded: number[];
  failed: number[];
  success: (number | null)[];
  deliveredAfter: Curves;
  answeredIn: Curves;
}

export interface Curves {
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
}

/** Per second, step by step. The step that is not over yet is left out: it would look like a fall. */
export function figures(series: GetSeriesResponse): Figures {
  const points = series.points.slice(0, -1);
  const perSecond = (read: (point: SeriesPoint) => bigint): number[] => points.map((point) => Number(read(point)) / Math.max(1, series.stepSeconds));
  return {
    at: points.map((point) => (millis(point.at) ?? 0) / 1000),
    events: perSecond((point) => point.events),
    deliveries: perSecond((point) => point.deliveries),
    succeeded: perSecond((point) => point.attemptsSucceeded),
    failed: perSecond((point) => point.attemptsFailed),
    success: points.map(success),
    deliveredAfter: curves(points.map((point) => point.deliveredAfter)),
    answeredIn: curves(points.map((point) => point.answeredIn)),
  };
}

/** Share of the attempts that succeeded; null where none ended. */
export function success(point: SeriesPoint): number | null {
  const ended = point.attemptsSucceeded + point.attemptsFailed;
  return ended === 0n ? null : Number(point.attemptsSucceeded) / Number(ended);
}

function curves(all: (Percentiles | undefined)[]): Curves {
  const read = (which: "p50" | "p95" | "p99"): (number | null)[] => all.map((one) => one?.[which] ?? null);
  return { p50: read("p50"), p95: read("p95"), p99: read("p99") };
}
