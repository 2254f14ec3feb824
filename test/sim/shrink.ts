/** Cuts the fault list of a failing world down to one from which nothing can be left out. */
import type { Fault } from "./faults.js";
import { judge } from "./judge.js";
import type { Plan } from "./plan.js";

/** More worlds than this are not tried. */
const TRIES_MAX = 2_000;

/** The plan with some of its faults only. */
export function withFaults(plan: Plan, indexes: readonly number[]): Plan {
  return {
    ...plan,
    faults: indexes.map((index) => plan.faults[index]).filter((fault): fault is Fault => fault !== undefined),
  };
}

/**
 * Indexes of the faults that are needed for `checker` to find something: chunks are left out, halved down to single
 * faults, until none can be (delta debugging).
 */
export async function shrink(plan: Plan, checker: string): Promise<readonly number[]> {
  let needed: readonly number[] = plan.faults.map((_, index) => index);
  let tries = 0;
  const fails = async (indexes: readonly number[]): Promise<boolean> => {
    tries++;
    const { broken } = await judge(withFaults(plan, indexes));
    return broken.some((violation) => violation.checker === checker);
  };
  let chunk = Math.ceil(needed.length / 2);
  while (chunk >= 1 && tries < TRIES_MAX) {
    let shorter = false;
    for (let from = 0; from < needed.length && tries < TRIES_MAX;) {
      const without = [...needed.slice(0, from), ...needed.slice(from + chunk)];
      if (await fails(without)) {
        needed = without;
        shorter = true;
      } else from += chunk;
    }
    if (chunk === 1 && !shorter) break;
    chunk = chunk === 1 ? 1 : Math.ceil(chunk / 2);
  }
  return needed;
}
