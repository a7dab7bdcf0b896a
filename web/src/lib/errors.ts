// What went wrong, for people: what it is, what the server says, what to do.
import { Code, ConnectError } from "@connectrpc/connect";

/** A failed call. */
export interface Trouble {
  /** Name of the code, as the API's documentation has it. */
  code: string;
  /** What it is, in a few words. */
  title: string;
  /** What the server says. */
  message: string;
  /** What to do about it; may be empty. */
  advice: string;
  /** Whether the same call may succeed later. */
  mayPass: boolean;
}

interface Known {
  title: string;
  advice: string;
  mayPass?: true;
}

const known: Partial<Record<Code, Known>> = {
  [Code.Canceled]: { title: "Cancelled", advice: "" },
  [Code.InvalidArgument]: { title: "Not accepted", advice: "Correct what the message names, and try again." },
  [Code.DeadlineExceeded]: { title: "No answer in time", advice: "The server took too long. Try again in a moment.", mayPass: true },
  [Code.NotFound]: { title: "Not found", advice: "It was deleted, retention removed it, or it belongs to a namespace that this key does not see." },
  [Code.AlreadyExists]: { title: "There already", advice: "Choose another name or URL, or change the one that is there." },
  [Code.PermissionDenied]: { title: "Not allowed", advice: "This key lacks the scope for it. Sign in with a key that has it." },
  [Code.ResourceExhausted]: { title: "Too much at once", advice: "A limit is reached. Wait a moment, then try again.", mayPass: true },
  [Code.FailedPrecondition]: { title: "Not possible as it is now", advice: "" },
  [Code.Unimplemented]: { title: "Unknown to this server", advice: "Server and page are of different releases: reload the page." },
  [Code.Internal]: { title: "A fault of the server", advice: "The server's log says more. Try again in a moment.", mayPass: true },
  [Code.Unavailable]: { title: "Not available", advice: "The server is starting, stopping or waits for its database. Try again in a moment.", mayPass: true },
  [Code.Unauthenticated]: { title: "Key not accepted", advice: "Sign in with a valid key." },
};

/** `FailedPrecondition` as `failed_precondition`. */
function named(code: Code): string {
  return (Code[code] ?? "unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toLowerCase();
}

/** The code that is called like this; `Unknown` where none is. */
export function coded(name: unknown): Code {
  for (let code = Code.Canceled; code <= Code.Unauthenticated; code += 1) {
    if (named(code) === name) return code;
  }
  return Code.Unknown;
}

/** What the server says. Of a key it says nothing that the client reads as a message: the contract has another form for that. */
function said(error: ConnectError): string {
  const isSilent = error.code === Code.Unauthenticated && error.rawMessage.startsWith("HTTP ");
  return isSilent ? "The server does not accept this API key: it is unknown, was revoked, or has expired." : error.rawMessage;
}

/** Nobody knows whether something was done: its answer did not come. */
export class Unsure extends Error {}

/** What a failed call says. */
export function trouble(cause: unknown): Trouble {
  if (cause instanceof Unsure) {
    return { code: "unknown", title: "No answer came", message: cause.message, advice: "Look for it before you send it again.", mayPass: false };
  }
  const error = ConnectError.from(cause);
  // What the browser itself says of a server that it does not reach differs from one to the next.
  if (error.code === Code.Unknown && error.cause instanceof TypeError) {
    return {
      code: "unreachable",
      title: "The server is not reached",
      message: "There is no connection to the server.",
      advice: "It may be stopped, or the network between is down. Try again in a moment.",
      mayPass: true,
    };
  }
  const about = known[error.code];
  return {
    code: named(error.code),
    title: about?.title ?? "Something went wrong",
    message: said(error),
    advice: about?.advice ?? "Try again in a moment.",
    mayPass: about === undefined || about.mayPass === true,
  };
}

/** Whether a call was ended by who made it. */
export function isCancelled(cause: unknown): boolean {
  return ConnectError.from(cause).code === Code.Canceled;
}

/** Whether the key is not accepted, or is needed. */
export function isRefused(cause: unknown): boolean {
  return ConnectError.from(cause).code === Code.Unauthenticated;
}
