import type { RunningRedis } from "../servers/redis-server.ts";
import { granted, row, together, unexpected, type Bench } from "./kit.ts";
import { quorumLock, redlocks, semaphore, universal, warm, type RedlockLike } from "./libraries.ts";

/**
 * "The end" is the TTL after the call of acquire, by the clock of this process: before it no server can have dropped the
 * lock, soon after it every server has, and another client may hold it.
 */
const TTL_MS = 2_000;
/** For how long after the end a signal is waited for. */
const WATCHED_MS = 2_500;
/** By how much a busy machine may delay what is due after the end. */
const LAG_MS = 150;

async function hangable(bench: Bench): Promise<[RunningRedis[], () => Promise<unknown>]> {
  const servers = await bench.servers(3);
  return [servers, () => Promise.all(servers.map((server) => server.freeze()))];
}

/** When the loss was told, in milliseconds after the end (negative: before); undefined when it was not while watched. */
type Told = number | undefined;

/** For libraries that run a routine under the lock: everything hangs as soon as it runs. */
function toldToRoutine(
  using: (routine: (signal: AbortSignal) => Promise<void>) => Promise<unknown>,
  how: { hang: () => Promise<unknown> },
): Promise<Told> {
  const endsAt = performance.now() + TTL_MS;
  return new Promise((resolve, reject) => {
    const run = using(async (signal) => {
      await how.hang();
      resolve(await told(signal, endsAt));
    });
    // How it then fails to release is another row.
    run.then(
      () => undefined,
      (error: unknown) => reject(error instanceof Error ? error : new Error(String(error))),
    );
  });
}

function told(signal: AbortSignal, endsAt: number): Promise<Told> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), endsAt + WATCHED_MS - performance.now());
    const tell = (): void => {
      clearTimeout(timer);
      resolve(performance.now() - endsAt);
    };
    if (signal.aborted) tell();
    else signal.addEventListener("abort", tell);
  });
}

function isWithin(told: Told, fromMs: number, toMs: number): boolean {
  return told !== undefined && told > fromMs && told <= toMs;
}

await row("loss signal while all hang", {
  "quorum-lock": async (bench) => {
    const [servers, hang] = await hangable(bench);
    const locker = quorumLock(bench, await bench.clients(servers), { ttlMs: TTL_MS });
    await warm.quorumLock(locker);
    const seen = await toldToRoutine((routine) => locker.withLock("job", (lease) => routine(lease.signal)), {
      hang,
    });
    return isWithin(seen, -150, 0) ? "before the end" : unexpected("told", seen);
  },
  ...redlocks(async (make, bench) => {
    const [servers, freeze] = await hangable(bench);
    const hang = together(3, freeze);
    const on = async (commandTimeout?: number): Promise<RedlockLike> => {
      const redlock = make(
        await bench.clients(servers, commandTimeout === undefined ? undefined : { commandTimeout }),
      );
      await warm.redlock(redlock);
      return redlock;
    };
    // It starts to extend `automaticExtensionThreshold` (500 ms) before the end, again and again until that has passed.
    const [stock, fitting, other] = [await on(), await on(250), await on(400)];
    const [toldStock, toldFitting, toldOther] = await Promise.all([
      toldToRoutine((routine) => stock.using(["stock"], TTL_MS, routine), { hang }),
      toldToRoutine((routine) => fitting.using(["fitting"], TTL_MS, routine), { hang }),
      toldToRoutine((routine) => other.using(["other"], TTL_MS, routine), { hang }),
    ]);
    return toldStock === undefined &&
      isWithin(toldFitting, -100, 250 + LAG_MS) &&
      isWithin(toldOther, 100, 400 + LAG_MS)
      ? "none; with T, up to T after the end"
      : unexpected("told", { toldStock, toldFitting, toldOther });
  }),
  "redlock-universal": async (bench) => {
    const [servers, freeze] = await hangable(bench);
    const hang = together(2, freeze);
    // As its default of 5 s is to its default TTL of 30 s.
    const fitting = universal(await bench.clients(servers), {
      key: "fitting",
      ttl: TTL_MS,
      timeout: TTL_MS / 6,
    });
    // It starts to extend at 0.8 of the TTL: this one ends 1.6 s later. With the default timeout it would be 5 s.
    const other = universal(await bench.clients(servers), {
      key: "other",
      ttl: TTL_MS,
      timeout: 0.8 * TTL_MS,
    });
    await warm.universal(fitting);
    await warm.universal(other);
    const [toldFitting, toldOther] = await Promise.all([
      toldToRoutine((routine) => fitting.using(routine), { hang }),
      toldToRoutine((routine) => other.using(routine), { hang }),
    ]);
    return isWithin(toldFitting, -300, 0) && isWithin(toldOther, 0.6 * TTL_MS - 50, 0.6 * TTL_MS + 300)
      ? "before the end if its `timeout` < 0.2 TTL, else after it"
      : unexpected("told", { toldFitting, toldOther });
  },
  "redis-semaphore": async (bench) => {
    const [servers, freeze] = await hangable(bench);
    const hang = together(3, freeze);
    const toldWith = async (key: string, commandTimeout?: number): Promise<Told> => {
      const clients = await bench.clients(
        servers,
        commandTimeout === undefined ? undefined : { commandTimeout },
      );
      const controller = new AbortController();
      const mutex = semaphore(clients, key, { lockTimeout: TTL_MS, onLockLost: () => controller.abort() });
      await warm.semaphore(mutex);
      const endsAt = performance.now() + TTL_MS;
      await granted(mutex.acquire());
      await hang();
      const seen = await told(controller.signal, endsAt);
      mutex.stopRefresh();
      return seen;
    };
    // It refreshes at 0.8 of the TTL, and releases what it could not refresh before it tells: two timeouts.
    const [toldStock, toldQuick, toldSlow] = await Promise.all([
      toldWith("stock"),
      toldWith("quick", 150),
      toldWith("slow", 250),
    ]);
    return toldStock === undefined && isWithin(toldQuick, -250, 0) && isWithin(toldSlow, 0, 300)
      ? "none; with T, before the end if T < 0.1 TTL, else after it"
      : unexpected("told", { toldStock, toldQuick, toldSlow });
  },
});
