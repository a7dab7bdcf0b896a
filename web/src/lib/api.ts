// The server's public RPC API. Everything that the dashboard knows or does goes through here.
import { type Client, Code, ConnectError, type Interceptor, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { AdminService } from "../gen/postrider/v1/admin_pb";
import { DeadLetterService } from "../gen/postrider/v1/dead_letters_pb";
import { EndpointService } from "../gen/postrider/v1/endpoints_pb";
import { LedgerService } from "../gen/postrider/v1/ledger_pb";
import { OverviewService } from "../gen/postrider/v1/overview_pb";
import { ScheduleService } from "../gen/postrider/v1/schedule_pb";
import { DeliveryService, EventService, SubscriptionService, WebhookService } from "../gen/webhook/webhook_pb";
import { base } from "./place";

/** How long an answer is waited for, in milliseconds. */
const PATIENCE_MS = 30_000;

/** The key that calls show, and who wants to know that it was refused. The session sets both. */
export const access: { key: string | null; refused: (error: ConnectError) => void } = { key: null, refused: () => undefined };

/** Tells the session where a call was refused for its key. Streams call it themselves: what ends them comes after their beginning. */
export function noteRefusal(cause: unknown, shown: string | null = access.key): void {
  const error = ConnectError.from(cause);
  // A call that was made with the key before says nothing of this one.
  if (error.code === Code.Unauthenticated && shown === access.key) access.refused(error);
}

const authorize: Interceptor = (next) => async (request) => {
  const shown = access.key;
  if (shown !== null) request.header.set("Authorization", `Bearer ${shown}`);
  try {
    return await next(request);
  } catch (cause) {
    noteRefusal(cause, shown);
    throw cause;
  }
};

const transport = createConnectTransport({
  baseUrl: base.href,
  useBinaryFormat: true,
  defaultTimeoutMs: PATIENCE_MS,
  interceptors: [authorize],
});

/** A client for each service. */
export const api: {
  admin: Client<typeof AdminService>;
  deadLetters: Client<typeof DeadLetterService>;
  deliveries: Client<typeof DeliveryService>;
  endpoints: Client<typeof EndpointService>;
  events: Client<typeof EventService>;
  ledger: Client<typeof LedgerService>;
  overview: Client<typeof OverviewService>;
  schedule: Client<typeof ScheduleService>;
  subscriptions: Client<typeof SubscriptionService>;
  webhooks: Client<typeof WebhookService>;
} = {
  admin: createClient(AdminService, transport),
  deadLetters: createClient(DeadLetterService, transport),
  deliveries: createClient(DeliveryService, transport),
  endpoints: createClient(EndpointService, transport),
  events: createClient(EventService, transport),
  ledger: createClient(LedgerService, transport),
  overview: createClient(OverviewService, transport),
  schedule: createClient(ScheduleService, transport),
  subscriptions: createClient(SubscriptionService, transport),
  webhooks: createClient(WebhookService, transport),
};
