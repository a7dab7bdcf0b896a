// What the browser keeps for this page. Browsers may refuse: then it lasts as long as the page.
import { base } from "./place";

type Where = "tab" | "device";

/** Several servers may lie at one host, each under a prefix of its own. */
function named(name: string): string {
  return `postrider:${base.pathname}:${name}`;
}

function box(where: Where): Storage {
  return where === "tab" ? sessionStorage : localStorage;
}

/** What was kept under this name, or null. */
export function recall(where: Where, name: string): string | null {
  try {
    return box(where).getItem(named(name));
  } catch {
    return null;
  }
}

/** Keeps a text under this name; null forgets it. */
export function keep(where: Where, name: string, value: string | null): void {
  try {
    if (value === null) box(where).removeItem(named(name));
    else box(where).setItem(named(name), value);
  } catch {
    // Nothing is lost but the memory of it.
  }
}
