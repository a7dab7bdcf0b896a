import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Unsure, coded, isCancelled, isRefused, trouble } from "./errors";

test("codes have the names of the documentation", () => {
  const precondition = trouble(new ConnectError("it has ended", Code.FailedPrecondition));
  expect([precondition.code, precondition.message, precondition.mayPass]).toEqual(["failed_precondition", "it has ended", false]);
  expect(trouble(new ConnectError("x", Code.ResourceExhausted)).mayPass).toBe(true);
  expect([coded("failed_precondition"), coded("unauthenticated"), coded("canceled"), coded("none"), coded(3)]).toEqual([
    Code.FailedPrecondition, Code.Unauthenticated, Code.Canceled, Code.Unknown, Code.Unknown,
  ]);
});

test("a server that is not reached says so in every browser", () => {
  expect(trouble(ConnectError.from(new TypeError("Failed to fetch"))).code).toBe("unreachable");
});

test("who does not know whether something was done is not told to do it again", () => {
  const unsure = trouble(new Unsure("It may have been accepted."));
  expect([unsure.message, unsure.mayPass]).toEqual(["It may have been accepted.", false]);
  expect(unsure.advice).not.toContain("Try again");
});

test("a key that is refused without a word is explained", () => {
  expect(trouble(new ConnectError("HTTP 401", Code.Unauthenticated)).message).toContain("revoked");
  expect(trouble(new ConnectError("the API key was revoked or has expired", Code.Unauthenticated)).message).toBe("the API key was revoked or has expired");
});

test("who ended a call is told apart from who refused it", () => {
  expect(isCancelled(new DOMException("gone", "AbortError"))).toBe(true);
  expect(isRefused(new ConnectError("no key", Code.Unauthenticated))).toBe(true);
  expect(isRefused(new Error("x"))).toBe(false);
});
