// The teller itself: if every answer were right to it, the stories would prove nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { tell } from "../lib/rpc/stories.mjs";

const cases = JSON.parse(readFileSync(new URL("../../rpc/tellers/cases.json", import.meta.url), "utf8"));

for (const { why, step, came, refused, holds } of cases) {
  test(`${why}: ${holds ? "accepted" : "noticed"}`, async () => {
    const story = { name: "a case", steps: [{ title: why, call: "A/B", send: {}, ...step }] };
    const told = tell(story, { call: async () => ({ answer: came, refused }) }, undefined, { known: "thing" });
    if (holds) await told;
    else await assert.rejects(told, assert.AssertionError);
  });
}

test("what gets a name is known from then on", async () => {
  const answers = [{ a: "550e8400-e29b-41d4-a716-446655440000" }, {}];
  const asked = [];
  const client = { call: async (_, message) => { asked.push(message); return { answer: answers.shift() }; } };
  const steps = [{ call: "A/B", send: {}, answer: { a: "<uuid as it>" } }, { call: "A/B", send: { b: ["${it}"] }, answer: {} }];
  await tell({ name: "two steps", steps }, client, undefined, {});
  assert.deepEqual(asked, [{}, { b: ["550e8400-e29b-41d4-a716-446655440000"] }]);
});
