// The last line of a run, as those of the other runners are: `12 passed, 0 failed`.
import type { FullResult, Reporter, Suite } from "@playwright/test/reporter";

export default class Summary implements Reporter {
  #suite: Suite | undefined;

  onBegin(_config: unknown, suite: Suite): void {
    this.#suite = suite;
  }

  onEnd(result: FullResult): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const test of this.#suite?.allTests() ?? []) {
      const outcome = test.outcome();
      if (outcome === "skipped") count.skipped += 1;
      else if (outcome === "unexpected") count.failed += 1;
      else count.passed += 1;
    }
    // Something else than a test went wrong, such as a file that cannot be read, or the time was over.
    if (result.status !== "passed" && count.failed === 0) count.failed = 1;
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
    process.stdout.write(`${count.passed} passed, ${count.failed} failed${skipped}\n`);
  }

  printsToStdio(): boolean {
    return true;
  }
}
