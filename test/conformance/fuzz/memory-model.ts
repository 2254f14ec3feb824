/**
 * The memory adapter as the model of any backend, also of one in real time. When exactly a request was executed is not
 * known, only that it was between sending and answer; and a record may end as early and as late as the backend's
 * capabilities say. So a history conforms when there are instants and ends within those bounds with which the memory
 * adapter gives the same answers to all of it.
 *
 * They are found greedily: a record is first taken to end as late as it may, and only an answer that shows it gone
 * moves its end to that moment. What was answered before stays explained, since it was before that moment.
 */
import { memory, type MemoryBackend } from "../../../src/adapters/memory.js";
import type { Deployment } from "../../../src/backend.js";
import { skewMicros } from "../../../src/engine/token.js";
import type { ConformanceContext } from "../../../src/testing/conformance.js";
import { text } from "../../../src/testing/conformance/check.js";
import { ask, type Answer, type Asker, type Operation } from "./operation.js";

/** What was asked, by whom, when by the context's clock, and the answer. */
export interface Observed {
  readonly asker: Asker;
  readonly operation: Operation;
  readonly sentMs: number;
  readonly answeredMs: number;
  /** About the wall time at which it was executed, in microseconds. */
  readonly wallMicros: bigint;
  /** Undefined for a restart. */
  readonly answer: Answer | undefined;
}

/** The model with everything that was observed so far. */
export interface MemoryModel {
  /** Takes note of one more; rejects with a {@link Difference} when nothing within the bounds explains it. */
  observe(observed: Observed): Promise<void>;
  /** Between which instants the lock of the key ends, as far as is known; undefined when there is none. */
  endOf(key: string): { readonly minMs: number; readonly maxMs: number } | undefined;
}

/** The backend answered what the memory adapter would not have answered. */
export class Difference extends Error {
  override readonly name: string = "Difference";
}

/** One observation with what is assumed about it. */
interface Explained extends Observed {
  readonly atMs: number;
  readonly wallMicros: bigint;
  /** Added to the TTL, and to the quarantine that it may have begun. */
  readonly ttlSlackMs: number;
  readonly quarantineSlackMs: number;
}

/** Backends count in whole milliseconds. */
const GRAIN_MS = 1;
/** Sums of fractions are not exact: what is over at an instant must not live for a last bit longer. */
const ROUNDING_MS = 1e-6;
const TIMELINE_LENGTH = 12;

/** A model of a backend in this place, and sessions of it as they were opened there. */
export function createMemoryModel(
  context: ConformanceContext,
  deployments: Readonly<Record<Asker, Deployment>>,
): MemoryModel {
  const { earlyByMs, lateByMs, durable } = context.capabilities;
  const late = lateByMs + context.toleranceMs;
  const skew = skewMicros(deployments.first.clockSkewMs);
  let history: readonly Explained[] = [];
  let world = createWorld(deployments, durable);

  /** As late as may be. */
  function explained(observed: Observed, atMs: number, wallMicros: bigint): Explained {
    const slack = observed.answeredMs - atMs + late;
    return { ...observed, atMs, wallMicros, ttlSlackMs: slack, quarantineSlackMs: slack };
  }

  /** The same, but with the lock of the key or the quarantine over at that instant, or as early as it may be. */
  function overAt(
    each: Explained,
    atMs: number,
    over: { readonly lock: string | undefined; readonly quarantine: boolean },
  ): Explained {
    const { operation } = each;
    const least = each.sentMs - each.atMs - earlyByMs - 2 * ROUNDING_MS;
    const less = (slackMs: number, lastsMs: number): number =>
      Math.min(slackMs, Math.max(least, atMs - each.atMs - lastsMs - ROUNDING_MS));
    let { ttlSlackMs, quarantineSlackMs } = each;
    if ("ttlMs" in operation && operation.key === over.lock) ttlSlackMs = less(ttlSlackMs, operation.ttlMs);
    if (over.quarantine) quarantineSlackMs = less(quarantineSlackMs, deployments[each.asker].quarantineMs);
    return { ...each, ttlSlackMs, quarantineSlackMs };
  }

  /** Instants at which it may have been executed and at which something may have changed. */
  function instants({ sentMs, answeredMs }: Observed): readonly number[] {
    const edges = history.flatMap((each) => {
      const ttl = "ttlMs" in each.operation ? [each.operation.ttlMs] : [];
      return [...ttl, deployments[each.asker].quarantineMs].flatMap((ms) => [
        each.sentMs + ms - earlyByMs,
        each.answeredMs + ms + late,
      ]);
    });
    const inside = edges.filter((edge) => edge > sentMs && edge < answeredMs);
    return [...new Set([sentMs, ...inside, answeredMs])];
  }

  /** Wall clocks of the backend with which it may have moved a proposal to that fence. */
  function walls({ operation, answer, wallMicros }: Observed): readonly bigint[] {
    if (operation.op !== "acquire") return [wallMicros];
    if (!(context.clampsProposals ?? true)) return [operation.proposal];
    const fence = answer?.fence;
    if (fence === undefined) return [wallMicros];
    const near = [fence - skew, fence + skew].filter(
      (wall) => (wall > wallMicros ? wall - wallMicros : wallMicros - wall) <= skew / 2n,
    );
    return [wallMicros, ...near];
  }

  async function explainAnew(observed: Observed, first: string): Promise<void> {
    const key = "key" in observed.operation ? observed.operation.key : undefined;
    // What ended before has nothing to do with it, and what was said of it stays.
    const since = {
      lock: history.findLastIndex(
        ({ operation, answer }) =>
          (operation.op === "restart" && operation.memoryIs === "lost") ||
          (operation.op === "inspect" && operation.key === key && answer?.remainingMs === undefined),
      ),
      memory: history.findLastIndex(({ operation }) => ["restart", "quarantine"].includes(operation.op)),
    };
    for (const atMs of instants(observed)) {
      for (const wall of walls(observed)) {
        for (const lock of [undefined, key]) {
          for (const quarantine of [false, true]) {
            const before = history.map((each, index) =>
              overAt(each, atMs, {
                lock: index > since.lock ? lock : undefined,
                quarantine: quarantine && index >= since.memory,
              }),
            );
            const attempt = [...before, explained(observed, atMs, wall)];
            const replayed = createWorld(deployments, durable);
            if ((await firstDifference(replayed, attempt)) !== undefined) continue;
            history = attempt;
            world = replayed;
            return;
          }
        }
      }
    }
    throw new Difference(`${first}\n${timeline(observed)}`);
  }

  /** What was asked of the key before, in milliseconds from the answer that differs. */
  function timeline(observed: Observed): string {
    const key = "key" in observed.operation ? observed.operation.key : undefined;
    const ofKey = history.filter(({ operation }) => !("key" in operation) || operation.key === key);
    return [...ofKey.slice(-TIMELINE_LENGTH), observed]
      .map(({ operation, sentMs, answeredMs, answer }) => {
        const from = (sentMs - observed.sentMs).toFixed(3);
        const left = answer?.remainingMs === undefined ? "" : `, ${answer.remainingMs.toFixed(3)} ms left`;
        const took = (answeredMs - sentMs).toFixed(3);
        return `  at ${from} ms, for ${took} ms: ${text(operation)}: ${answer?.says ?? "done"}${left}`;
      })
      .join("\n");
  }

  async function firstDifference(on: World, entries: readonly Explained[]): Promise<string | undefined> {
    for (const each of entries) {
      const difference = differenceOf(each, await on.play(each));
      if (difference !== undefined) return difference;
    }
    return undefined;
  }

  function differenceOf(each: Explained, model: Answer | undefined): string | undefined {
    const { answer } = each;
    if (answer === undefined || model === undefined) return undefined;
    const differ = (is: string, should: string): string =>
      `the answer to ${each.operation.op} is ${is}, and the memory adapter's ${should}`;
    if (answer.says !== model.says) return differ(answer.says, model.says);
    if (answer.remainingMs === undefined || model.remainingMs === undefined) return undefined;
    const longestMs = Math.max(...history.map(({ sentMs, answeredMs }) => answeredMs - sentMs), 0);
    // The model's lock ends as late as it may. Of a record, a backend tells what is sure to be left: where records end late, it
    // may have to take it for one that was written as much before.
    const lessMs = earlyByMs + lateByMs + late + each.answeredMs - each.sentMs + longestMs + GRAIN_MS;
    const aheadMs = answer.remainingMs - model.remainingMs;
    // Whoever is refused is told when it is sure to be over, which may be as late as records end.
    const moreMs = earlyByMs + GRAIN_MS + (answer.kind === "record" ? 0 : lateByMs);
    if (aheadMs <= moreMs && aheadMs >= -lessMs) return undefined;
    const ms = (figure: number): string => `${answer.says} with ${figure.toFixed(3)} ms left`;
    return differ(ms(answer.remainingMs), ms(model.remainingMs));
  }

  return {
    async observe(observed: Observed): Promise<void> {
      const simplest = explained(observed, observed.sentMs, walls(observed)[0] ?? observed.wallMicros);
      const difference = await firstDifference(world, [simplest]);
      if (difference === undefined) history = [...history, simplest];
      else await explainAnew(observed, difference);
    },
    endOf(key) {
      const last = history.findLast(({ operation }) => operation.op === "inspect" && operation.key === key);
      const remainingMs = last?.answer?.remainingMs;
      if (last === undefined || remainingMs === undefined) return undefined;
      return {
        minMs: last.sentMs + remainingMs - earlyByMs,
        maxMs: last.answeredMs + remainingMs + earlyByMs + late,
      };
    },
  };
}

/** A memory adapter whose clock says what each observation is assumed to have seen. */
interface World {
  play(each: Explained): Promise<Answer | undefined>;
}

function createWorld(deployments: Readonly<Record<Asker, Deployment>>, durable: boolean): World {
  let now: Explained | undefined;
  const clock = { nowMs: () => now?.atMs ?? 0, wallMicros: () => now?.wallMicros ?? 0n };
  const backend: MemoryBackend = memory({ clock, name: "model" });
  const memories: string[] = [];
  return {
    async play(each: Explained): Promise<Answer | undefined> {
      now = each;
      const { operation } = each;
      if (operation.op === "restart") {
        if (!(durable && operation.memoryIs === "kept")) backend.restart(operation.memoryIs);
        return undefined;
      }
      const late =
        "ttlMs" in operation ? { ...operation, ttlMs: operation.ttlMs + each.ttlSlackMs } : operation;
      const deployment = deployments[each.asker];
      const quarantineMs = deployment.quarantineMs + each.quarantineSlackMs;
      return ask(backend.open({ ...deployment, quarantineMs }), late, memories);
    },
  };
}
