/**
 * One client process: contends for locks with the built library, does guarded writes while it holds, also carelessly, and
 * writes down what happened. It obeys lines on a socket and ends when that closes.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import type * as PostgresGuard from "../../src/guard/postgres.js";
import type * as RedisGuard from "../../src/guard/redis.js";
import type * as QuorumLock from "../../src/index.js";
import type { Lease, LockerOptions } from "../../src/index.js";
import type { System } from "../../src/engine/time.js";
import type * as ProcessSystem from "../../src/lock/system.js";
import { seededRandom } from "../../src/testing/random.js";
import type { ClientOrders, ClientTask } from "./client-task.ts";
import type { Line } from "./history.js";
import { kindOf } from "./kinds.ts";
import { library } from "./library.ts";

const WORKERS = 3;
const HEARTBEAT_MS = 10;
const STALL_MS_MIN = 10;
const LOOK_MS_MAX = 0.5;
const LOOKS_MAX = 20;
const WAIT_MS = 5_000;

const task = JSON.parse(process.argv[2] ?? "{}") as ClientTask;
const trueWall = Date.now;
let wallOffsetMs = 0;
Date.now = () => trueWall() + wallOffsetMs;

const file = openSync(task.history, "a");
const random = seededRandom(task.seed);
let leases = 0;
let stopping = false;

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function note(line: Line): void {
  writeSync(file, `${JSON.stringify(line)}\n`);
}

function between(min: number, max: number): number {
  return min + random() * (max - min);
}

const orders = connect(task.control, "127.0.0.1");
orders.on("error", () => process.exit(1));
orders.on("close", () => process.exit(0));
let rest = "";
orders.on("data", (bytes) => {
  const lines = (rest + bytes.toString()).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) obey(JSON.parse(line) as ClientOrders);
});

function obey(order: ClientOrders): void {
  if ("wallOffsetMs" in order) wallOffsetMs = order.wallOffsetMs;
  else stopping = true;
}

const { createLocker } = await library<typeof QuorumLock>("index.js");
const { guardPostgres } = await library<typeof PostgresGuard>("guard/postgres.js");
const { guardScript } = await library<typeof RedisGuard>("guard/redis.js");
const append = guardScript("return redis.call('RPUSH', KEYS[1], ARGV[1])");

// A planted fault: everybody asks one backend of the set, and not the same one.
const links =
  task.plant === "minority"
    ? [task.links[task.index % task.links.length] as (typeof task.links)[0]]
    : task.links;
const connected = await Promise.all(
  links.map(({ kind, port, name }) => kindOf(kind).connect({ port, name })),
);
const options: LockerOptions = {
  ...task.locker,
  backends: connected.map(({ backend }) => backend),
  ...(task.plant === "minority" ? { quorum: 1 } : {}),
  ...(task.plant === "restart-guard-off" ? { restartGuard: "off" as const } : {}),
  ...(task.plant === "late-signal" ? { system: await sluggish() } : {}),
};
const locker = createLocker(options);
const guardClient = new Redis({ host: "127.0.0.1", port: task.resources.redisPort, maxRetriesPerRequest: 1 });
guardClient.on("error", () => undefined);

/** A planted fault: watches of leases fire late. */
async function sluggish(): Promise<System> {
  const { processSystem } = await library<typeof ProcessSystem>("lock/system.js");
  return {
    ...processSystem,
    startTimer: (purpose, delayMs, run) =>
      processSystem.startTimer(purpose, purpose === "watch" ? delayMs + 300 : delayMs, run),
  };
}

/** Leases in use, by key and token: events of the locker know no other name. */
const inUse = new Map<string, { readonly name: string; readonly lease: Lease }>();
locker.on("extended", ({ key, token }) => {
  const extended = inUse.get(`${key} ${token}`);
  if (extended === undefined) return;
  note({ kind: "extended", lease: extended.name, ...validityOf(extended.lease) });
});

/** The process may be off the processor between two looks at a clock; then it looks again. Never later than the true end. */
function validityOf(lease: Lease): { readonly atMs: number; readonly validUntilMs: number } {
  for (let tries = 1; ; tries++) {
    const atMs = nowMs();
    const validUntilMs = atMs + lease.remainingMs;
    if (nowMs() - atMs < LOOK_MS_MAX || tries === LOOKS_MAX) return { atMs, validUntilMs };
  }
}

let beat = nowMs();
setInterval(() => {
  const atMs = nowMs();
  if (atMs - beat > HEARTBEAT_MS + STALL_MS_MIN) note({ kind: "stall", fromMs: beat, atMs });
  beat = atMs;
}, HEARTBEAT_MS).unref();

orders.write("ready\n");
await Promise.all(Array.from({ length: WORKERS }, work));
await Promise.race([locker.close(), sleep(2_000)]);
for (const each of connected) each.close();
guardClient.disconnect();
closeSync(file);
orders.write("done\n");
orders.end();

async function work(): Promise<void> {
  const database = openDatabase();
  while (!stopping) {
    await hold(database);
    await sleep(between(0, task.idleMs));
  }
  await database.end();
}

async function hold(database: Database): Promise<void> {
  const key = task.keys[Math.floor(random() * task.keys.length)] ?? "";
  const name = `${task.name}/${++leases}`;
  const ttlMs = Math.round(between(task.ttlMs.min, task.ttlMs.max));
  const keepAlive = random() < 0.5;
  note({ kind: "attempt", atMs: nowMs(), lease: name, key });
  let lease: Lease;
  try {
    lease = await locker.acquire(key, { ttlMs, waitMs: WAIT_MS, keepAlive });
  } catch (error) {
    note({ kind: "refused", atMs: nowMs(), lease: name, code: codeOf(error) });
    return;
  }
  note({ kind: "acquired", lease: name, token: `${lease.token}`, ...validityOf(lease) });
  inUse.set(`${key} ${lease.token}`, { name, lease });
  const lost = new Promise<void>((resolve) => {
    const told = (): void => {
      note({ kind: "signal", atMs: nowMs(), lease: name, reason: reasonOf(lease.signal.reason) });
      resolve();
    };
    if (lease.signal.aborted) told();
    else lease.signal.addEventListener("abort", told, { once: true });
  });
  const careless = random();
  for (let writes = 1 + Math.floor(random() * 3); writes > 0; writes--) {
    // Without a look at the lease: that is what guards are for.
    await write(database, { lease, name });
    await sleep(between(0, task.holdMs));
  }
  if (careless < 0.08 && !keepAlive) {
    await Promise.race([lost, sleep(ttlMs)]);
    await sleep(between(0, 300));
    await write(database, { lease, name });
    inUse.delete(`${key} ${lease.token}`);
    return;
  }
  note({ kind: "releasing", atMs: nowMs(), lease: name });
  inUse.delete(`${key} ${lease.token}`);
  await lease.release();
}

async function write(
  database: Database,
  of: { readonly lease: Lease; readonly name: string },
): Promise<void> {
  await Promise.all([
    noted("postgres", of, () => database.write(of.lease)),
    noted("redis", of, async () => {
      const key = `${of.lease.key}:log`;
      if (task.plant === "deaf-guard") await guardClient.rpush(key, `${of.lease.token}`);
      else await append.run(guardClient, of.lease, { keys: [key], args: [`${of.lease.token}`] });
    }),
  ]);
}

async function noted(
  resource: string,
  of: { readonly name: string },
  run: () => Promise<void>,
): Promise<void> {
  const atMs = nowMs();
  const at = (): { atMs: number; answeredMs: number } => ({ atMs, answeredMs: nowMs() });
  try {
    await run();
    note({ kind: "write", ...at(), lease: of.name, resource, outcome: "accepted" });
  } catch (error) {
    const why = codeOf(error);
    const outcome = why === "STALE_TOKEN" ? "stale" : "failed";
    note({ kind: "write", ...at(), lease: of.name, resource, outcome, why });
  }
}

interface Database {
  write(lease: Lease): Promise<void>;
  end(): Promise<void>;
}

/** One connection, made anew after every failure: the server ends that of a client that was stopped in a transaction. */
function openDatabase(): Database {
  let client: pg.Client | undefined;
  async function connection(): Promise<pg.Client> {
    if (client !== undefined) return client;
    const fresh = new pg.Client({ connectionString: task.resources.postgresUrl });
    fresh.on("error", () => {
      if (client === fresh) client = undefined;
    });
    await fresh.connect();
    await fresh.query(
      "SET statement_timeout = 3000; SET lock_timeout = 2000; SET idle_in_transaction_session_timeout = 1000",
    );
    client = fresh;
    return fresh;
  }
  return {
    async write(lease) {
      const on = await connection();
      try {
        await on.query("BEGIN");
        if (task.plant !== "deaf-guard") await guardPostgres(on, lease);
        await on.query("INSERT INTO writes (key, token) VALUES ($1, $2)", [lease.key, `${lease.token}`]);
        await on.query("COMMIT");
      } catch (error) {
        client = undefined;
        await on.end().catch(() => undefined);
        throw error;
      }
    },
    async end() {
      await client?.end().catch(() => undefined);
    },
  };
}

function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : String(error);
}

function reasonOf(error: unknown): string {
  return typeof error === "object" && error !== null && "reason" in error ? String(error.reason) : "unknown";
}
