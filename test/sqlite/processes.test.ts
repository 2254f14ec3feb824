/** Several processes of one host on one file: exclusion, tokens, and nobody who waits for ever or stands still. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import { sqlite } from "../../src/adapters/sqlite.js";
import { LockHeldError } from "../../src/errors.js";
import { acquire, ALICE, BOB, checkFault, figure, grant, putInService, timed } from "../redis/kit.ts";
import { test } from "./kit.ts";

const PROCESSES = 4;
const FOR_MS = 3_000;
/** What a write waits for others at most, before it gives up. */
const BUSY_MS = 2_000;

interface Seen {
  readonly tokens: readonly string[];
  readonly held: number;
  readonly faults: readonly string[];
  readonly overlaps: number;
  readonly longestMs: number;
}

async function hammer(path: string, synchronous: string): Promise<Seen> {
  const program = fileURLToPath(new URL("hammer-process.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [program, path, String(FOR_MS), synchronous],
    {
      timeout: 30_000,
    },
  );
  return JSON.parse(stdout) as Seen;
}

for (const synchronous of ["normal", "full"] as const) {
  test(`four processes hammer one lock (synchronous ${synchronous}): one holder at a time, tokens unique and increasing, none starves`, async ({
    path,
    ready,
  }) => {
    const session = await ready(path, {
      synchronous,
      deployment: { backends: 1, quorum: 1, maxTtlMs: 60_000, restartGuard: "off" },
    });
    const all = await Promise.all(Array.from({ length: PROCESSES }, () => hammer(path, synchronous)));
    const tokens = all.flatMap((each) => each.tokens.map(BigInt));
    expect(all.map(({ overlaps }) => overlaps)).toEqual(all.map(() => 0));
    expect(new Set(tokens).size).toBe(tokens.length);
    for (const each of all) {
      const own = each.tokens.map(BigInt);
      expect(own.every((token, i) => i === 0 || token > (own[i - 1] ?? 0n))).toBe(true);
      // Who starves is granted nothing, or gives up.
      expect(own.length, `of ${tokens.length} grants`).toBeGreaterThan(0);
      expect(each.faults).toEqual([]);
      expect(each.longestMs).toBeLessThan(BUSY_MS);
    }
    const least = Math.min(...all.map((each) => each.tokens.length));
    const longest = Math.max(...all.map(({ longestMs }) => longestMs));
    figure(
      `SQLite, ${PROCESSES} processes, synchronous ${synchronous}`,
      `${tokens.length} grants, the fewest of a process ${least}, the longest operation ${longest.toFixed(0)} ms`,
    );
    expect((await session.inspect("k")).counter).toBe(tokens.reduce((a, b) => (a > b ? a : b)));
  });
}

test("another process in a long write: the event loop goes on, and the grant comes when it is over", async ({
  path,
  database,
  ready,
}) => {
  const session = await ready(path);
  const other = database(path);
  other.exec("BEGIN IMMEDIATE");
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 10);
  const waiting = timed(acquire(session, "k"));
  await new Promise((resolve) => setTimeout(resolve, 600));
  const before = ticks;
  other.exec("COMMIT");
  const { value } = await waiting;
  clearInterval(ticking);
  expect(value?.kind).toBe("granted");
  // Of sixty; a busy machine runs some of them late.
  expect(before).toBeGreaterThan(20);
});

test("a write that never ends: busy, in bounded time, surely without an effect; reads and refusals go on", async ({
  path,
  database,
  ready,
}) => {
  const session = await ready(path);
  await grant(session, "held", { ttlMs: 60_000 });
  const other = database(path);
  other.exec("BEGIN IMMEDIATE");
  const [writing, refused] = [
    timed(acquire(session, "k")),
    await timed(acquire(session, "held", { owner: BOB })),
  ];
  expect(refused.value?.kind).toBe("held");
  expect(refused.ms).toBeLessThan(500);
  const { error, ms } = await writing;
  expect(checkFault(error, "BACKEND_BUSY", /other processes keep its file locked/).effect).toBe("none");
  expect(ms).toBeLessThan(BUSY_MS + 500);
  other.exec("ROLLBACK");
  expect((await session.inspect("k")).lock).toBeUndefined();
  await grant(session, "k");
});

test("a locker over one file: acquires, extends, hands over between lockers, beside other work on the same database", async ({
  path,
  database,
  locker,
}) => {
  const client = database(path);
  client.exec("CREATE TABLE work (n INTEGER)");
  const [one, other] = [1, 2].map(() => locker({ backends: [sqlite(client)] }));
  if (one === undefined || other === undefined) throw new Error("no locker");
  const first = await one.acquire("report");
  await first.extend();
  client.prepare("INSERT INTO work VALUES (?)").run(1);
  await expect(other.acquire("report", { waitMs: 0 })).rejects.toBeInstanceOf(LockHeldError);
  const waiting = other.acquire("report", { waitMs: 5_000 });
  expect(await first.release()).toBe("released");
  const second = await waiting;
  expect(second.token).toBeGreaterThan(first.token);
  expect(await second.release()).toBe("released");
  expect(client.prepare("SELECT n FROM work").all()).toEqual([{ n: 1 }]);
  expect(client.open).toBe(true);
});

test("settings of the caller's connection and file are left alone", async ({ path, database, session }) => {
  const client = database(path);
  client.exec("PRAGMA journal_mode = DELETE; PRAGMA busy_timeout = 77; CREATE TABLE work (n INTEGER)");
  const opened = session(sqlite(client));
  await putInService(opened);
  await grant(opened, "k");
  expect(client.prepare("PRAGMA busy_timeout").all()).toEqual([{ timeout: 77 }]);
  // The two bytes of the file's head that say 2 once it is in WAL mode.
  expect([...readFileSync(path).subarray(18, 20)]).toEqual([1, 1]);
  expect(await opened.release("k", ALICE)).toBe("released");
});
