// Short news of what was done, at the edge of the page; read out by screen readers.

export interface Toast {
  id: number;
  kind: "ok" | "bad";
  text: string;
}

const SHOWN_MS = 6_000;
const MOST = 4;

class Toasts {
  list = $state.raw<Toast[]>([]);
  #number = 0;

  /** Something was done. Goes by itself. */
  done(text: string): void {
    const id = this.#add("ok", text);
    setTimeout(() => this.dismiss(id), SHOWN_MS);
  }

  /** Something was not. Stays until it is dismissed. */
  failed(text: string): void {
    this.#add("bad", text);
  }

  dismiss(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }

  clear(): void {
    this.list = [];
  }

  #add(kind: Toast["kind"], text: string): number {
    this.#number += 1;
    this.list = [...this.list, { id: this.#number, kind, text }].slice(-MOST);
    return this.#number;
  }
}

export const toasts = new Toasts();
