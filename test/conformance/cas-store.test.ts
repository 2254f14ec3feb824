/** The session over a store with compare and swap, on a store in memory: the whole list, and writes that lose races. */
import { describe, expect, it } from "vitest";
import type { MemoryClock } from "../../src/adapters/memory.js";
import { openCasSession } from "../../src/adapters/shared/cas-session.js";
import type { CasStore, Look, MarkLook } from "../../src/adapters/shared/cas-store.js";
import {
  formatLine,
  formatRecord,
  keyOfRecord,
  parseLine,
  parseRecord,
} from "../../src/adapters/shared/record-text.js";
import { isForgotten } from "../../src/engine/record.js";
import { seededRandom } from "../../src/testing/random.js";
import { describeConformance } from "./run-conformance.js";
import { DEPLOYMENT, virtualSetup, type Restartable } from "./virtual-context.js";

interface Row {
  readonly text: string;
  readonly version: number;
}

/** How coarse its clock shows itself, and how often somebody else writes in between. */
interface Nature {
  readonly grainMs: number;
  readonly conflicts: number;
  /** Whether it tells what changes. */
  readonly watches?: boolean;
  /** What stands in the place of the mark at first. */
  readonly mark?: string;
}

/** Keeps text; has a clock; every look and every write takes a turn of its own. */
function casBackend(clock: MemoryClock, incarnation: () => string, nature: Nature): Restartable {
  const { grainMs, conflicts, watches = false } = nature;
  const watchers = new Set<{ readonly key: string; readonly tell: () => void }>();
  const random = seededRandom(5);
  let rows = new Map<string, Row>();
  let mark: Row | undefined = nature.mark === undefined ? undefined : { text: nature.mark, version: 0 };
  let origin = incarnation();
  let versions = 0;

  const reading = (): Look<number>["now"] => {
    const atLeastMs = grainMs === 0 ? clock.nowMs() : Math.floor(clock.nowMs() / grainMs) * grainMs;
    return { atLeastMs, atMostMs: atLeastMs + grainMs };
  };

  function lookAtMark(): MarkLook<number> {
    const wallMs = Number(clock.wallMicros()) / 1000;
    return {
      now: reading(),
      wall: { atLeastMs: wallMs, atMostMs: wallMs },
      mark: mark === undefined ? undefined : { value: mark.text, version: mark.version },
      origin,
      serverId: "",
    };
  }

  const store: CasStore<number> = {
    async look(key) {
      await Promise.resolve();
      const row = rows.get(key);
      const kept =
        row === undefined
          ? undefined
          : { value: parseRecord(row.text, { backend: "cas", key }), version: row.version };
      return { ...lookAtMark(), key: kept };
    },
    async put(key, next, { look, onMark }) {
      await Promise.resolve();
      if (random() < conflicts) return "conflict";
      if (onMark && look.mark?.version !== mark?.version) return "conflict";
      if (rows.get(key)?.version !== look.key?.version) return "conflict";
      rows.set(key, { text: formatRecord(key, next), version: ++versions });
      for (const watcher of watchers) if (watcher.key === key) void Promise.resolve().then(watcher.tell);
      return "written";
    },
    async lookAtMark() {
      await Promise.resolve();
      return lookAtMark();
    },
    async putMark(text, seen) {
      await Promise.resolve();
      if (random() < conflicts || mark?.version !== seen) return "conflict";
      mark = { text, version: ++versions };
      return "written";
    },
    async list({ prefix, cursor, pageSize }) {
      const now = reading();
      const live = [...rows.values()]
        .map(({ text }) => ({ text, key: keyOfRecord(text) ?? "" }))
        .filter(({ key, text }) => {
          const { lock } = parseRecord(text, { backend: "cas", key });
          return key.startsWith(prefix) && lock !== undefined && lock.expiresAt > now.atLeastMs;
        })
        .map(({ key }) => key)
        .filter((key) => cursor === undefined || key > cursor)
        .sort();
      const keys = live.slice(0, pageSize);
      return { keys, next: keys.length < live.length ? keys.at(-1) : undefined };
    },
    async examine() {
      return { server: "cas", wallMs: undefined, findings: [] };
    },
    async forget(now) {
      for (const [key, { text }] of rows) {
        if (isForgotten(parseRecord(text, { backend: "cas", key }), now)) rows.delete(key);
      }
    },
    ...(watches
      ? {
          watch(key, changed): () => void {
            const tell = (): void => {
              const { line, lock } = parseRecord(rows.get(key)?.text ?? "", { backend: "cas", key });
              changed({ line, isFree: lock === undefined });
            };
            const watcher = { key, tell };
            watchers.add(watcher);
            void Promise.resolve().then(tell);
            return () => watchers.delete(watcher);
          },
        }
      : {}),
    async close() {
      // Nothing was opened.
    },
  };

  return {
    kind: "cas",
    name: "cas",
    capabilities: {
      earlyByMs: 0,
      // Counted from the latest that it may be, and over when it is at least that late; stored in whole milliseconds.
      lateByMs: grainMs * 2 + 1,
      expiryClock: "wall",
      durable: false,
      lists: true,
      wakes: watches,
      atomicStep: "compare and swap",
      acquireRoundTrips: 2,
    },
    client: {},
    open: (deployment) =>
      openCasSession(store, { name: "cas", durable: false, deployment, markPlace: "the mark" }),
    restart(memoryIs) {
      origin = incarnation();
      if (memoryIs === "kept") return;
      rows = new Map();
      mark = undefined;
    },
  };
}

describeConformance("a store with compare and swap", () =>
  virtualSetup((clock, incarnation) => casBackend(clock, incarnation, { grainMs: 0, conflicts: 0 })),
);
describeConformance("one that tells what changes, and whose every fourth write loses a race", () =>
  virtualSetup((clock, incarnation) =>
    casBackend(clock, incarnation, { grainMs: 0, conflicts: 0.25, watches: true }),
  ),
);
describeConformance("one whose clock shows whole seconds, and whose every other write loses a race", () =>
  virtualSetup(
    (clock, incarnation) => casBackend(clock, incarnation, { grainMs: 1_000, conflicts: 0.5 }),
    // Waits of several seconds must not move proposals that were made before.
    { ...DEPLOYMENT, clockSkewMs: 60_000 },
  ),
);

describe("a store with compare and swap", () => {
  it("gives up, having changed nothing, when every write loses its race", async () => {
    const { context, time } = virtualSetup((clock, incarnation) =>
      casBackend(clock, incarnation, { grainMs: 0, conflicts: 1 }),
    );
    const session = await context.open();
    await expect(time.until(session.status(), { limitMs: 1_000 })).rejects.toMatchObject({
      code: "BACKEND_BUSY",
      effect: "none",
    });
  });

  it("tells no more than is left of a lock, however coarse its clock", async () => {
    const { context, time } = virtualSetup((clock, incarnation) =>
      casBackend(clock, incarnation, { grainMs: 1_000, conflicts: 0 }),
    );
    const session = await context.open({ restartGuard: "off" });
    const told: { readonly at: number; readonly remainingMs: number }[] = [];
    const watch = async (): Promise<void> => {
      const lock = { key: "k", owner: "0a", ttlMs: 3_300 };
      await session.acquire({ ...lock, proposal: context.proposal() });
      for (;;) {
        await context.waitMs(70);
        const at = context.nowMs();
        const { lock } = await session.inspect("k");
        if (lock === undefined) break;
        told.push({ at, remainingMs: lock.remainingMs });
      }
    };
    await time.until(watch(), { limitMs: 20_000 });
    const lastSeenAt = told.at(-1)?.at ?? 0;
    expect(told.length).toBeGreaterThan(40);
    // It was gone at most one look after it was seen last.
    expect(told.filter(({ at, remainingMs }) => at + remainingMs > lastSeenAt + 70 + 1)).toEqual([]);
    expect(told.every(({ remainingMs }) => remainingMs >= 0)).toBe(true);
  });

  it("refuses a mark of another format, and leaves it alone", async () => {
    const { context, time } = virtualSetup((clock, incarnation) =>
      casBackend(clock, incarnation, { grainMs: 0, conflicts: 0, mark: "somebody else's" }),
    );
    const session = await context.open();
    const refused = { code: "BACKEND_MARK_MISMATCH", message: expect.stringContaining("somebody else's") };
    for (let tries = 0; tries < 2; tries++) {
      await expect(time.until(session.status(), { limitMs: 1_000 })).rejects.toMatchObject(refused);
    }
  });
});

describe("the text of a record", () => {
  it("comes back as it was, with and without a lock", () => {
    const where = { backend: "b", key: 'odd "key"\n' };
    const lock = { owner: "0f", fence: 9_007_199_254_740_990n, expiresAt: 12 };
    for (const kept of [
      { lock, counter: 9_007_199_254_740_990n, forgetAt: 99 },
      { lock: undefined, counter: 0n, forgetAt: 7 },
    ]) {
      expect(parseRecord(formatRecord(where.key, kept), where)).toEqual(kept);
    }
  });

  it("is refused when it is none, or of another key", () => {
    const other = formatRecord("other", { lock: undefined, counter: 1n, forgetAt: 1 });
    for (const text of [
      "",
      "{}",
      "null",
      other,
      '{"ql":1,"key":"k","counter":"x","forgetAt":1}',
      "x".repeat(99),
    ]) {
      expect(() => parseRecord(text, { backend: "b", key: "k" })).toThrow(
        expect.objectContaining({ code: "BACKEND_WRONG_TYPE" }),
      );
    }
  });

  it("has its line with it, and what is no ticket is passed over", () => {
    const line = {
      waiting: [{ id: "s|1", since: 2n ** 60n, until: 8 }],
      reserved: { id: "s|2", until: 9 },
    };
    const record = { lock: undefined, counter: 5n, forgetAt: 7, line };
    const text = formatRecord("k", record);
    expect(parseRecord(text, { backend: "b", key: "k" })).toEqual(record);
    expect(parseLine(formatLine(line))).toEqual(line);
    const fields = JSON.parse(text) as object;
    const broken = { ...fields, line: [1, null, ["a"], ["a", "-1", 2], ["a", "1", "2"]], reserved: ["x"] };
    expect(parseRecord(JSON.stringify(broken), { backend: "b", key: "k" })).toEqual({
      lock: undefined,
      counter: 5n,
      forgetAt: 7,
    });
    const long = { ...fields, line: Array.from({ length: 99 }, (_, i) => [`${i}`, "1", 8]) };
    const parsed = parseRecord(JSON.stringify(long), { backend: "b", key: "k" });
    expect(parsed.line?.waiting).toHaveLength(64);
    for (const none of ["", "{}", '{"line":5}', "null"]) expect(parseLine(none)).toBeUndefined();
  });
});
