// An endpoint as a form has it, and as the server is asked to make or change it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  RegisterWebhookRequestSchema, RegisteredWebhook, UpdateWebhookConfigRequestSchema, WebhookHTTPConfigSchema,
} from "../../gen/webhook/webhook_pb";
import { type Pair, faultOf, isSame, toMap, toPairs } from "../../lib/pairs";

/** What stands in the fields; numbers as they are typed. What is empty takes the server's default. */
export interface Draft {
  namespace: string;
  url: string;
  name: string;
  /** Event types of a new one, a line each. */
  events: string;
  headers: Pair[];
  secretHeaders: Pair[];
  timeout: string;
  retries: string;
  backoff: string;
  rate: string;
  codes: string;
  userAgent: string;
  contentType: string;
  captures: boolean;
  follows: boolean;
  verifies: boolean;
  /** `hmac` or `ed25519`. */
  signature: string;
  /** Signing secret of a new one; empty for one that the server makes. */
  secret: string;
}

export type Field = keyof Draft;

type Http = MessageInitShape<typeof WebhookHTTPConfigSchema>;

/** The fields by the names that messages of the server begin with. */
export const NAMES: Readonly<Record<string, Field>> = {
  namespace: "namespace",
  "invalid namespace": "namespace",
  url: "url",
  description: "name",
  events: "events",
  headers: "headers",
  secret_headers: "secretHeaders",
  "http_config.request_timeout_seconds": "timeout",
  "http_config.max_retries": "retries",
  "http_config.retry_backoff_seconds": "backoff",
  "http_config.rate_limit_rps": "rate",
  "http_config.expected_status_codes": "codes",
  "http_config.user_agent": "userAgent",
  "http_config.content_type": "contentType",
  "http_config.webhook_secret": "secret",
  signature_type: "signature",
};

/** A new one. */
export function blank(namespace: string): Draft {
  return {
    namespace, url: "", name: "", events: "*", headers: [], secretHeaders: [], timeout: "30", retries: "3", backoff: "60", rate: "", codes: "",
    userAgent: "", contentType: "", captures: false, follows: true, verifies: true, signature: "hmac", secret: "",
  };
}

/** One as it is. */
export function draftOf(webhook: RegisteredWebhook): Draft {
  const http = webhook.httpConfig;
  const number = (value: number | undefined): string => (value === undefined || value === 0 ? "" : `${value}`);
  return {
    namespace: webhook.namespace,
    url: webhook.url,
    name: webhook.description,
    events: webhook.events.join("\n"),
    headers: toPairs(webhook.headers),
    secretHeaders: toPairs(webhook.secretHeaders),
    timeout: number(http?.requestTimeoutSeconds),
    retries: `${http?.maxRetries ?? ""}`,
    backoff: number(http?.retryBackoffSeconds),
    // It comes in single precision: 0.1 is what is meant by 0.10000000149011612.
    rate: http?.rateLimitRps === undefined ? "" : number(Number(http.rateLimitRps.toPrecision(6))),
    codes: (http?.expectedStatusCodes ?? []).join(", "),
    userAgent: http?.userAgent ?? "",
    contentType: http?.contentType ?? "",
    captures: http?.captureResponseBody ?? false,
    follows: http?.followRedirects ?? true,
    verifies: http?.verifySsl ?? true,
    signature: webhook.signatureType,
    secret: "",
  };
}

/** What is wrong, before the server is asked. */
export function faultsOf(draft: Draft, isNew: boolean): Partial<Record<Field, string>> {
  const faults: Partial<Record<Field, string>> = {};
  const note = (field: Field, fault: string | undefined): void => {
    if (fault !== undefined) faults[field] = fault;
  };
  if (isNew && draft.namespace.trim() === "") note("namespace", "An endpoint belongs to a namespace.");
  note("url", urlFault(draft.url));
  note("headers", faultOf(draft.headers, true));
  note("secretHeaders", faultOf(draft.secretHeaders, true));
  note("timeout", wholeFault(draft.timeout, 1, 300));
  note("retries", wholeFault(draft.retries, 0, 10));
  note("backoff", wholeFault(draft.backoff, 1, 3_600));
  if (draft.rate.trim() !== "" && !(Number(draft.rate) >= 0)) note("rate", "A number of requests per second, or nothing for no limit.");
  if (codesOf(draft.codes).some((code) => !Number.isInteger(code) || code < 100 || code > 599)) {
    note("codes", "Status codes from 100 to 599, with commas between them.");
  }
  return faults;
}

/** What makes a new one. */
export function registration(draft: Draft): MessageInitShape<typeof RegisterWebhookRequestSchema> {
  return {
    namespace: draft.namespace.trim(),
    url: draft.url.trim(),
    description: draft.name.trim(),
    events: linesOf(draft.events),
    headers: toMap(draft.headers),
    secretHeaders: toMap(draft.secretHeaders),
    httpConfig: { ...httpOf(draft), webhookSecret: said(draft.secret) },
    signatureType: draft.signature,
  };
}

/** What makes the one before into the other: what is as it was is not touched, or a default would become a choice. Undefined where nothing is another. */
export function change(endpointId: string, before: Draft, now: Draft): MessageInitShape<typeof UpdateWebhookConfigRequestSchema> | undefined {
  const texts: [string, Field][] = [
    ["url", "url"],
    ["description", "name"],
    ["signature_type", "signature"],
    ["http_config.request_timeout_seconds", "timeout"],
    ["http_config.max_retries", "retries"],
    ["http_config.retry_backoff_seconds", "backoff"],
    ["http_config.rate_limit_rps", "rate"],
    ["http_config.user_agent", "userAgent"],
    ["http_config.content_type", "contentType"],
    ["http_config.capture_response_body", "captures"],
    ["http_config.follow_redirects", "follows"],
    ["http_config.verify_ssl", "verifies"],
  ];
  const paths = texts.filter(([, field]) => `${before[field]}`.trim() !== `${now[field]}`.trim()).map(([path]) => path);
  if (codesOf(before.codes).join() !== codesOf(now.codes).join()) paths.push("http_config.expected_status_codes");
  if (!isSame(before.headers, now.headers)) paths.push("headers");
  if (!isSame(before.secretHeaders, now.secretHeaders)) paths.push("secret_headers");
  if (paths.length === 0) return undefined;
  return {
    webhookId: endpointId,
    updates: {
      url: now.url.trim(),
      description: now.name.trim(),
      headers: toMap(now.headers),
      secretHeaders: toMap(now.secretHeaders),
      httpConfig: httpOf(now),
      signatureType: now.signature,
    },
    updateMask: { paths },
  };
}

/** Event types, a line each: a name can have a comma in it. */
export function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

function httpOf(draft: Draft): Http {
  return {
    maxRetries: numberOf(draft.retries),
    retryBackoffSeconds: numberOf(draft.backoff),
    captureResponseBody: draft.captures,
    followRedirects: draft.follows,
    verifySsl: draft.verifies,
    requestTimeoutSeconds: numberOf(draft.timeout),
    expectedStatusCodes: codesOf(draft.codes),
    userAgent: said(draft.userAgent),
    contentType: said(draft.contentType),
    rateLimitRps: numberOf(draft.rate),
  };
}

function numberOf(text: string): number | undefined {
  return text.trim() === "" ? undefined : Number(text);
}

function said(text: string): string | undefined {
  return text.trim() === "" ? undefined : text.trim();
}

/** What is no number becomes NaN. */
function codesOf(text: string): number[] {
  return text.split(/[\s,]+/).filter((part) => part !== "").map(Number);
}

function wholeFault(text: string, least: number, most: number): string | undefined {
  const number = numberOf(text);
  const fits = number === undefined || (Number.isInteger(number) && number >= least && number <= most);
  return fits ? undefined : `A whole number from ${least} to ${most}.`;
}

function urlFault(text: string): string | undefined {
  if (text.trim() === "") return "An endpoint has a URL.";
  try {
    const { protocol } = new URL(text.trim());
    return protocol === "http:" || protocol === "https:" ? undefined : "Only http and https lead to a receiver.";
  } catch {
    return "This is no URL: it begins with https:// or http://.";
  }
}
