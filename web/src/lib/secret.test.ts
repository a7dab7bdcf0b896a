import { beforeEach, expect, test, vi } from "vitest";

const access: { key: string | null } = { key: null };
vi.mock("./api", () => ({ access }));

const { isSecret } = await import("./secret");

beforeEach(() => {
  access.key = null;
});

test("keys and signing secrets are known by how they look", () => {
  expect(["pr_0123456789abcdefghij", "  whsec_0123456789abcdef ", "key pr_0123456789abcdefghij"].map(isSecret)).toEqual([true, true, true]);
  expect(["", "pr_short", "order-4711", "019a3d5c-0000-7000-8000-000000000000", "pr_"].map(isSecret)).toEqual([false, false, false, false, false]);
});

test("so is the key in use, whatever it looks like", () => {
  expect(isSecret("correct-horse-battery")).toBe(false);
  access.key = "correct-horse-battery";
  expect(["correct-horse-battery", " correct-horse-battery\n", "Bearer:correct-horse-battery", "battery"].map(isSecret)).toEqual([true, true, true, false]);
});

test("a short key is known as a word: names may have it in them", () => {
  access.key = "shop";
  expect(["shop", "my shop", "workshop"].map(isSecret)).toEqual([true, true, false]);
});
