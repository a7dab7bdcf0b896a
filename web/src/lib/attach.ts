// What elements get that markup alone does not give them.
import { tick } from "svelte";

/** A box that scrolls is reached and scrolled by keyboard too. */
export function scrolls(node: HTMLElement): void {
  node.tabIndex = 0;
}

/** Calls when the element comes into sight. */
export function seen(call: () => void): (node: Element) => () => void {
  return (node) => {
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) call();
    }, { rootMargin: "400px" });
    observer.observe(node);
    return () => observer.disconnect();
  };
}

/** How far from the screen something is still near, in pixels. */
const NEAR = 1_500;

/** Tells when the element comes near to what is seen, and when it is far from it again. */
export function near(tell: (isNear: boolean, node: HTMLElement) => void): (node: HTMLElement) => () => void {
  return (node) => {
    const observer = new IntersectionObserver((entries) => {
      const last = entries.at(-1);
      if (last !== undefined) tell(last.isIntersecting, node);
    }, { rootMargin: `${NEAR}px 0px` });
    observer.observe(node);
    return () => observer.disconnect();
  };
}

/** Whether an event came from something that does something of its own. */
export function isForControl(event: Event): boolean {
  return event.target instanceof Element && event.target.closest("a, button, input, select, textarea, label, summary, [role=button]") !== null;
}

/** Whether keys that are pressed write text. */
export function isForText(event: Event): boolean {
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type);
}

/** What has just come in place of what had the focus takes it. */
export function takesFocus(node: HTMLElement): void {
  node.tabIndex = -1;
  node.style.outline = "none";
  node.focus();
}

/** Goes to the first field of a form that something is wrong with: its message is read out there. */
export async function showWrong(form: HTMLElement | undefined): Promise<void> {
  await tick();
  form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
}
