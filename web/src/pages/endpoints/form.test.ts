import { expect, test } from "vitest";
import { blank, change, faultsOf, linesOf, registration } from "./form";

const draft = { ...blank("shop"), url: "https://receiver.test/hooks" };

test("only what was changed is sent, and what was emptied takes its default", () => {
  expect(change("id", draft, { ...draft, headers: [{ name: "", value: "" }] })).toBeUndefined();
  const changed = change("id", { ...draft, rate: "5", codes: "200, 204" }, { ...draft, name: "Shop", rate: "", codes: "" });
  expect(changed?.updateMask?.paths).toEqual(["description", "http_config.rate_limit_rps", "http_config.expected_status_codes"]);
  expect([changed?.updates?.httpConfig?.rateLimitRps, changed?.updates?.httpConfig?.expectedStatusCodes]).toEqual([undefined, []]);
  expect(change("id", { ...draft, codes: "200,204" }, { ...draft, codes: "200, 204" })).toBeUndefined();
  expect(change("id", draft, { ...draft, verifies: false })?.updateMask?.paths).toEqual(["http_config.verify_ssl"]);
});

test("what the server would refuse is told before", () => {
  expect(faultsOf(draft, true)).toEqual({});
  const wrong = { ...draft, url: "receiver.test", timeout: "301", retries: "1.5", rate: "many", codes: "200, ok", namespace: " " };
  expect(Object.keys(faultsOf(wrong, true)).sort()).toEqual(["codes", "namespace", "rate", "retries", "timeout", "url"]);
  expect(faultsOf({ ...draft, url: "ftp://receiver.test" }, true).url).toContain("http");
  expect(faultsOf({ ...draft, retries: "0", timeout: "" }, false)).toEqual({});
});

test("a registration says what was said", () => {
  const sent = registration({ ...draft, events: "order.*\n user.created\n", secret: " " });
  expect([sent.events, sent.httpConfig?.webhookSecret, sent.httpConfig?.maxRetries]).toEqual([["order.*", "user.created"], undefined, 3]);
  expect(linesOf("")).toEqual([]);
});
