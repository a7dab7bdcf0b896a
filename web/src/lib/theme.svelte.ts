import { keep, recall } from "./storage";

export type Choice = "system" | "light" | "dark";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Light or dark: as the system says, or as was chosen here. */
class Theme {
  choice = $state<Choice>("system");
  #system = $state<"light" | "dark">("light");
  /** What is shown. */
  readonly current = $derived(this.choice === "system" ? this.#system : this.choice);

  /** Reads what was chosen before, and follows the system from now on. */
  start(): void {
    const kept = recall("device", "theme");
    if (kept === "light" || kept === "dark") this.choice = kept;
    this.#system = dark.matches ? "dark" : "light";
    dark.addEventListener("change", () => {
      this.#system = dark.matches ? "dark" : "light";
      this.#apply();
    });
    this.#apply();
  }

  choose(choice: Choice): void {
    this.choice = choice;
    keep("device", "theme", choice === "system" ? null : choice);
    this.#apply();
  }

  #apply(): void {
    document.documentElement.dataset["theme"] = this.current;
  }
}

export const theme = new Theme();
