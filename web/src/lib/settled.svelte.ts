// Values that change while somebody types.
import { untrack } from "svelte";

/** A text once it has not changed for so many milliseconds. To be called while a component is made. */
export function settled(read: () => string, pauseMs = 350): { readonly now: string } {
  let now = $state(untrack(read));
  $effect(() => {
    const next = read();
    const timer = setTimeout(() => {
      now = next;
    }, pauseMs);
    return () => clearTimeout(timer);
  });
  return {
    get now() {
      return now;
    },
  };
}
