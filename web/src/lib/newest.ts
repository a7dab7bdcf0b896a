// A question that may be asked again before it was answered: only the newest one is heard.

export class Newest {
  #asked: AbortController | undefined;

  /** What `ask` answers; undefined where another question was asked meanwhile, or none is to be heard any more. */
  async ask<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.end();
    const own = new AbortController();
    this.#asked = own;
    try {
      const answer = await ask(own.signal);
      return own.signal.aborted ? undefined : answer;
    } catch (cause) {
      if (own.signal.aborted) return undefined;
      throw cause;
    }
  }

  /** Hears the last question no more. */
  end(): void {
    this.#asked?.abort();
  }
}
