/** Every set of backends, by brute force. */

/** All subsets of 0 … n-1, each as a sorted list. */
export function subsets(n: number): readonly (readonly number[])[] {
  if (n === 0) return [[]];
  const smaller = subsets(n - 1);
  return [...smaller, ...smaller.map((set) => [...set, n - 1])];
}

/** What two sets have in common. */
export function shared(a: readonly number[], b: readonly number[]): readonly number[] {
  return a.filter((each) => b.includes(each));
}
