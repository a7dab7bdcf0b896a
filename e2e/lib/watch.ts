// What a browser does besides what a test looks at: errors on the console, exceptions, requests to other hosts, violations of the page's policy.
import type { BrowserContext, Request } from "@playwright/test";

/** Looks at all pages of a context from its beginning on. */
export class Watch {
  /** Everything that the pages wrote to the console, and the addresses of their requests. */
  readonly console: string[] = [];
  readonly requests: Request[] = [];
  readonly #problems: string[] = [];
  readonly #expected: RegExp[] = [];
  readonly #hosts = new Set<string>();
  #ended = false;

  constructor(context: BrowserContext) {
    context.on("console", (message) => {
      const text = `${message.text()} (${message.location().url})`;
      this.console.push(text);
      // A violation of the policy is written there, too.
      if (message.type() === "error") this.#note(`console: ${text}`);
    });
    context.on("weberror", (error) => this.#note(`exception: ${error.error().stack ?? error.error()}`));
    context.on("request", (request) => {
      this.requests.push(request);
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith("http") && !this.#hosts.has(host)) this.#note(`request to another host: ${request.url()}`);
    });
  }

  /** The page's own server. */
  own(url: string): void {
    this.#hosts.add(new URL(url).host);
  }

  /** Problems that a test brings about on purpose. */
  expects(...problems: RegExp[]): void {
    this.#expected.push(...problems);
  }

  /** What happens from now on is no problem: the server is about to stop. */
  end(): void {
    this.#ended = true;
  }

  get problems(): string[] {
    return this.#problems.filter((problem) => !this.#expected.some((expected) => expected.test(problem)));
  }

  #note(problem: string): void {
    if (!this.#ended) this.#problems.push(problem);
  }
}
