// One clock for all times that are shown relative to now.

const SLOW_MS = 30_000;

class Clock {
  #ahead = 0;
  #ticks = $state(0);
  #slowTicks = $state(0);

  constructor() {
    let slowAt = Date.now();
    const tick = (): void => {
      if (document.hidden) return;
      this.#ticks += 1;
      if (Date.now() - slowAt >= SLOW_MS) {
        slowAt = Date.now();
        this.#slowTicks += 1;
      }
    };
    setInterval(tick, 1_000);
    document.addEventListener("visibilitychange", tick);
  }

  /** The server's time in milliseconds; who reads it while it renders is told every second. */
  get now(): number {
    void this.#ticks;
    return this.peek();
  }

  /** The same for times that are told by the minute: who reads it is told every half minute. */
  get slow(): number {
    void this.#slowTicks;
    return this.peek();
  }

  /** The server's time, read once. */
  peek(): number {
    return Date.now() + this.#ahead;
  }

  /** Takes over the server's clock: browsers' clocks go wrong. */
  adjust(serverNow: number): void {
    this.#ahead = serverNow - Date.now();
  }
}

export const clock = new Clock();
