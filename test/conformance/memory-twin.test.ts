import * as fc from "fast-check";
import { expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import type { BackendIdentity } from "../../src/backend.js";
import { createVirtualTime } from "../../src/testing/virtual-time.js";
import { twinBackend } from "./twin-backend.js";
import { DEPLOYMENT, type Restartable } from "./virtual-context.js";

type Step =
  | { do: "acquire" | "extend" | "heal"; key: string; owner: string; ttlMs: number; offset: number }
  | { do: "raise"; key: string; owner: string; which: number; by: number }
  | { do: "release"; key: string; owner: string }
  | { do: "forceRelease"; key: string }
  | { do: "wait"; ms: number }
  | { do: "restart"; memoryIs: "lost" | "kept" }
  | { do: "bootstrap" | "join"; old: boolean }
  | { do: "mismatched" };

const key = fc.constantFrom("a", "b");
const owner = fc.constantFrom("alice", "bob", "carol");
const ttlMs = fc.constantFrom(10, 20, 50, 100);
/** Of the proposal or token from now, in microseconds: often the same, sometimes mad. */
const offset = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: -3, max: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(-60_000_000, 60_000_000, 500_000, -500_000) },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom("acquire", "acquire", "extend", "heal"), key, owner, ttlMs, offset }),
  fc.record({ do: fc.constant("raise"), key, owner, which: fc.nat(3), by: fc.integer({ min: -2, max: 9 }) }),
  fc.record({ do: fc.constant("release"), key, owner }),
  fc.record({ do: fc.constant("wait"), ms: fc.constantFrom(1, 5, 10, 20, 50, 99, 100) }),
  fc.oneof(
    fc.record({ do: fc.constant("forceRelease"), key }),
    fc.record({ do: fc.constant("restart"), memoryIs: fc.constantFrom("lost", "kept") }),
    fc.record({ do: fc.constantFrom("bootstrap", "join"), old: fc.boolean() }),
    fc.constant({ do: "mismatched" } as const),
  ),
) as fc.Arbitrary<Step>;

/** Plays the steps on one backend and writes down every answer and what is stored after each. */
async function play(
  steps: readonly Step[],
  restartGuard: "auto" | "off",
  kind: "memory" | "twin",
): Promise<unknown[]> {
  const time = createVirtualTime({ seed: 7 });
  const names: string[] = [];
  const clock = time.backendClock();
  let made = 0;
  const incarnation = (): string => `memory-${++made}`;
  const backend: Restartable =
    kind === "memory" ? memory({ clock, newIncarnation: incarnation }) : twinBackend({ clock, incarnation });
  // A short quarantine and a retention that is sometimes shorter than a lock with its extensions, to meet their ends.
  const deployment = { ...DEPLOYMENT, quarantineMs: 150, tokenRetentionMs: 200, restartGuard };
  const session = backend.open(deployment);
  const other = backend.open({ ...deployment, maxTtlMs: 1 });
  const fences: bigint[] = [1n];
  const incarnations: string[] = ["none"];
  const log: unknown[] = [];
  for (const each of steps) {
    let reply: unknown = await answerOf(each).catch((error: { code: string }) => error.code);
    if (typeof reply === "object" && reply !== null) {
      if ("fence" in reply && typeof reply.fence === "bigint") fences.push(reply.fence);
      reply = { ...reply };
    }
    const status = await session.status().catch((error: { code: string }) => error.code);
    if (typeof status !== "string" && incarnations.at(-1) !== status.identity.incarnation) {
      incarnations.push(status.identity.incarnation);
    }
    log.push([each, renamed(reply), renamed(status), await session.inspect("a"), await session.inspect("b")]);
  }
  return log;

  /** Two memories have the same name or different ones; how they are named is each backend's own. */
  function renamed(answer: unknown): unknown {
    if (typeof answer !== "object" || answer === null || !("identity" in answer)) return answer;
    const { serverId, incarnation } = answer.identity as BackendIdentity;
    const ordinal = (name: string): number => {
      if (!names.includes(name)) names.push(name);
      return names.indexOf(name);
    };
    return { ...answer, identity: [ordinal(`server ${serverId}`), ordinal(incarnation)] };
  }

  async function answerOf(each: Step): Promise<unknown> {
    const now = clock.wallMicros();
    switch (each.do) {
      case "acquire":
        return session.acquire({ ...each, proposal: now + BigInt(each.offset) });
      case "extend":
      case "heal":
        return session.extend({ ...each, token: now + BigInt(each.offset), mayHeal: each.do === "heal" });
      case "raise": {
        const fence = fences.at(-1 - (each.which % fences.length)) ?? 0n;
        return session.raise({ ...each, fence, token: fence + BigInt(each.by) });
      }
      case "release":
        return session.release(each.key, each.owner);
      case "forceRelease":
        return session.forceRelease(each.key);
      case "wait":
        return time.advance(each.ms);
      case "restart":
        return backend.restart(each.memoryIs);
      case "bootstrap":
      case "join":
        return session[each.do](incarnations.at(each.old ? -2 : -1) ?? "none");
      case "mismatched":
        return other.acquire({ key: "a", owner: "dave", ttlMs: 10, proposal: now });
    }
  }
}

it("answers as the plain twin does, whatever happens in whatever order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60, size: "max" }),
      fc.constantFrom("auto", "off"),
      async (steps, restartGuard) => {
        expect(await play(steps, restartGuard, "memory")).toEqual(await play(steps, restartGuard, "twin"));
      },
    ),
    { numRuns: 400 },
  );
}, 60_000);

it("plays steps that are worth playing: granted, extended, recreated, raised and quarantined all occur", async () => {
  const seen = new Set<unknown>();
  for (const steps of fc.sample(fc.array(step, { minLength: 50, maxLength: 60 }), { numRuns: 60, seed: 1 })) {
    for (const entry of await play(steps, "off", "memory")) {
      const reply = (entry as unknown[])[1];
      seen.add(typeof reply === "object" && reply !== null && "kind" in reply ? reply.kind : reply);
    }
  }
  for (const kind of [
    "granted",
    "held",
    "extended",
    "recreated",
    "not-owner",
    "raised",
    "refused",
    "released",
  ]) {
    expect(seen).toContain(kind);
  }
  expect(seen).toContain("BACKEND_MARK_MISMATCH");
});
