// Fills a store through the public APIs: a shop whose receivers answer in all ways, and a second namespace beside it.
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import type { Api, Endpoint, Message } from "./api";
import type { Receiver } from "./receiver";
import { until } from "./until";

/** The namespace that nearly everything is in. */
export const SHOP = "shop";
/** The one beside it. */
export const BILLING = "billing";

/** What pages are asked to show. */
export interface Filled {
  /** Endpoints of the shop by their names. */
  endpoints: Record<string, Endpoint>;
  /** A subscription with labels and a template. */
  subscriptionId: string;
  /** A subscription that the Items API made, with a match and a field map. */
  bindingId: string;
  /** An event that led to deliveries of several states. */
  eventId: string;
  /** Deliveries by their state, one of each. */
  deliveries: Record<string, string>;
  /** Something that is due tomorrow. */
  scheduledId: string;
  /** Secrets of keys of the shop by their names. */
  keys: Record<string, string>;
}

const ORDER_SCHEMA = {
  type: "object",
  required: ["order_id", "total", "currency"],
  properties: {
    order_id: { type: "string" },
    total: { type: "number", minimum: 0 },
    currency: { type: "string", enum: ["EUR", "USD", "GBP"] },
    customer: { type: "object", properties: { name: { type: "string" }, vip: { type: "boolean" } } },
  },
};

const ORDERS = 120;
const PAYMENTS = 60;
const SHIPMENTS = 40;
const REFUNDS = 4;
const CUSTOMERS = 12;

/** How many calls are made at the same time. */
const AT_ONCE = 8;

const DAY_MS = 86_400_000;
const RETRIES_LATER = { maxRetries: 5, retryBackoffSeconds: 3_600 };
const ONE_TRY = { maxRetries: 0 };

export async function fill(api: Api, receiver: Receiver): Promise<Filled> {
  await registerTypes(api);
  const endpoints = await makeEndpoints(api, receiver);
  const keys = await makeKeys(api);
  const subscriptionId = await subscribe(api, endpoints);
  const bindingId = await bind(api.as(keys["writer"] ?? ""), receiver);
  const eventId = await publish(api);
  const scheduledId = await schedule(api, subscriptionId);
  await settle(api);
  const deliveries = await oneOfEach(api, endpoints);
  return { endpoints, subscriptionId, bindingId, eventId, deliveries, scheduledId, keys };
}

async function registerTypes(api: Api): Promise<void> {
  const register = (name: string, description: string, more: Message = {}): Promise<Message> =>
    api.call("webhook.EventService/RegisterEvent", { name, description, namespace: SHOP, ...more });
  await register("order.created", "A customer has ordered something.", { schema: ORDER_SCHEMA });
  await register("order.paid", "The money is there.", { schema: ORDER_SCHEMA, metadata: { owner: "payments" } });
  await register("order.archived", "Was sent by the old shop.", { active: false });
}

async function makeEndpoints(api: Api, receiver: Receiver): Promise<Record<string, Endpoint>> {
  const nowhere = await closedPort();
  const behindTls = receiver.url("ok", "plain").replace("http://", "https://");
  const wanted: [string, string, string[], Message][] = [
    ["Order archive", receiver.url("ok", "archive"), ["order.*"], {}],
    ["Warehouse", receiver.url("slow", "warehouse"), ["order.created", "order.shipped"], {}],
    ["Analytics", receiver.url("ok", "analytics"), ["*"], {}],
    ["Customer care", receiver.url("fail", "care"), ["order.created"], ONE_TRY],
    ["Partner feed", receiver.url("limit", "partner"), ["order.shipped"], {}],
    ["Old marketplace", receiver.url("gone", "marketplace"), ["order.refunded"], {}],
    ["Moved away", receiver.url("moved", "moved"), ["order.refunded"], {}],
    ["Wrong path", receiver.url("refuse", "path"), ["order.paid"], {}],
    ["Black hole", receiver.url("hang", "hole"), ["order.refunded"], { ...ONE_TRY, requestTimeoutSeconds: 1 }],
    ["Still thinking", receiver.url("hang", "thinking"), ["customer.*"], { requestTimeoutSeconds: 300 }],
    ["Loose cable", receiver.url("reset", "cable"), ["order.refunded"], ONE_TRY],
    ["Other protocol", receiver.url("garbage", "protocol"), ["order.refunded"], ONE_TRY],
    ["Talkative", receiver.url("large", "talkative"), ["order.refunded"], { captureResponseBody: true }],
    ["Nobody home", `http://127.0.0.1:${nowhere}/hooks`, ["order.paid"], RETRIES_LATER],
    ["Plain text behind TLS", behindTls, ["order.refunded"], ONE_TRY],
    ["Too late", receiver.url("fail", "late"), ["offer.made"], RETRIES_LATER],
    ["On holiday", receiver.url("ok", "holiday"), ["order.shipped"], {}],
  ];
  const made: Record<string, Endpoint> = {};
  for (const [name, url, events, httpConfig] of wanted) made[name] = await api.endpoint(SHOP, name, url, events, { httpConfig });
  await api.call("postrider.v1.EndpointService/SetEndpointStatus", { endpointId: made["On holiday"]?.id, status: "paused" });
  await api.endpoint(BILLING, "Ledger", receiver.url("ok", "ledger"), ["invoice.*"]);
  return made;
}

async function makeKeys(api: Api): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const [name, scopes] of [["reader", ["read"]], ["writer", ["read", "write"]], ["manager", ["read", "write", "admin"]]] as const) {
    secrets[name] = (await api.makeKey(name, SHOP, scopes)).secret;
  }
  await api.makeKey("until-tomorrow", BILLING, ["read"], new Date(Date.now() + DAY_MS));
  const leaked = await api.makeKey("leaked", "", ["read"]);
  await api.call("postrider.v1.AdminService/RevokeKey", { keyId: leaked.id });
  return secrets;
}

async function subscribe(api: Api, endpoints: Record<string, Endpoint>): Promise<string> {
  const { subscriptionId } = await api.call("webhook.SubscriptionService/CreateSubscription", {
    namespace: SHOP,
    webhookId: endpoints["Warehouse"]?.id,
    eventName: "order.paid",
    labelFilters: { region: "eu" },
    transformEnabled: true,
    transformTemplate: '{"text": {{printf "Order %v is paid" .payload.order_id | json}}, "total": {{.payload.total}}}',
  });
  await api.call("postrider.v1.EndpointService/UpdateSubscription", {
    subscriptionId,
    name: "Paid in Europe",
  });
  return subscriptionId;
}

/** A destination with a binding, which the Items API makes with a key of the namespace. */
async function bind(api: Api, receiver: Receiver): Promise<string> {
  const destination = await api.post("/v1/delivery/destinations", {
    name: "Mailing list", type: "webhook", config: { url: receiver.url("ok", "mailing") }, auth_config: { type: "bearer", token: "a-token-of-the-list" },
  });
  const binding = await api.post("/v1/delivery/bindings", {
    name: "New customers",
    signal_filter: { event_type: "customer.updated", match: { "newsletter": true } },
    deliverable_type: "event",
    destination_id: destination["id"],
    serializer_format: "json",
    serializer_config: { envelope: false },
    field_map: { drop: ["internal"], rules: [{ source: "name", target: "full_name" }], static: { list: "news" } },
  });
  return binding["id"];
}

/** Publishes some hundred events; answers the id of one of which much became. */
async function publish(api: Api): Promise<string> {
  const currencies = ["EUR", "USD", "GBP"];
  const regions = ["eu", "us"];
  const order = (n: number): Message => ({
    order_id: `A-${1_000 + n}`,
    total: 10 + (n % 90) + 0.5,
    currency: currencies[n % currencies.length],
    customer: { name: `Customer ${n}`, vip: n % 10 === 0 },
  });
  const calls: (() => Promise<string>)[] = [];
  const add = (type: string, count: number, payload: (n: number) => Message, more: (n: number) => Message = () => ({})): void => {
    for (let n = 0; n < count; n += 1) calls.push(() => api.push(SHOP, type, payload(n), more(n)));
  };
  const labelled = (n: number): Message => ({ labels: { region: regions[n % regions.length], tier: n % 10 === 0 ? "gold" : "basic" } });
  // Some do not fit the schema.
  add("order.created", ORDERS, (n) => (n % 30 === 7 ? { order_id: n } : order(n)), (n) => ({ ...labelled(n), id: `order-${n}` }));
  add("order.paid", PAYMENTS, order, labelled);
  add("order.shipped", SHIPMENTS, (n) => ({ order_id: `A-${1_000 + n}`, carrier: "by hand" }), labelled);
  add("customer.updated", CUSTOMERS, (n) => ({ name: `Customer ${n}`, newsletter: n % 2 === 0, internal: true }));
  await inTurns(calls);
  await api.push(SHOP, "offer.made", { offer: "only now" }, { ttlSeconds: 1 });
  for (let n = 0; n < 5; n += 1) await api.push(BILLING, "invoice.sent", { invoice: n });
  // Those that meet every kind of failure come last: lists begin with them.
  const refunds: string[] = [];
  for (let n = 0; n < REFUNDS; n += 1) {
    refunds.push(await api.push(SHOP, "order.refunded", { order_id: `A-${1_000 + n}`, reason: "broken" }, { ...labelled(n), metadata: { clerk: "Ada" } }));
  }
  return refunds[0] ?? "";
}

/** Makes all calls, some at the same time. */
async function inTurns(calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    for (let call = calls[next++]; call !== undefined; call = calls[next++]) await call();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

async function schedule(api: Api, subscriptionId: string): Promise<string> {
  const create = async (dueInMs: number, recurrence: string): Promise<string> => {
    const dueAt = new Date(Date.now() + dueInMs).toISOString();
    const made = await api.call("postrider.v1.ScheduleService/CreateScheduled", {
      subscriptionId, payload: '{"order_id":"A-1","total":5,"currency":"EUR"}', dueAt, recurrence,
    });
    return made["scheduled"].scheduledId;
  };
  await create(1_000, "none");
  await create(7 * DAY_MS, "weekly");
  return create(DAY_MS, "daily");
}

/** Endpoints of which something always waits: one answers nothing, one was disabled by what it answered. */
const WAITING = ["Still thinking", "Old marketplace"];

/** Waits until nothing changes any more by itself. */
async function settle(api: Api): Promise<void> {
  await until("first attempts", () => unsettled(api), (names) => names.length === 0);
  await until("what hangs", () => api.count({ namespace: SHOP, states: ["sending"] }), (count) => count > 0);
  await until("what expires", () => api.count({ namespace: SHOP, states: ["expired"] }), (count) => count > 0);
  await until(
    "what was scheduled",
    async () => (await api.call("postrider.v1.ScheduleService/ListScheduled", { namespace: SHOP, status: "completed" }))["scheduled"] ?? [],
    (done) => done.length > 0,
  );
  const [waiting] = await api.deliveries({ namespace: SHOP, states: ["retrying"] }, 1);
  await api.call("postrider.v1.LedgerService/CancelDelivery", { deliveryId: waiting?.["deliveryId"] });
}

/** The names of endpoints that have not got all first attempts. */
async function unsettled(api: Api): Promise<string[]> {
  const { endpoints } = await api.call("postrider.v1.EndpointService/ListEndpoints", { namespace: SHOP, pageSize: 100 });
  const waits = ({ deliveries = {} }: Message): boolean => Number(deliveries.pending ?? 0) + Number(deliveries.sending ?? 0) > 0;
  return (endpoints as Message[]).filter((endpoint) => waits(endpoint) && !WAITING.includes(endpoint["name"])).map((endpoint) => endpoint["name"]);
}

/** Whose deliveries stay in a state that others pass through. */
const STEADY: Readonly<Record<string, string>> = { pending: "Still thinking", sending: "Still thinking", failed: "Customer care" };

/** A delivery of each state. */
async function oneOfEach(api: Api, endpoints: Record<string, Endpoint>): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const state of ["pending", "sending", "retrying", "succeeded", "failed", "expired", "cancelled"]) {
    const endpointId = endpoints[STEADY[state] ?? ""]?.id ?? "";
    const [one] = await api.deliveries({ namespace: SHOP, states: [state], endpointId }, 1);
    if (one === undefined) throw new Error(`no delivery is ${state}`);
    found[state] = one["deliveryId"];
  }
  return found;
}

/** A port where nobody listens. */
function closedPort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
