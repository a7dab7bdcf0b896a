import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { expect, test } from "vitest";
import { snippets } from "./verify";

const BODY = '{"a":1}';
const SECRET = "a secret of this test";
const NOW = Math.floor(Date.now() / 1000).toString();

/** Runs a snippet as a receiver would, and tells whether it found the signature valid. */
function runs(code: string, given: Record<string, unknown>): boolean {
  const lines = code.split("\n").filter((line) => !line.startsWith("import "));
  const names = Object.keys(given);
  const check = new Function(...names, "process", "Buffer", lines.join("\n"));
  try {
    check(...Object.values(given), { env: { WEBHOOK_SECRET: SECRET } }, Buffer);
    return true;
  } catch (cause) {
    expect(String(cause)).toContain("401");
    return false;
  }
}

async function crypto(): Promise<Record<string, unknown>> {
  const { createHmac, timingSafeEqual, createPublicKey, verify } = await import("node:crypto");
  return { createHmac, timingSafeEqual, createPublicKey, verify };
}

const hex = (text: string): string => createHmac("sha256", SECRET).update(text).digest("hex");

test.each([
  ["x-postrider-signature", { "x-postrider-signature": `t=${NOW},v1=${hex(`${NOW}.${BODY}`)}` }],
  ["x-hub-signature-256", { "x-hub-signature-256": `sha256=${hex(BODY)}` }],
  ["x-sparrow-signature-256", { "x-sparrow-signature-256": `sha256=${hex(`${NOW}.${BODY}`)}`, "x-sparrow-timestamp": NOW }],
])("the snippet for %s takes what is right and nothing else", async (name, headers) => {
  const [snippet] = snippets([name], "HMAC-SHA256");
  const code = snippet?.code ?? "";
  expect(runs(code, { ...(await crypto()), headers, body: BODY })).toBe(true);
  expect(runs(code, { ...(await crypto()), headers, body: `${BODY} ` })).toBe(false);
});

test("the snippet for public keys takes what is right and nothing else", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
  const signature = sign(null, Buffer.from(`msg_1.${NOW}.${BODY}`), privateKey).toString("base64");
  const headers = { "webhook-id": "msg_1", "webhook-timestamp": NOW, "webhook-signature": `v1,AAAA v1a,${signature}` };
  const [snippet] = snippets(["webhook-id", "webhook-signature"], "Ed25519");
  const code = snippet?.code ?? "";
  expect(runs(code, { ...(await crypto()), PUBLIC_KEY: raw, headers, body: BODY })).toBe(true);
  expect(runs(code, { ...(await crypto()), PUBLIC_KEY: raw, headers, body: "{}" })).toBe(false);
});

test("Standard Webhooks have their library", () => {
  expect(snippets(["Webhook-Signature"], "HMAC-SHA256").map((snippet) => snippet.language)).toEqual(["Node.js", "Python"]);
  expect(snippets(["x-hub-signature-256"], "HMAC-SHA256").map((snippet) => snippet.language)).toEqual(["Node.js", "Python"]);
  expect(snippets(["x-unknown"], "HMAC-SHA256")).toEqual([]);
});
