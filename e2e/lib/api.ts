// The public APIs, as any client speaks them: Connect with JSON, and the REST API where that alone has something.

/** A message as JSON. Numbers of 64 bits are texts, and what is zero is left out. */
export type Message = Record<string, any>;

/** A call that was refused. */
export class Refused extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** A server, as the owner of a key sees it. */
export class Api {
  constructor(readonly url: string, readonly key: string) {}

  /** Calls a method such as `postrider.v1.LedgerService/ListDeliveries`. */
  async call(method: string, request: Message = {}): Promise<Message> {
    const response = await fetch(`${this.url}/${method}`, this.#post(request));
    const text = await response.text();
    if (response.ok) return JSON.parse(text) as Message;
    let code = `${response.status}`;
    try {
      code = (JSON.parse(text) as Message)["code"] ?? code;
    } catch {
      // It is no JSON: the status says enough.
    }
    throw new Refused(code, `${method}: ${response.status} ${text}`);
  }

  /** Posts to a path of the REST APIs. */
  async post(path: string, body: Message): Promise<Message> {
    const response = await fetch(this.url + path, this.#post(body));
    const text = await response.text();
    if (!response.ok) throw new Refused(`${response.status}`, `POST ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as Message;
  }

  /** The same server with another key. */
  as(key: string): Api {
    return new Api(this.url, key);
  }

  /** Makes a key and answers its secret. */
  async makeKey(name: string, namespace: string, scopes: readonly string[], expiresAt?: Date): Promise<{ id: string; secret: string }> {
    const request = { name, namespace, scopes, ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }) };
    const { key, secret } = await this.call("postrider.v1.AdminService/CreateKey", request);
    return { id: key.keyId, secret };
  }

  /** Publishes an event and answers its id. */
  async push(namespace: string, event: string, payload: Message, more: Message = {}): Promise<string> {
    return (await this.call("webhook.EventService/PushEvent", { namespace, event, payload, ...more }))["eventId"];
  }

  /** Makes an endpoint and answers its id and its secret. */
  async endpoint(namespace: string, description: string, url: string, events: readonly string[], more: Message = {}): Promise<Endpoint> {
    const made = await this.call("webhook.WebhookService/RegisterWebhook", { namespace, description, url, events, ...more });
    return { id: made["webhookId"], secret: made["webhookSecret"] ?? "" };
  }

  /** How many deliveries match. */
  async count(filter: Message): Promise<number> {
    const { total } = await this.call("postrider.v1.LedgerService/ListDeliveries", { filter, pageSize: 1, count: true });
    return Number(total ?? 0);
  }

  /** The newest deliveries that match. */
  async deliveries(filter: Message, pageSize = 100): Promise<Message[]> {
    return (await this.call("postrider.v1.LedgerService/ListDeliveries", { filter, pageSize }))["deliveries"] ?? [];
  }

  /** The whole story of a delivery. */
  story(deliveryId: string): Promise<Message> {
    return this.call("postrider.v1.LedgerService/ExplainDelivery", { deliveryId });
  }

  #post(body: Message): RequestInit {
    return {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.key}` },
      body: JSON.stringify(body),
    };
  }
}

export interface Endpoint {
  id: string;
  /** Its signing secret; empty where the server did not make it. */
  secret: string;
}
