// What would be lost with the page: a secret that is shown this once.

let isHeld = false;

/** From now on who leaves the page is asked first. */
export function hold(): void {
  isHeld = true;
}

/** It was kept, or is shown no more. */
export function letGo(): void {
  isHeld = false;
}

/** Whether the page can be left: asks where something would be lost. */
export function mayLeave(): boolean {
  if (isHeld && !confirm("The secret on this page is shown this once, and was not copied. Leave the page without it?")) return false;
  isHeld = false;
  return true;
}

addEventListener("beforeunload", (event) => {
  if (isHeld) event.preventDefault();
});
