// Which field of a form a refusal is about. Messages of the server begin with the name of the field that is wrong.
import type { Trouble } from "./errors";

/** The field that a refusal is about, by its name in the request: the longest one that fits; undefined where it is about none of these. */
export function blamed<F extends string>(problem: Trouble | undefined, fields: readonly F[]): F | undefined {
  if (problem === undefined || (problem.code !== "invalid_argument" && problem.code !== "failed_precondition")) return undefined;
  const said = problem.message;
  const fitting = fields.filter((field) => said.startsWith(field) && /^($|[^\w])/.test(said.slice(field.length)));
  return fitting.sort((a, b) => b.length - a.length)[0];
}
