/** Invariants that stay on in production: a broken one is a bug of quorum-lock, never of its user. */

/** Thrown when quorum-lock contradicts itself; please report it. */
export class InvariantError extends Error {
  readonly code = "INVARIANT";
  override readonly name: string = "InvariantError";
}

/** Throws {@link InvariantError} unless `condition` holds. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new InvariantError(`quorum-lock broke its own invariant: ${invariant}`);
}

/** The unreachable end of a `switch` over a closed union; the compiler checks that it is unreachable. */
export function unreachable(value: never): never {
  throw new InvariantError(`quorum-lock met a value outside its own union: ${String(value)}`);
}
