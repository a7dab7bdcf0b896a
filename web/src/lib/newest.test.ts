import { expect, test } from "vitest";
import { Newest } from "./newest";

/** An answer that comes when it is told to. */
function later<T>(): { answer: Promise<T>; come: (value: T) => void; fail: (cause: Error) => void } {
  let come: (value: T) => void = () => undefined;
  let fail: (cause: Error) => void = () => undefined;
  const answer = new Promise<T>((resolve, reject) => {
    come = resolve;
    fail = reject;
  });
  return { answer, come, fail };
}

test("an answer to what was asked before is not heard", async () => {
  const newest = new Newest();
  const [first, second] = [later<number>(), later<number>()];
  const signals: AbortSignal[] = [];
  const [one, other] = [first, second].map(({ answer }) =>
    newest.ask((signal) => {
      signals.push(signal);
      return answer;
    }),
  );
  second.come(2);
  first.come(1);
  expect(await other).toBe(2);
  expect(await one).toBeUndefined();
  expect(signals.map((signal) => signal.aborted)).toEqual([true, false]);
});

test("a failure is heard, unless it is of what was asked before or was ended", async () => {
  const newest = new Newest();
  const [first, second, third] = [later<number>(), later<number>(), later<number>()];
  const one = newest.ask(() => first.answer);
  const other = newest.ask(() => second.answer);
  first.fail(new Error("of the first"));
  second.fail(new Error("of the second"));
  expect(await one).toBeUndefined();
  await expect(other).rejects.toThrow("of the second");
  const last = newest.ask(() => third.answer);
  newest.end();
  third.fail(new Error("of the third"));
  expect(await last).toBeUndefined();
});
