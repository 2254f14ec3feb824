/**
 * `n` times the same. As `new Array(n).fill(value)`, which is a call out of compiled code, and a busy locker makes several lists for
 * every attempt.
 */
export function listOf<T>(n: number, value: T): T[] {
  const list = new Array<T>(n);
  for (let i = 0; i < n; i++) list[i] = value;
  return list;
}
