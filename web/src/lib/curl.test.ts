import { expect, test } from "vitest";
import { curl, quoted } from "./curl";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a request becomes a command", () => {
  const command = curl({
    method: "POST",
    url: "http://127.0.0.1:9000/a?b=c&d",
    headers: [
      { name: "content-type", value: "application/json", masked: false },
      { name: "Content-Length", value: "3", masked: false },
    ],
    body: { bytes: bytes(`{"a":"it's"}`), truncated: false, removed: false },
  });
  expect(command).toBe(
    `curl -i -X POST 'http://127.0.0.1:9000/a?b=c&d' \\\n  -H 'content-type: application/json' \\\n  --data-raw '{"a":"it'\\''s"}'`,
  );
});

test("what is not known is to be filled in", () => {
  const headers = [{ name: "webhook-signature", value: "v1,****", masked: true }];
  const cut = curl({ method: "PUT", url: "http://a/", headers, body: { bytes: bytes("x"), truncated: true, removed: false } });
  expect(cut).toContain("# fill in: webhook-signature\n");
  expect(cut).toContain("'webhook-signature: FILL-IN'");
  expect(cut).not.toContain("****");
  expect(cut).toContain("--data-binary @body");
  expect(curl({ method: "GET", url: "http://a/", headers: [], body: undefined })).toBe("curl -i -X GET http://a/");
});

test("what curl would take for something else is told as it is", () => {
  const command = curl({
    method: "POST",
    url: "http://a/?tags[]=1",
    headers: [{ name: "x-empty", value: "", masked: false }],
    body: { bytes: bytes("@/etc/hostname"), truncated: false, removed: false },
  });
  expect(command).toBe("curl -i -g -X POST 'http://a/?tags[]=1' \\\n  -H 'x-empty;' \\\n  --data-raw @/etc/hostname");
});

test("words of a shell are quoted where they must be", () => {
  expect(["a-b/c:1", "", "$(x)", "a'b"].map(quoted)).toEqual(["a-b/c:1", "''", "'$(x)'", "'a'\\''b'"]);
});
