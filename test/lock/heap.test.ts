import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface Bytes {
  readonly held: number;
  readonly extended: number;
  readonly withSignal: number;
  readonly released: number;
}

const PROGRAM = fileURLToPath(new URL("heap-of-leases.mjs", import.meta.url));
const ATTEMPTS_PROGRAM = fileURLToPath(new URL("heap-of-attempts.mjs", import.meta.url));

/** Of three backends, the key included. What ran the attempt takes several times as much, and must not be kept. */
const LEASE_BYTES_MAX = 1_024;

/** Some 60 of one that does not wait, some 300 of one that may; what ran the attempt takes several times as much. */
const OVER_BYTES_MAX = 700;

describe("the heap", () => {
  const printed = execFileSync(process.execPath, ["--expose-gc", PROGRAM], {
    encoding: "utf8",
    timeout: 60_000,
  });
  const bytes = JSON.parse(printed) as { readonly kept: Bytes; readonly watched: Bytes };

  it.each(["kept", "watched"] as const)(
    "of a lease that is %s is bounded, before and after an extension",
    (how) => {
      const { held, extended } = bytes[how];
      expect(held).toBeGreaterThan(100);
      expect(held).toBeLessThan(LEASE_BYTES_MAX);
      expect(extended).toBeLessThan(LEASE_BYTES_MAX);
    },
  );

  it.each(["kept", "watched"] as const)(
    "of leases that were %s is given back when they are released",
    (how) => {
      // What is compiled meanwhile is no lease's, and takes up to 150 of each of so few.
      expect(bytes[how].released).toBeLessThan(LEASE_BYTES_MAX / 4);
    },
  );

  it("holds a signal of its own for those leases only that were asked for theirs", () => {
    // Some 750 on Node 20, some 120 on Node 26.
    expect(bytes.kept.withSignal - bytes.kept.extended).toBeGreaterThan(60);
  });

  it.each([0, 1_000])(
    "of attempts that are over goes with the young, where they may wait for %i ms",
    (waitMs) => {
      const flags = ["--expose-gc", "--min-semi-space-size=8", "--max-semi-space-size=8"];
      const bytes = execFileSync(process.execPath, [...flags, ATTEMPTS_PROGRAM, String(waitMs)], {
        encoding: "utf8",
        timeout: 60_000,
      });
      expect(Number(bytes)).toBeLessThan(OVER_BYTES_MAX);
    },
  );
});
