/** Moving keys from one quorum to another while everybody works: who excludes whom, and that tokens go on rising. */
import { describe, expect, it } from "vitest";
import { InvalidOptionError, NoQuorumError, withBothLocks, type Locker } from "../../src/index.js";
import {
  createStage,
  failOnUnhandledRejections,
  startedClient,
  type Client,
  type Stage,
} from "../lock/stage.js";

failOnUnhandledRejections();

const OLD = [0, 1, 2] as const;
const NEW = [3, 4, 5] as const;
const KEY = "invoice:42";
/** The default `clockSkewMs`: how far apart any two of these clocks may be. */
const SKEW_MS = 1_000;

/** A process with a locker on each quorum. */
interface Mover {
  readonly from: Client;
  readonly to: Client;
}

/** Its second lock comes with a larger number, as after a wait between the two. */
async function mover(stage: Stage, wallOffsetMs = 0): Promise<Mover> {
  const clock = { wallOffsetMs };
  const later = { wallOffsetMs: wallOffsetMs + 100 };
  return {
    from: await startedClient(stage, { of: OLD, clock, waitMs: 60_000 }),
    to: await startedClient(stage, { of: NEW, clock: later, waitMs: 60_000 }),
  };
}

const both = ({ from, to }: Mover): { readonly from: Locker; readonly to: Locker } => ({
  from: from.locker,
  to: to.locker,
});

/** A locker to which something happens just before its counter is lifted. */
function liftingBehind(locker: Locker, happens: () => Promise<void>): Locker {
  const behind: Pick<Locker, "withLock" | "lift"> = {
    withLock: locker.withLock.bind(locker),
    async lift(key: string, token: bigint) {
      await happens();
      return locker.lift(key, token);
    },
  };
  return behind as Locker;
}

describe("a key under both locks", () => {
  it("is held on both quorums while the job runs, and on neither afterwards", async () => {
    const stage = createStage({ n: 6 });
    const process = await mover(stage);
    const holders = await stage.wait(
      withBothLocks(both(process), KEY, async ({ key }) => {
        expect(key).toBe(KEY);
        return stage.owners(KEY);
      }),
    );
    expect(holders.filter((owner) => owner !== undefined)).toHaveLength(6);
    expect(new Set(holders).size).toBe(2);
    await stage.time.advance(100);
    expect(await stage.owners(KEY)).toEqual(new Array(6).fill(undefined));
  });

  it("is locked once where it does not move", async () => {
    const stage = createStage({ n: 6 });
    const { from } = await mover(stage);
    const result = await stage.wait(
      withBothLocks({ from: from.locker, to: from.locker }, KEY, async (lease) => {
        expect((await stage.owners(KEY)).filter((owner) => owner !== undefined)).toHaveLength(3);
        return lease.token;
      }),
    );
    expect(result).toBe(from.events("acquired")[0]?.token);
    expect(from.events("lifted")).toEqual([]);
  });

  it("has a token above all of before, and every later one of either quorum is above it, whatever clocks say", async () => {
    const stage = createStage({ n: 6 });
    const fast = await mover(stage, 500);
    const slow = await mover(stage, -500);
    const tokens: bigint[] = [];
    const take = (locker: Locker): Promise<void> =>
      stage.wait(locker.withLock(KEY, ({ token }) => void tokens.push(token)));
    await take(slow.from.locker);
    await stage.wait(withBothLocks(both(fast), KEY, ({ token }) => void tokens.push(token)));
    await take(slow.from.locker);
    await stage.wait(withBothLocks(both(slow), KEY, ({ token }) => void tokens.push(token)));
    await take(slow.to.locker);
    expect(tokens).toHaveLength(5);
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(tokens).size).toBe(5);
  });

  it("is over when either lease is over", async () => {
    for (const side of ["from", "to"] as const) {
      const stage = createStage({ n: 6 });
      const process = await mover(stage);
      const operator = await mover(stage);
      const error = await stage.error(
        withBothLocks({ ...both(process), options: { ttlMs: 1_000 } }, KEY, async (lease) => {
          expect(lease.signal.aborted).toBe(false);
          expect(lease.remainingMs).toBeGreaterThan(500);
          await operator[side].locker.forceRelease(KEY);
          await stage.time.sleep(1_500);
          // The other lease is still held.
          expect(lease.remainingMs).toBe(0);
          expect(() => lease.assertHeld()).toThrow(expect.objectContaining({ code: "LEASE_LOST" }));
          expect(lease.signal.aborted).toBe(true);
        }),
      );
      expect(error).toMatchObject({ code: "LEASE_LOST", reason: "forced-out" });
    }
  });

  it("does not begin when a quorum cannot be told of the token", async () => {
    const stage = createStage({ n: 6 });
    const { from: old, to } = await mover(stage);
    let ran = false;
    const from = liftingBehind(old.locker, async () => {
      for (const link of old.links.slice(0, 2)) link.hang();
    });
    const error = await stage.error(
      withBothLocks({ from, to: to.locker }, KEY, () => {
        ran = true;
      }),
    );
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(ran).toBe(false);
  });

  it("does not begin when a lease was lost before its quorum was told, since a newer one may have the smaller token", async () => {
    const stage = createStage({ n: 6 });
    const { from: old, to } = await mover(stage);
    const operator = await mover(stage);
    let ran = false;
    const from = liftingBehind(old.locker, async () => {
      await operator.from.locker.forceRelease(KEY);
      await stage.time.sleep(1_500);
    });
    const error = await stage.error(
      withBothLocks({ from, to: to.locker }, KEY, () => {
        ran = true;
      }),
    );
    expect(error).toMatchObject({ code: "LEASE_LOST" });
    expect(ran).toBe(false);
  });

  it("gives the job's result, or its error", async () => {
    const stage = createStage({ n: 6 });
    const process = await mover(stage);
    expect(await stage.wait(withBothLocks(both(process), KEY, () => 7))).toBe(7);
    await expect(
      stage.wait(
        withBothLocks(both(process), KEY, () => {
          throw new RangeError("the job's own");
        }),
      ),
    ).rejects.toThrow("the job's own");
  });

  it("is refused with something that is no locker, or no job", () => {
    const stage = createStage({ n: 6 });
    const { locker } = stage.client({ of: OLD });
    for (const wrong of [
      { from: undefined, to: locker },
      { from: locker, to: {} },
    ]) {
      expect(() => withBothLocks(wrong as never, KEY, () => 0)).toThrow(InvalidOptionError);
    }
    expect(() => withBothLocks({ from: locker, to: locker }, KEY, undefined as never)).toThrow(
      InvalidOptionError,
    );
  });
});

describe("a move without a stop", () => {
  /** What a worker does once. */
  type Turn = (process: Mover, job: (token: bigint) => Promise<void>) => Promise<void>;
  const OLD_ONLY: Turn = ({ from }, job) => from.locker.withLock(KEY, ({ token }) => job(token));
  const BOTH: Turn = (process, job) => withBothLocks(both(process), KEY, ({ token }) => job(token));
  const NEW_ONLY: Turn = ({ to }, job) => to.locker.withLock(KEY, ({ token }) => job(token));

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "has one holder at a time, with rising tokens, from the old list over both to the new one (seed %i)",
    async (seed) => {
      const stage = createStage({ n: 6, seed });
      const processes: Mover[] = [];
      for (const offsetMs of [-500, -300, 0, 400, 500]) processes.push(await mover(stage, offsetMs));
      for (const link of processes.flatMap(({ from, to }) => [...from.links, ...to.links])) {
        link.setDelay({ toMs: [1, 8], backMs: [1, 8] });
        link.loseReplies(0.01);
      }
      let holders = 0;
      let kinds = new Set<Turn>();
      const tokens: bigint[] = [];
      const overlaps: string[] = [];
      const work = async (process: Mover, turns: readonly Turn[], perTurn: number): Promise<void> => {
        for (const turn of turns) {
          for (let i = 0; i < perTurn; i++) {
            const job = async (token: bigint): Promise<void> => {
              kinds.add(turn);
              if (++holders > 1) overlaps.push(`two holders at ${stage.time.trueMs()} ms`);
              tokens.push(token);
              await stage.time.sleep(5 + 20 * stage.time.random());
              holders--;
            };
            // A counter could not be told of the token, since answers got lost: the job has not begun.
            for (;;) {
              const error: unknown = await turn(process, job).catch((reason: unknown) => reason);
              if (!(error instanceof NoQuorumError)) {
                expect(error).toBe(undefined);
                break;
              }
            }
            await stage.time.sleep(10 * stage.time.random());
          }
        }
      };
      const phase = async (all: readonly (readonly Turn[])[]): Promise<void> => {
        await stage.wait(Promise.all(processes.map((process, i) => work(process, all[i] ?? [], 6))));
      };
      // The old list goes process by process; whoever has both works beside it.
      await phase([[OLD_ONLY, BOTH], [BOTH], [OLD_ONLY, OLD_ONLY, BOTH], [BOTH, BOTH], [OLD_ONLY]]);
      expect(kinds).toEqual(new Set([OLD_ONLY, BOTH]));
      kinds = new Set();
      // The last one with the old list alone may have come after the last one with both: only clocks order those two.
      await stage.time.advance(2 * SKEW_MS);
      await phase([[BOTH, NEW_ONLY], [NEW_ONLY], [BOTH, BOTH, NEW_ONLY], [NEW_ONLY, NEW_ONLY], [BOTH]]);
      expect(kinds).toEqual(new Set([BOTH, NEW_ONLY]));
      expect(overlaps).toEqual([]);
      expect(tokens.length).toBe(6 * (9 + 9));
      for (const [i, token] of tokens.entries()) {
        if (i > 0) expect(token).toBeGreaterThan(tokens[i - 1] ?? 0n);
      }
    },
  );

  it("has two holders when the step between is left out, which is why there is one", async () => {
    const stage = createStage({ n: 6 });
    const [one, other] = [await mover(stage), await mover(stage)];
    const older = await stage.wait(one.from.locker.acquire(KEY));
    const newer = await stage.wait(other.to.locker.acquire(KEY));
    expect(Math.min(older.remainingMs, newer.remainingMs)).toBeGreaterThan(0);
  });
});
