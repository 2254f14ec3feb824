/**
 * What the comparison with other libraries shares. Every file of this folder is one row of the table "Beside others" in
 * the README: one test per library, on real servers of its own, that tells what it saw; what it saw must be what the
 * cell says. So a cell cannot be written without a test, and a peer that changes its behaviour fails here.
 */
import { Redis } from "ioredis";
import { describe, expect, test as plainTest } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { startRedises, type RunningRedis } from "../servers/redis-server.ts";
import { startTcpProxy, type TcpProxy } from "../servers/tcp-proxy.ts";
import { cellOf, LIBRARIES, versionOf, type Library } from "./table.ts";

/** What a test of one library has at hand; all of it is closed after the test, the last one first. */
export interface Bench {
  readonly after: (close: () => unknown) => void;
  readonly servers: (n: number) => Promise<RunningRedis[]>;
  readonly proxies: (servers: readonly RunningRedis[]) => Promise<TcpProxy[]>;
  /**
   * Connected clients as the READMEs of all these libraries make them: host and port. With `commandTimeout`,
   * ioredis's bound on the wait for an answer, only where a test shows what it changes.
   */
  readonly clients: (
    servers: readonly { readonly port: number }[],
    options?: { readonly commandTimeout: number },
  ) => Promise<Redis[]>;
}

/** Tells what it saw, in the words of the table. */
export type Look = (bench: Bench) => Promise<string>;

const test = plainTest.extend<{ bench: Bench }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  bench: async ({}, use) => {
    const closes: (() => unknown)[] = [];
    const after = (close: () => unknown): void => void closes.push(close);
    await use({ after, servers: servers(after), proxies: proxies(after), clients: clients(after) });
    // One that fails must not leave the others running.
    const failures: unknown[] = [];
    for (const close of closes.toReversed()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    expect(failures, "failures while closing").toEqual([]);
  },
});

type After = Bench["after"];

function servers(after: After): Bench["servers"] {
  return async (n) => {
    const started = await startRedises(n);
    for (const each of started) after(() => each.stop());
    return started;
  };
}

function proxies(after: After): Bench["proxies"] {
  return async (targets) => {
    const started: TcpProxy[] = [];
    for (const { port } of targets) {
      const proxy = await startTcpProxy({ targetPort: port });
      after(() => proxy.close());
      started.push(proxy);
    }
    return started;
  };
}

function clients(after: After): Bench["clients"] {
  return async (targets, options) => {
    const made = targets.map(({ port }) => new Redis({ host: "127.0.0.1", port, ...options }));
    for (const client of made) {
      client.on("error", () => undefined);
      after(() => client.disconnect());
    }
    await Promise.all(made.map((client) => client.ping()));
    return made;
  };
}

/**
 * One row of the table. The tests of a row run at the same time, since most of them wait for something that does not come;
 * each has servers of its own.
 */
export async function row(name: string, looks: Readonly<Record<Library, Look>>): Promise<void> {
  await describeWithServer("redis-7", name, () => {
    describe.concurrent("is what the README says for", () => {
      for (const library of LIBRARIES) {
        test.concurrent(`${library} ${versionOf(library)}`, async ({ bench }) => {
          expect(await looks[library](bench)).toBe(cellOf(name, library)?.text);
        });
      }
    });
  });
}

export type Settled<T> =
  | { readonly kind: "value"; readonly ms: number; readonly value: T }
  | { readonly kind: "error"; readonly ms: number; readonly error: Error }
  | { readonly kind: "pending"; readonly ms: number };

/** How a promise is settled, after how long; or that it was not within `withinMs`. */
export async function settled<T>(promise: Promise<T>, withinMs: number): Promise<Settled<T>> {
  const from = performance.now();
  const ms = (): number => performance.now() - from;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Settled<T>>((resolve) => {
    timer = setTimeout(() => resolve({ kind: "pending", ms: ms() }), withinMs);
  });
  const outcome = promise.then(
    (value): Settled<T> => ({ kind: "value", ms: ms(), value }),
    (error: unknown): Settled<T> => ({
      kind: "error",
      ms: ms(),
      error: error instanceof Error ? error : new Error(String(error)),
    }),
  );
  try {
    return await Promise.race([outcome, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The value; anything else fails the test. */
export async function granted<T>(promise: Promise<T>, withinMs = 5_000): Promise<T> {
  const outcome = await settled(promise, withinMs);
  if (outcome.kind === "value") return outcome.value;
  throw new Error(
    `not granted within ${withinMs} ms`,
    outcome.kind === "error" ? { cause: outcome.error } : {},
  );
}

/** For an observation that no cell has words for: fails the test and shows all of it. */
export function unexpected(what: string, seen: unknown): never {
  const text = JSON.stringify(seen, (_, each: unknown) => {
    if (each instanceof Error) return `${each.name}: ${each.message}`;
    return typeof each === "bigint" ? `${each}` : each;
  });
  throw new Error(`${what}: ${text}`);
}

/** The action of a test that several of its parts wait for: started once all `n` are there, and awaited by each. */
export function together(n: number, action: () => Promise<unknown>): () => Promise<unknown> {
  let missing = n;
  let start: () => void;
  const done = new Promise<void>((resolve) => {
    start = resolve;
  }).then(action);
  return () => {
    if (--missing === 0) start();
    return done;
  };
}
