/**
 * Random turns: what is asked for in one turn of the event loop, so that it travels together, is answered as if it were asked one
 * behind the other. Both on one backend, on keys of their own.
 */
import * as fc from "fast-check";
import { expect } from "vitest";
import type { BackendSession } from "../../src/backend.js";

const KEYS = 6;
const OWNERS = 3;
const TURNS_MAX = 8;
const TTL_MS = 10_000;

/** One operation on one of a few keys, by one of a few owners. Tokens are told from the fences that were granted. */
type Asked =
  | { readonly op: "acquire"; readonly key: number; readonly owner: number; readonly aheadMicros: number }
  | { readonly op: "raise"; readonly key: number; readonly owner: number; readonly more: number }
  | {
      readonly op: "extend";
      readonly key: number;
      readonly owner: number;
      readonly more: number;
      readonly mayHeal: boolean;
    }
  | { readonly op: "release"; readonly key: number; readonly owner: number };

const key = fc.nat(KEYS - 1);
const owner = fc.nat(OWNERS - 1);
const more = fc.nat(3);
const operation: fc.Arbitrary<Asked> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant("acquire"), key, owner, aheadMicros: fc.nat(1_000) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("raise"), key, owner, more }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("extend"), key, owner, more, mayHeal: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("release"), key, owner }) },
);
/** A key is asked for several times only by those who want its lock: of others nobody promises which comes first. */
const inOrder = (asked: readonly Asked[]): Asked[] =>
  asked.filter(
    (each, i) =>
      isFirst(asked, each, i) || asked.every(({ key: other, op }) => other !== each.key || op === "acquire"),
  );
const isFirst = (asked: readonly Asked[], { key: own }: Asked, i: number): boolean =>
  asked.findIndex((other) => other.key === own) === i;

/** How long it goes on. */
export interface TurnsRun {
  readonly seconds: number;
  /** Whether the first who wants a key is the one who gets it. */
  readonly isFirstServed: boolean;
}

/** Fails with the shortest sequence of turns that differs. The session is in service and grants for ten seconds. */
export async function expectTurnsAsSingles(
  session: BackendSession,
  { seconds, isFirstServed }: TurnsRun,
): Promise<void> {
  const turn = fc
    .array(operation, { minLength: 1, maxLength: 12 })
    .map((asked) => (isFirstServed ? inOrder(asked) : asked.filter((each, i) => isFirst(asked, each, i))));
  let run = 0;
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: TURNS_MAX }), async (turns) => {
      run++;
      const together = world(session, `together:${run}`);
      const single = world(session, `single:${run}`);
      for (const asked of turns) {
        // The same for both, and within the skew of the clocks.
        const nowMicros = BigInt(Date.now()) * 1000n;
        const answers = await Promise.all(asked.map((each) => together.ask(each, nowMicros)));
        const expected: unknown[] = [];
        for (const each of asked) expected.push(await single.ask(each, nowMicros));
        expect(answers).toEqual(expected);
        for (const { kind } of answers) kinds.add(kind);
      }
      expect(await together.left()).toEqual(await single.left());
    }),
    { interruptAfterTimeLimit: 1_000 * seconds, numRuns: 100_000, markInterruptAsFailure: false },
  );
  expect([...kinds].toSorted()).toEqual(
    ["granted", "held", "raised", "refused", "extended", "recreated", "not-owner", "released"].toSorted(),
  );
}

interface Answered {
  readonly kind: string;
  readonly fence?: bigint;
}

/** Keys of its own, and the last fence of each. */
function world(session: BackendSession, prefix: string) {
  const fences = new Map<number, bigint>();
  const keyOf = (number: number): string => `${prefix}:${number}`;
  const ownerOf = (number: number): string => (number + 1).toString(16).padStart(32, "0");
  const tokenOf = (each: { readonly key: number; readonly more: number }): bigint =>
    (fences.get(each.key) ?? 1n) + BigInt(each.more);

  return {
    async ask(each: Asked, nowMicros: bigint): Promise<Answered> {
      const who = { key: keyOf(each.key), owner: ownerOf(each.owner) };
      switch (each.op) {
        case "acquire": {
          const proposal = nowMicros + BigInt(each.aheadMicros);
          const reply = await session.acquire({ ...who, ttlMs: TTL_MS, proposal });
          if (reply.kind !== "granted") return { kind: reply.kind };
          fences.set(each.key, reply.fence);
          return { kind: reply.kind, fence: reply.fence };
        }
        case "raise": {
          const fence = fences.get(each.key) ?? 1n;
          return { kind: await session.raise({ ...who, fence, token: tokenOf(each) }) };
        }
        case "extend": {
          const { mayHeal } = each;
          return {
            kind: (await session.extend({ ...who, ttlMs: TTL_MS, token: tokenOf(each), mayHeal })).kind,
          };
        }
        case "release":
          return { kind: await session.release(who.key, who.owner) };
      }
    },
    /** What the backend holds. */
    async left(): Promise<readonly unknown[]> {
      const records: unknown[] = [];
      for (let i = 0; i < KEYS; i++) {
        const { lock, counter } = await session.inspect(keyOf(i));
        records.push({ counter, owner: lock?.owner, fence: lock?.fence });
      }
      return records;
    },
  };
}
