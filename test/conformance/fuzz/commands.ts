/** The commands of the conformance fuzz: one operation each, on the backend and in the model. */
import * as fc from "fast-check";
import type { BackendSession, Deployment } from "../../../src/backend.js";
import type { ConformanceContext } from "../../../src/testing/conformance.js";
import { ALICE, BOB, CAROL } from "../../../src/testing/conformance/stage.js";
import type { MemoryModel } from "./memory-model.js";
import { ask, type Asker, type Operation } from "./operation.js";

/** The backend under test in one run, and what the run has seen of it. */
export interface Stand {
  readonly context: ConformanceContext;
  readonly deployments: Readonly<Record<Asker, Deployment>>;
  readonly sessions: Readonly<Record<Asker, BackendSession>>;
  readonly keys: readonly string[];
  readonly memories: string[];
  readonly fences: bigint[];
  /** The TTL that is waited for. */
  readonly shortMs: number;
  /** By the context's clock: when it is to come to its end, whatever is left to do. */
  readonly untilMs: number;
  /** How often each kind of answer came. */
  readonly counts: Map<string, number>;
}

/** A TTL of this many short ones; or one that does not end by itself. */
type Length = 1 | 2 | "long";
/** One command of a sequence. */
export type Step = fc.AsyncCommand<MemoryModel, Stand>;

/** Codes after which nobody knows what the operation did. They say nothing about the adapter's semantics. */
const UNKNOWN = /^BACKEND_(NOT_CONNECTED|DISCONNECTED|LOADING|TIMEOUT|SILENT)$/;

/** How many milliseconds before its earliest end a quarantine is looked at again. */
const BEFORE_MS = 5;
const RECONNECT_MS_MAX = 10_000;
const RECONNECT_STEP_MS = 20;
const LAST = { which: 0, by: 0 };

/** A TTL worth waiting for: beyond all that may blur its end. */
export function usualTtlMs(context: ConformanceContext): number {
  const { earlyByMs, lateByMs } = context.capabilities;
  return 100 + 2 * Math.ceil(earlyByMs + lateByMs + context.toleranceMs);
}

/** Everything that may be done to a backend; restarts only where the context offers them and `restarts` says so. */
export function commands(restarts: boolean): fc.Arbitrary<Step>[] {
  const key = fc.nat(1);
  const owner = fc.constantFrom(ALICE, BOB, CAROL);
  const length = fc.constantFrom<Length>(1, 1, 2, "long", "long");
  const asker = fc.constantFrom<Asker>("first", "second");
  // Of a proposal from now, in microseconds, or in windows of the clock skew: mostly as honest clients make them.
  const offset = fc.oneof(
    { weight: 2, arbitrary: fc.constant<"last fence">("last fence") },
    { weight: 8, arbitrary: fc.integer({ min: -3, max: 3 }) },
    { weight: 1, arbitrary: fc.constantFrom<"low" | "high">("low", "high") },
  );
  const token = record({ which: fc.nat(3), by: fc.integer({ min: -2, max: 9 }) });

  const acquire = record({ asker, key, owner, length, offset }).map((made) =>
    step("acquire", made, async (stand) => {
      const mad = 3n * BigInt(stand.deployments.first.clockSkewMs) * 1000n;
      const by = { low: -mad, high: mad, "last fence": 0n };
      const from = made.offset === "last fence" ? tokenOf(stand, LAST) : stand.context.proposal();
      const proposal = from + (typeof made.offset === "number" ? BigInt(made.offset) : by[made.offset]);
      return {
        op: "acquire",
        key: keyOf(stand, made.key),
        owner: made.owner,
        ttlMs: ttlOf(stand, made.length),
        proposal,
      };
    }),
  );
  const extend = record({ asker, key, owner, length, token, mayHeal: fc.boolean() }).map((made) =>
    step("extend", made, async (stand) => ({
      op: "extend",
      key: keyOf(stand, made.key),
      owner: made.owner,
      ttlMs: ttlOf(stand, made.length),
      token: tokenOf(stand, made.token),
      mayHeal: made.mayHeal,
    })),
  );
  const raise = record({ asker, key, owner, which: fc.nat(2), by: fc.integer({ min: -2, max: 9 }) }).map(
    (made) =>
      step("raise", made, async (stand) => {
        const fence = tokenOf(stand, { which: made.which, by: 0 });
        return {
          op: "raise",
          key: keyOf(stand, made.key),
          owner: made.owner,
          fence,
          token: fence + BigInt(made.by),
        };
      }),
  );
  const release = record({ asker, key, owner }).map((made) =>
    step("release", made, async (stand) => ({
      op: "release",
      key: keyOf(stand, made.key),
      owner: made.owner,
    })),
  );
  const forceRelease = record({ asker, key }).map((made) =>
    step("forceRelease", made, async (stand) => ({ op: "forceRelease", key: keyOf(stand, made.key) })),
  );
  const lift = record({ asker, key, token }).map((made) =>
    step("lift", made, async (stand) => ({
      op: "lift",
      key: keyOf(stand, made.key),
      token: tokenOf(stand, made.token),
    })),
  );
  const quarantine = record({ asker }).map((made) =>
    step("quarantine", made, async () => ({ op: "quarantine" })),
  );
  const memory = fc.constantFrom(-1, -1, -2);
  const bootstrap = record({ asker, memory }).map((made) =>
    step("bootstrap", made, async () => ({ op: "bootstrap", memory: made.memory })),
  );
  const join = record({ asker, memory }).map((made) =>
    step("join", made, async () => ({ op: "join", memory: made.memory })),
  );
  const mismatched = record({ asker: fc.constant<Asker>("mismatched"), key, owner, heal: fc.boolean() }).map(
    (made) =>
      step(made.heal ? "extend" : "acquire", made, async (stand) => {
        const asked = { key: keyOf(stand, made.key), owner: made.owner, ttlMs: stand.shortMs };
        if (made.heal) return { op: "extend", ...asked, token: tokenOf(stand, LAST), mayHeal: true };
        return { op: "acquire", ...asked, proposal: stand.context.proposal() };
      }),
  );
  const byMs = fc.constantFrom(0, 0.25, 1, 5);
  const pause = fc.constantFrom(1, 5, 10, 30).map((ms) => wait(`wait ${ms} ms`, () => ms));
  const edge = record({ key, side: fc.constantFrom("before", "after"), byMs }).map((made) =>
    wait(`wait until ${made.byMs} ms ${made.side} the end of key ${made.key}`, (stand, model) => {
      const end = model.endOf(keyOf(stand, made.key));
      if (end === undefined) return 0;
      const untilMs = made.side === "before" ? end.minMs - made.byMs : end.maxMs + made.byMs;
      const ms = untilMs - stand.context.nowMs();
      // A long lock is not waited for.
      return ms > 4 * stand.shortMs + stand.context.capabilities.lateByMs ? 0 : ms;
    }),
  );
  const quarantineEnd = fc.constantFrom("before", "after").map((side) =>
    wait(`wait until just ${side} the end of a quarantine`, (stand) => {
      const { earlyByMs, lateByMs } = stand.context.capabilities;
      const { quarantineMs } = stand.deployments.first;
      return side === "before"
        ? quarantineMs - earlyByMs - BEFORE_MS
        : quarantineMs + lateByMs + stand.context.toleranceMs;
    }),
  );
  const usual = [acquire, acquire, acquire, extend, extend, extend, raise, raise, release, pause, edge, edge];
  const seldom = fc.oneof(forceRelease, lift, bootstrap, join, mismatched);
  // A server that was restarted has to be met: its sessions must connect again.
  const restart = fc.constantFrom<["lost" | "kept", boolean]>(
    ["lost", false],
    ["lost", true],
    ["kept", true],
  );
  const restarted = restart.map(([memoryIs, meets]) => restartStep(memoryIs, meets));
  return [
    ...usual,
    seldom,
    ...(restarts ? [fc.oneof(restarted, restarted, quarantine, quarantineEnd), bootstrap, join] : []),
  ];
}

/** Plain objects, for readable reports. */
function record<T>(fields: { [Field in keyof T]: fc.Arbitrary<T[Field]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true });
}

function keyOf({ keys }: Stand, index: number): string {
  return keys[index] ?? "none";
}

function ttlOf({ context, shortMs }: Stand, length: Length): number {
  if (length === "long") return Math.min(context.deployment.maxTtlMs, 10_000 + 10 * shortMs);
  return shortMs * length;
}

/** One of the last fences that were granted, or near it; a token is at least 1. */
function tokenOf({ fences }: Stand, { which, by }: { readonly which: number; readonly by: number }): bigint {
  const token = (fences.at(-1 - which) ?? fences[0] ?? 1n) + BigInt(by);
  return token > 1n ? token : 1n;
}

/** Asks, has the answer explained, and looks at the key, so that a difference shows where it arises. */
function step(
  name: string,
  made: { readonly asker: Asker; readonly key?: number },
  operationOf: (stand: Stand) => Promise<Exclude<Operation, { op: "restart" }>>,
): Step {
  return {
    check: () => true,
    async run(model, stand) {
      const operation = await operationOf(stand);
      await both(model, stand, { asker: made.asker, operation });
      const looked = "key" in operation ? operation.key : undefined;
      if (looked === undefined) await both(model, stand, { asker: "first", operation: { op: "status" } });
      else await both(model, stand, { asker: "first", operation: { op: "inspect", key: looked } });
    },
    toString: () => `${name}(${fc.stringify(made)})`,
  };
}

function wait(text: string, msOf: (stand: Stand, model: MemoryModel) => number): Step {
  return {
    check: () => true,
    async run(model, stand) {
      const ms = Math.min(msOf(stand, model), stand.untilMs - stand.context.nowMs());
      if (ms > 0) await stand.context.waitMs(ms);
    },
    toString: () => text,
  };
}

function restartStep(memoryIs: "lost" | "kept", meets: boolean): Step {
  return {
    check: () => true,
    async run(model, stand) {
      const { context } = stand;
      const restart = context.restart?.[memoryIs];
      if (restart === undefined) return;
      const sentMs = context.nowMs();
      await restart();
      const answeredMs = context.nowMs();
      const operation: Operation = { op: "restart", memoryIs };
      await model.observe({
        asker: "first",
        operation,
        sentMs,
        answeredMs,
        wallMicros: 0n,
        answer: undefined,
      });
      if (meets) await meetAll(model, stand);
    },
    toString: () => `restart(${memoryIs})${meets ? ", met by all" : ""}`,
  };
}

/** Every session asks for the status, the first one first: it writes the mark where none is. */
export async function meetAll(model: MemoryModel, stand: Stand): Promise<void> {
  for (const asker of ["first", "second", "mismatched"] as const) {
    await both(model, stand, { asker, operation: { op: "status" }, untilConnected: true });
  }
}

/** Asks the backend, and the model whether that may be the answer. */
async function both(
  model: MemoryModel,
  stand: Stand,
  what: {
    readonly asker: Asker;
    readonly operation: Exclude<Operation, { op: "restart" }>;
    readonly untilConnected?: boolean;
  },
): Promise<void> {
  const { context, sessions, memories, fences, counts } = stand;
  const wallMicros = context.proposal();
  const sentMs = context.nowMs();
  let answer = await ask(sessions[what.asker], what.operation, memories);
  while (what.untilConnected === true && UNKNOWN.test(answer.kind)) {
    if (context.nowMs() - sentMs > RECONNECT_MS_MAX) throw new Error(`not connected again: ${answer.kind}`);
    await context.waitMs(RECONNECT_STEP_MS);
    answer = await ask(sessions[what.asker], what.operation, memories);
  }
  const answeredMs = context.nowMs();
  // A busy machine: what was done is unknown, and so is everything from here on.
  fc.pre(!UNKNOWN.test(answer.kind));
  if (answer.fence !== undefined && answer.fence !== fences.at(-1)) fences.push(answer.fence);
  counts.set(answer.kind, (counts.get(answer.kind) ?? 0) + 1);
  await model.observe({ ...what, sentMs, answeredMs, wallMicros, answer });
}
