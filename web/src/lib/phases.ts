// The parts of an exchange, in their order, with where each begins.

interface Phases {
  dns?: number | undefined;
  tcp?: number | undefined;
  tls?: number | undefined;
  firstByte?: number | undefined;
  total: number;
}

export interface Part {
  name: string;
  kind: "dns" | "tcp" | "tls" | "wait" | "rest";
  /** Milliseconds; undefined where there was no such part. */
  took: number | undefined;
  /** Why there was none. */
  why: string;
  /** Where it begins and how much it is, of the whole: 0 to 1. */
  from: number;
  share: number;
}

/** The parts one after the other. What is left of the whole is the last one, where it is worth telling. */
export function parts(phases: Phases): Part[] {
  const given: [string, Part["kind"], number | undefined][] = [
    ["Name lookup", "dns", phases.dns],
    ["Connect", "tcp", phases.tcp],
    ["TLS", "tls", phases.tls],
    ["Wait for the answer", "wait", phases.firstByte],
  ];
  const known = given.reduce((sum, [, , took]) => sum + (took ?? 0), 0);
  const whole = Math.max(phases.total, known);
  const rest = whole - known;
  if (rest > whole * 0.01 && rest > 0.05) {
    given.push([phases.firstByte === undefined ? "Until it failed" : "Read the answer", "rest", rest]);
  }
  // A kept connection made the first three unnecessary; without it the later ones did not come about.
  const isKept = phases.tcp === undefined && phases.firstByte !== undefined;
  let from = 0;
  return given.map(([name, kind, took]) => {
    const share = whole === 0 ? 0 : (took ?? 0) / whole;
    const why =
      isKept ? "kept connection"
      : kind === "tls" && phases.firstByte !== undefined ? "no TLS"
      : kind === "dns" && phases.tcp !== undefined ? "an address"
      : "not reached";
    const part: Part = { name, kind, took, why, from, share };
    from += share;
    return part;
  });
}
