// Publishing an event with the bytes of its payload as they were typed: the binary form of the API would make each number one of 64 bits.
import { type JsonValue, fromJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type PushEventResponse, PushEventResponseSchema } from "../gen/webhook/webhook_pb";
import { access, noteRefusal } from "./api";
import { Unsure, coded } from "./errors";
import { withField } from "./payload";
import { base } from "./place";

/** How long the answer is waited for, in milliseconds. */
const PATIENCE_MS = 30_000;

/** An event to be published, as in `webhook.EventService/PushEvent`. */
export interface Draft {
  namespace: string;
  event: string;
  /** JSON of an object; empty for one without fields. */
  payload: string;
  labels: Record<string, string>;
  metadata: Record<string, string>;
  /** Undefined is for ever. */
  ttlSeconds: number | undefined;
  /** Idempotency key; empty for none. */
  key: string;
}

/** Publishes an event. Throws what the clients of the other methods throw. */
export async function push(draft: Draft): Promise<PushEventResponse> {
  const shown = access.key;
  const { namespace, event, labels, metadata, ttlSeconds, key } = draft;
  const fields = { namespace, event, labels, metadata, ttlSeconds: ttlSeconds?.toString(), id: key === "" ? undefined : key };
  const headers = new Headers({ "Content-Type": "application/json", "Connect-Protocol-Version": "1" });
  if (shown !== null) headers.set("Authorization", `Bearer ${shown}`);
  try {
    const answer = await fetch(new URL("webhook.EventService/PushEvent", base), {
      method: "POST",
      headers,
      body: withField(fields, "payload", draft.payload),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!answer.ok) throw await refusal(answer);
    return fromJson(PushEventResponseSchema, (await answer.json()) as JsonValue, { ignoreUnknownFields: true });
  } catch (cause) {
    const isLate = cause instanceof DOMException && cause.name === "TimeoutError";
    // The browser says no more of a broken connection than that there was no answer.
    if (isLate || cause instanceof TypeError) {
      throw new Unsure(`${isLate ? "There was no answer in time." : "The connection broke, or there was none."} The event may have been accepted all the same.`);
    }
    noteRefusal(cause, shown);
    throw cause;
  }
}

async function refusal(answer: Response): Promise<ConnectError> {
  const told = read(await answer.text());
  const message = told("message");
  // Without a valid key the answer has a form of its own.
  const code = answer.status === 401 ? Code.Unauthenticated : coded(told("code"));
  return new ConnectError(typeof message === "string" ? message : `The server answered with the status ${answer.status}.`, code);
}

/** The fields of an answer; a text that is no JSON has none. */
function read(text: string): (name: string) => unknown {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    // What stands between may answer in words of its own.
  }
  return (name) => (typeof fields === "object" && fields !== null ? (Reflect.get(fields, name) as unknown) : undefined);
}
