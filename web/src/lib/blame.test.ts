import { expect, test } from "vitest";
import { blamed } from "./blame";
import type { Trouble } from "./errors";

const refused = (message: string, code = "invalid_argument"): Trouble => ({ code, title: "", message, advice: "", mayPass: false });

test("a message is about the field that it begins with", () => {
  const fields = ["url", "template", "template_enabled", "conditions.match", "headers"] as const;
  expect(blamed(refused("url: the host has no address"), fields)).toBe("url");
  expect(blamed(refused("url is required"), fields)).toBe("url");
  expect(blamed(refused("template_enabled: is true without a template"), fields)).toBe("template_enabled");
  expect(blamed(refused("conditions.match.amount: is nested too deep"), fields)).toBe("conditions.match");
  expect(blamed(refused("field_map: this is not there", "failed_precondition"), fields)).toBeUndefined();
  expect(blamed(refused("headers[0]: no name", "failed_precondition"), fields)).toBe("headers");
});

test("what is about no field, or is no refusal, is about none", () => {
  expect(blamed(refused("urls are wrong"), ["url"])).toBeUndefined();
  expect(blamed(refused("url: try again", "unavailable"), ["url"])).toBeUndefined();
  expect(blamed(undefined, ["url"])).toBeUndefined();
});
