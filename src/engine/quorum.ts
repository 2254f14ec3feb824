/** How many backends decide. Two quorums of one deployment always share a backend; everything rests on that. */

/** The smallest quorum of `n` backends of which any two share a backend: more than half. */
export function majority(n: number): number {
  return Math.floor(n / 2) + 1;
}

/** Whether `quorum` of `n` backends is a quorum: any two sets of that size share a backend, and one exists. */
export function isQuorum(quorum: number, n: number): boolean {
  return Number.isInteger(quorum) && quorum >= majority(n) && quorum <= n;
}

/** How many backends two quorums share at least; one fewer may forget everything without harm. */
export function overlap(quorum: number, n: number): number {
  return 2 * quorum - n;
}
