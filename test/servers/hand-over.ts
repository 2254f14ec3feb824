/**
 * Tests for every store that calls waiters, on a real server and in real time: how soon a released lock is with the next
 * one, and what becomes of a wait when calls do not come.
 */
import { expect } from "vitest";
import type { Backend, BackendSession } from "../../src/backend.js";
import { BackendError } from "../../src/errors.js";
import type { Locker } from "../../src/lock/locker.js";
import {
  ALICE,
  BOB,
  figure,
  grant,
  median,
  proposal,
  putInService,
  test as redisTest,
} from "../redis/kit.ts";
import { startTcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

/** Where to find the store. */
export interface HandOverPlace {
  readonly port: number;
  /** A backend with a client of its own, to the server or to a proxy in front of it. */
  readonly backend: (port: number) => Backend;
  readonly close: () => Promise<void>;
}

/** Nobody has the lock by asking again before that is over. */
const ASK_EVERY_MS = 2_000;
/** Sooner than the backstop, by which a locker that is called asks about once a second. */
const SOON_MS = 600;
const ROUNDS = 5;
const RACES = 40;
const TTL_MS = 20_000;
const WAIT_MS = 15_000;
const RESERVATION_MS = 100;

/** Registers them. Inside of `describe`. */
export function itHandsOver(kind: string, open: () => Promise<HandOverPlace>): void {
  const test = redisTest.extend<{
    readonly place: HandOverPlace;
    readonly lockerOn: (backend: Backend, retryDelayMs?: number) => Locker;
  }>({
    // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
    place: async ({}, use) => {
      const place = await open();
      await use(place);
      await place.close();
    },
    lockerOn: async ({ locker }, use) => {
      await use((backend, retryDelayMs = ASK_EVERY_MS) =>
        locker({
          backends: [backend],
          ttlMs: TTL_MS,
          retryDelayMsMin: retryDelayMs,
          retryDelayMsMax: 2 * retryDelayMs,
        }),
      );
    },
  });

  test("a released lock is with the next in line long before anybody asks again", async ({
    place,
    lockerOn,
  }) => {
    const holder = lockerOn(place.backend(place.port));
    const seen = observed(place.backend(place.port));
    const waiter = lockerOn(seen.backend);
    const took: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const lease = await holder.acquire("k", { waitMs: WAIT_MS });
      const waiting = waiter.acquire("k", { waitMs: WAIT_MS });
      await waitUntil({ what: "it stands in line", timeoutMs: WAIT_MS }, async () => seen.stood() === round);
      const from = performance.now();
      await lease.release();
      const next = await waiting;
      took.push(performance.now() - from);
      expect(next.token).toBeGreaterThan(lease.token);
      await next.release();
    }
    figure(`${kind}: from the release to the next in line`, `median ${median(took).toFixed(1)} ms`);
    expect(median(took)).toBeLessThan(100);
    expect(Math.max(...took)).toBeLessThan(SOON_MS);
  });

  test("a ticket that comes while the lock is released has it, or is called: every time", async ({
    place,
    session,
  }) => {
    const [holder, waiter] = [1, 2].map(() => session(place.backend(place.port), { maxTtlMs: TTL_MS })) as [
      BackendSession,
      BackendSession,
    ];
    await putInService(holder);
    const called = new Set<string>();
    waiter.watch?.((ticket, inMs) => inMs === 0 && called.add(ticket));
    let stood = 0;
    for (let race = 1; race <= RACES; race++) {
      const [key, id] = [`race-${race}`, String(race)];
      const ticket = { id, since: 1n, waitsMs: WAIT_MS };
      await grant(holder, key, { ttlMs: TTL_MS });
      const [, reply] = await Promise.all([
        holder.release(key, ALICE),
        waiter.acquire({ key, owner: BOB, ttlMs: TTL_MS, proposal: proposal(), ticket }),
      ]);
      if (reply.kind === "held") {
        stood++;
        await waitUntil({ what: `${key} is called`, timeoutMs: 2_000 }, async () => called.has(id));
      }
      await waiter.leave?.(key, id);
    }
    figure(`${kind}: tickets that met a release`, `${stood} of ${RACES} held`);
  });

  test("a waiter that died costs those behind it one reservation", async ({ place, lockerOn }) => {
    const holder = lockerOn(place.backend(place.port));
    const dying = observed(place.backend(place.port));
    const seen = observed(place.backend(place.port));
    const [dead, alive] = [lockerOn(dying.backend), lockerOn(seen.backend)];
    const lease = await holder.acquire("k", { waitMs: WAIT_MS });
    const never = dead.acquire("k", { waitMs: WAIT_MS }).catch((error: unknown) => error);
    await waitUntil(
      { what: "the first stands in line", timeoutMs: WAIT_MS },
      async () => dying.stood() === 1,
    );
    const waiting = alive.acquire("k", { waitMs: WAIT_MS });
    await waitUntil({ what: "the second hears, too", timeoutMs: WAIT_MS }, async () => seen.called() > 0);
    dying.die();
    const from = performance.now();
    await lease.release();
    const next = await waiting;
    const ms = performance.now() - from;
    figure(`${kind}: with a dead waiter before it`, `${ms.toFixed(0)} ms`);
    expect(ms).toBeGreaterThan(RESERVATION_MS / 2);
    expect(ms).toBeLessThan(SOON_MS);
    await next.release();
    await dead.close();
    await never;
  });

  test("a connection that breaks while it waits: called again on another one", async ({
    place,
    lockerOn,
    after,
  }) => {
    const proxy = await startTcpProxy({ targetPort: place.port });
    after(() => proxy.close());
    const holder = lockerOn(place.backend(place.port));
    const seen = observed(place.backend(proxy.port));
    const waiter = lockerOn(seen.backend, WAIT_MS);
    const lease = await holder.acquire("k", { waitMs: WAIT_MS });
    const waiting = waiter.acquire("k", { waitMs: 2 * WAIT_MS });
    await waitUntil({ what: "it stands in line", timeoutMs: WAIT_MS }, async () => seen.called() > 0);
    proxy.drop();
    const from = performance.now();
    await lease.release();
    await waiting;
    expect(performance.now() - from).toBeLessThan(SOON_MS);
  });

  test("calls that are lost: it asks by itself, and has the lock all the same", async ({
    place,
    lockerOn,
    after,
  }) => {
    const proxy = await startTcpProxy({ targetPort: place.port });
    after(() => proxy.close());
    const holder = lockerOn(place.backend(place.port));
    const seen = observed(place.backend(proxy.port));
    const waiter = lockerOn(seen.backend, 50);
    const lease = await holder.acquire("k", { waitMs: WAIT_MS });
    const waiting = waiter.acquire("k", { waitMs: WAIT_MS });
    await waitUntil({ what: "it stands in line", timeoutMs: WAIT_MS }, async () => seen.stood() > 0);
    proxy.cut();
    await lease.release();
    proxy.heal();
    const next = await waiting;
    expect(next.token).toBeGreaterThan(lease.token);
  });
}

export interface Observed {
  readonly backend: Backend;
  /** How many waits stood in line. */
  stood(): number;
  /** How often it was called. */
  called(): number;
  /** It hears nothing, answers nothing and takes nothing back from now on. */
  die(): void;
}

/** The same backend, whose line is seen. */
export function observed(backend: Backend): Observed {
  const tickets = new Set<string>();
  let calls = 0;
  let isDead = false;
  const dead = (): Promise<never> =>
    Promise.reject(new BackendError("BACKEND_NOT_CONNECTED", { backend: backend.name, what: "dead" }));
  return {
    backend: {
      ...backend,
      open(deployment): BackendSession {
        const session = backend.open(deployment);
        return {
          ...session,
          async acquire(request) {
            if (isDead) return dead();
            const reply = await session.acquire(request);
            if (reply.kind === "held" && request.ticket !== undefined) tickets.add(request.ticket.id);
            return reply;
          },
          async leave(key, ticket) {
            if (isDead) return dead();
            await session.leave?.(key, ticket);
          },
          watch: (listener) =>
            session.watch?.((ticket, inMs) => {
              calls++;
              if (!isDead) listener(ticket, inMs);
            }) ?? (() => undefined),
        };
      },
    },
    stood: () => tickets.size,
    called: () => calls,
    die() {
      isDead = true;
    },
  };
}
