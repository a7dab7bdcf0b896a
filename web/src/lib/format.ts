// How numbers, times and sizes are written. Everywhere the same, whatever the browser's language is: the page is in English.
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Milliseconds since 1970, or undefined where there is no time. */
export function millis(at: Timestamp | undefined): number | undefined {
  return at === undefined ? undefined : timestampMs(at);
}

/** A time for a request; undefined stays undefined. */
export function timestamp(ms: number | undefined): Timestamp | undefined {
  return ms === undefined || Number.isNaN(ms) ? undefined : timestampFromMs(ms);
}

/** A whole number with groups of three: `1,204,332`. */
export function count(value: number | bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 delivery`, `2 deliveries`. */
export function plural(value: number | bigint, one: string, many = `${one}s`): string {
  return `${count(value)} ${Number(value) === 1 ? one : many}`;
}

/** A number in at most five characters: `950`, `12.4k`, `3.1M`. */
export function compact(value: number | bigint): string {
  const number = Number(value);
  const steps: [number, string][] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of steps) {
    if (number >= size * 0.9995) return `${trimmed(number / size, number >= size * 99.95 ? 0 : 1)}${unit}`;
  }
  return trimmed(number, number < 10 ? 2 : number < 100 ? 1 : 0);
}

/** How often a second: `0`, `0.25`, `12.3`, `1,204`. */
export function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 0.01) return "< 0.01";
  if (perSecond < 10) return trimmed(perSecond, 2);
  if (perSecond < 100) return trimmed(perSecond, 1);
  return count(Math.round(perSecond));
}

/** A share as a percentage that says 100 % and 0 % only where it is all or nothing. */
export function percent(share: number | undefined): string {
  if (share === undefined) return "–";
  if (share <= 0) return "0 %";
  if (share >= 1) return "100 %";
  const value = share * 100;
  if (value > 99.99) return "> 99.99 %";
  if (value < 0.01) return "< 0.01 %";
  const digits = value > 99 || value < 1 ? 2 : 1;
  const text = value.toFixed(digits);
  return `${Number(text) >= 100 ? "99.99" : text.replace(/\.?0+$/, "")} %`;
}

/** A short time from milliseconds: `0.4 ms`, `12 ms`, `1.24 s`, `2 min 3 s`. */
export function duration(ms: number | undefined): string {
  if (ms === undefined) return "–";
  if (ms < 9.95) return `${trimmed(ms, 1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${trimmed(ms / 1000, ms < 9_950 ? 2 : 1)} s`;
  return span(ms / 1000);
}

/** A longer time from seconds, in its two largest units: `45 s`, `3 min`, `2 h 5 min`, `3 d 4 h`. */
export function span(seconds: number): string {
  const whole = Math.round(Math.abs(seconds));
  if (whole < MINUTE) return `${whole} s`;
  const pair = (size: number, unit: string, smaller: number, smallerUnit: string): string => {
    const rest = Math.floor((whole % size) / smaller);
    return `${Math.floor(whole / size)} ${unit}${rest > 0 ? ` ${rest} ${smallerUnit}` : ""}`;
  };
  if (whole < HOUR) return pair(MINUTE, "min", 1, "s");
  if (whole < DAY) return pair(HOUR, "h", MINUTE, "min");
  return pair(DAY, "d", HOUR, "h");
}

/** How far a time is from now, in its largest unit: `just now`, `12 s ago`, `in 3 min`. */
export function relative(at: number, now: number): string {
  const seconds = Math.round((at - now) / 1000);
  const far = Math.abs(seconds);
  if (far < 2) return "just now";
  const text =
    far < 2 * MINUTE ? `${far} s`
    : far < 2 * HOUR ? `${Math.floor(far / MINUTE)} min`
    : far < 2 * DAY ? `${Math.floor(far / HOUR)} h`
    : `${Math.floor(far / DAY)} d`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}

const two = (value: number): string => value.toString().padStart(2, "0");

/** A time as the browser's clock has it: `2026-11-23 15:11:04`, with milliseconds and the offset from UTC where they are asked for. */
export function absolute(at: number, exact = false): string {
  const date = new Date(at);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (!exact) return `${day} ${time}`;
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day} ${time}.${date.getMilliseconds().toString().padStart(3, "0")} ${zone}`;
}

/** Times along an axis, from Unix seconds: days where they are a day or more apart, else hours and minutes, with the day where it begins. */
export function axisTimes(seconds: readonly number[], step: number): string[] {
  return seconds.map((at) => {
    const date = new Date(at * 1000);
    const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    if (step >= DAY || (step >= HOUR && date.getHours() === 0)) return day;
    const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
    return step < MINUTE ? `${time}:${two(date.getSeconds())}` : time;
  });
}

/** A size: `812 B`, `1.2 KiB`, `3 MiB`. */
export function bytes(value: number | bigint): string {
  let size = Number(value);
  if (size < 1024) return `${size} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    size /= 1024;
    if (size < 1023.95 || unit === "GiB") return `${trimmed(size, size < 99.95 ? 1 : 0)} ${unit}`;
  }
  return `${size}`;
}

/** Enough of an id to tell it from its neighbours: ids that were made at the same time begin with the same digits. */
export function shortId(id: string): string {
  return id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id;
}

/** `connection_refused` as `connection refused`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** At most this many characters, with `…` for the rest. */
export function clipped(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** With at most so many digits behind the point, and no zeros at the end. */
function trimmed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return digits === 0 ? text : text.replace(/\.?0+$/, "");
}
