/** Checks for conformance cases; no test runner needed. */

/** A backend broke a promise of the contract. The message says which, with what came and what should have. */
export class ConformanceFailure extends Error {
  readonly code = "CONFORMANCE";
  override readonly name: string = "ConformanceFailure";
}

/** Fails unless `condition` holds. */
export function check(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new ConformanceFailure(promise);
}

/** Fails unless the two are equal. */
export function checkSame<T>(what: string, values: { readonly is: T; readonly should: T }): void {
  const [is, should] = [text(values.is), text(values.should)];
  if (is !== should) throw new ConformanceFailure(`${what} is ${is}, and should be ${should}`);
}

/** Fails unless it lies between the bounds, both included. */
export function checkBetween<T extends number | bigint>(
  what: string,
  figures: { readonly is: T; readonly min: T; readonly max: T },
): void {
  const { is, min, max } = figures;
  if (is >= min && is <= max) return;
  throw new ConformanceFailure(`${what} is ${is}, and should be from ${min} to ${max}`);
}

/** Fails unless it rejects with that code. */
export async function checkRejects(what: string, code: string, promise: Promise<unknown>): Promise<void> {
  const outcome = await promise.then(
    (reply) => `came back with ${text(reply)}`,
    (error: unknown) => (codeOf(error) === code ? undefined : `failed with ${String(error)}`),
  );
  if (outcome !== undefined) throw new ConformanceFailure(`${what} ${outcome}, and should fail with ${code}`);
}

/** The code of an error of ours. */
export function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

/** A value as text; equal values give equal texts. */
export function text(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  if (Array.isArray(value)) return `[${value.map(text).join(", ")}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${name}: ${text(field)}`);
  return `{ ${fields.join(", ")} }`;
}
