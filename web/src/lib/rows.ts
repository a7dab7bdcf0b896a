// Rows of a live list: bounded, and each there once.

interface Row {
  deliveryId: string;
}

/** The rows with what changed: known ones where they are, others on top. At most so many. */
export function merge<R extends Row>(rows: readonly R[], changed: readonly R[], most: number): R[] {
  const left = new Map(changed.map((row) => [row.deliveryId, row]));
  const kept = rows.map((row) => take(left, row));
  return [...left.values(), ...kept].slice(0, most);
}

/** The rows with what changed of them, in their places; and what changed besides. */
export function refresh<R extends Row>(rows: readonly R[], changed: readonly R[]): { rows: R[]; others: R[] } {
  const left = new Map(changed.map((row) => [row.deliveryId, row]));
  const kept = rows.map((row) => take(left, row));
  return { rows: kept, others: [...left.values()] };
}

/** What came while nothing was drawn, until it is: of rows that are shown every change, of others the newest. */
export class Gathered<R extends Row> {
  #changed = new Map<string, R>();
  #fresh: R[] = [];

  /**
   * Takes what came. Of rows that are not shown those that fit are kept, at most so many: what came to leave takes no place.
   * Returns those that fit for which there was no room.
   */
  add(changed: readonly R[], isShown: (id: string) => boolean, fits: (row: R) => boolean, most: number): R[] {
    const fresh = changed.filter((row) => !isShown(row.deliveryId));
    for (const row of changed) if (isShown(row.deliveryId)) this.#changed.set(row.deliveryId, row);
    // First together, then narrowed: one that came before may not fit any more.
    const all = merge(this.#fresh, fresh, this.#fresh.length + fresh.length).filter(fits);
    this.#fresh = all.slice(0, most);
    return all.slice(most);
  }

  get isEmpty(): boolean {
    return this.#changed.size === 0 && this.#fresh.length === 0;
  }

  /** All of it, the new ones first. */
  takeAll(): R[] {
    const all = [...this.#fresh, ...this.#changed.values()];
    this.#changed.clear();
    this.#fresh = [];
    return all;
  }
}

function take<R extends Row>(left: Map<string, R>, row: R): R {
  const now = left.get(row.deliveryId);
  if (now === undefined) return row;
  left.delete(row.deliveryId);
  return now;
}
