// Which namespace is looked at, for keys that see all of them.
import { keep, recall } from "./storage";
import { session } from "./session.svelte";

class Chosen {
  #name = $state(recall("device", "namespace") ?? "");

  constructor() {
    session.left = () => this.choose("");
  }

  /** What requests name: empty stands for all that the key sees. */
  get name(): string {
    return this.isFree ? this.#name : "";
  }

  /** Whether there is a choice: the key is of no namespace. */
  get isFree(): boolean {
    return session.info?.namespace === "";
  }

  /** The one namespace that is looked at, whoever chose it; empty where it is all of them. For what must name one. */
  get one(): string {
    return session.info?.namespace || this.#name;
  }

  choose(name: string): void {
    this.#name = name;
    keep("device", "namespace", name === "" ? null : name);
  }
}

export const namespace = new Chosen();
