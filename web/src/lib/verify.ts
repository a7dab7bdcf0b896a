// How a receiver checks a signature, for each scheme that deliveries carry.

export interface Snippet {
  language: string;
  code: string;
}

/** Which scheme it is, by the headers that carry it. */
function kind(headers: readonly string[]): "standard" | "postrider" | "hub" | "timestamped" | "other" {
  const names = new Set(headers.map((name) => name.toLowerCase()));
  if (names.has("webhook-signature")) return "standard";
  if (names.has("x-postrider-signature")) return "postrider";
  if (names.has("x-hub-signature-256")) return "hub";
  return names.has("x-sparrow-signature-256") ? "timestamped" : "other";
}

const STANDARD: Snippet[] = [
  {
    language: "Node.js",
    code: `// npm install standardwebhooks
import { Webhook } from "standardwebhooks";

// body: the bytes as they came, before anything parses them
const event = new Webhook(process.env.WEBHOOK_SECRET).verify(body, headers);`,
  },
  {
    language: "Python",
    code: `# pip install standardwebhooks
from standardwebhooks import Webhook

# body: the bytes as they came, before anything parses them
event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, headers)`,
  },
];

const REFUSE = 'if (!valid || !fresh) throw new Error("answer with 401");';

const PUBLIC_KEY: Snippet[] = [
  {
    language: "Node.js",
    code: `import { createPublicKey, verify } from "node:crypto";

// PUBLIC_KEY: the 64 hexadecimal digits that the endpoint shows
const key = createPublicKey({
  key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(PUBLIC_KEY, "hex")]),
  format: "der",
  type: "spki",
});
// body: the bytes as they came, before anything parses them
const start = headers["webhook-id"] + "." + headers["webhook-timestamp"] + ".";
const signed = Buffer.concat([Buffer.from(start), Buffer.from(body)]);
const valid = headers["webhook-signature"].split(" ").some((entry) => {
  const [version, signature] = entry.split(",");
  return version === "v1a" && verify(null, signed, key, Buffer.from(signature, "base64"));
});
const fresh = Math.abs(Date.now() / 1000 - Number(headers["webhook-timestamp"])) < 300;
${REFUSE}`,
  },
];

const POSTRIDER: Snippet[] = [
  {
    language: "Node.js",
    code: `import { createHmac, timingSafeEqual } from "node:crypto";

// body: the bytes as they came, before anything parses them
const parts = headers["x-postrider-signature"].split(",").map((part) => part.split("="));
const timestamp = parts.find(([name]) => name === "t")[1];
const wanted = createHmac("sha256", process.env.WEBHOOK_SECRET).update(timestamp + ".").update(body).digest();
// While a rotation overlaps there are several v1, one for each secret.
const valid = parts.some(([name, value]) => {
  const given = Buffer.from(value, "hex");
  return name === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
});
const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
${REFUSE}`,
  },
  {
    language: "Python",
    code: `import hashlib, hmac, os, time

# body: the bytes as they came, before anything parses them
parts = [part.split("=", 1) for part in headers["x-postrider-signature"].split(",")]
timestamp = next(value for name, value in parts if name == "t")
wanted = hmac.new(os.environ["WEBHOOK_SECRET"].encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
# While a rotation overlaps there are several v1, one for each secret.
valid = any(name == "v1" and hmac.compare_digest(value, wanted) for name, value in parts)
fresh = abs(time.time() - int(timestamp)) < 300
if not valid or not fresh:
    raise PermissionError("answer with 401")`,
  },
];

/** One HMAC in a header of its own, as `sha256=` and hexadecimal digits. */
function single(header: string, timestamp?: string): Snippet[] {
  const given = timestamp === undefined ? "" : `headers["${timestamp}"]`;
  return [
    {
      language: "Node.js",
      code: `import { createHmac, timingSafeEqual } from "node:crypto";

// body: the bytes as they came, before anything parses them
const given = Buffer.from(headers["${header}"].slice("sha256=".length), "hex");
const wanted = createHmac("sha256", process.env.WEBHOOK_SECRET)${given === "" ? "" : `.update(${given} + ".")`}.update(body).digest();
const valid = given.length === wanted.length && timingSafeEqual(given, wanted);
${given === "" ? 'if (!valid) throw new Error("answer with 401");' : `const fresh = Math.abs(Date.now() / 1000 - Number(${given})) < 300;\n${REFUSE}`}`,
    },
    {
      language: "Python",
      code: `import hashlib, hmac, os${given === "" ? "" : ", time"}

# body: the bytes as they came, before anything parses them
given = headers["${header}"].removeprefix("sha256=")
wanted = hmac.new(os.environ["WEBHOOK_SECRET"].encode(), ${given === "" ? "" : `${given}.encode() + b"." + `}body, hashlib.sha256).hexdigest()
if not hmac.compare_digest(given, wanted)${given === "" ? "" : ` or abs(time.time() - int(${given})) > 300`}:
    raise PermissionError("answer with 401")`,
    },
  ];
}

const HUB = single("x-hub-signature-256");

const TIMESTAMPED = single("x-sparrow-signature-256", "x-sparrow-timestamp");

/** Code that checks a signature; none for a scheme that is not known here. */
export function snippets(headers: readonly string[], algorithm: string): Snippet[] {
  switch (kind(headers)) {
    case "standard":
      return algorithm.toLowerCase().includes("ed25519") ? PUBLIC_KEY : STANDARD;
    case "postrider":
      return POSTRIDER;
    case "hub":
      return HUB;
    case "timestamped":
      return TIMESTAMPED;
    default:
      return [];
  }
}
