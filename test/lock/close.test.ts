import { describe, expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import type { AcquireReply, Backend, BackendSession, Deployment, ExtendReply } from "../../src/index.js";
import { BackendError, createLocker } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

describe("close()", () => {
  it("ends a pause and an attempt in flight with CLOSED", async () => {
    const stage = createStage();
    const holder = await startedClient(stage);
    await stage.wait(holder.locker.acquire("held", { ttlMs: 60_000 }));
    const { locker, links } = await startedClient(stage);
    const pausing = locker.acquire("held");
    await stage.time.advance(100);
    for (const link of links) link.hang();
    const asking = locker.acquire("free");
    for (const each of [pausing, asking]) each.catch(() => undefined);
    const closing = locker.close();
    expect((await stage.error(pausing)).code).toBe("CLOSED");
    expect((await stage.error(asking)).code).toBe("CLOSED");
    await stage.wait(closing);
  });

  it("takes the tickets of those who wait out of the line: the next release frees the key for anybody", async () => {
    const stage = createStage();
    const [holder, waiter, other] = [
      await startedClient(stage),
      await startedClient(stage),
      await startedClient(stage),
    ];
    const lease = await stage.wait(holder.locker.acquire("k", { ttlMs: 60_000 }));
    const waits = waiter.locker.acquire("k", { waitMs: 60_000 });
    waits.catch(() => undefined);
    await stage.time.advance(300);
    await stage.wait(waiter.locker.close());
    expect((await stage.error(waits)).code).toBe("CLOSED");
    await stage.wait(lease.release());
    expect((await stage.wait(other.locker.tryAcquire("k"))).acquired).toBe(true);
  });

  it('ends leases as lost with the reason "closed", and does not release them', async () => {
    const stage = createStage();
    const { locker, events } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { keepAlive: true }));
    const { signal } = lease;
    await stage.wait(locker.close());
    expect(signal.reason).toMatchObject({ code: "LEASE_LOST", reason: "closed" });
    expect(lease.remainingMs).toBe(0);
    expect(events("lost")).toMatchObject([{ reason: "closed" }]);
    expect((await stage.owners("key")).filter((owner) => owner !== undefined)).toHaveLength(3);
    expect((await stage.error(lease.extend())).code).toBe("LEASE_LOST");
    expect(await stage.wait(lease.release())).toBe("unknown");
  });

  it("leaves no timer, whatever was going on", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    await stage.wait(locker.acquire("kept", { keepAlive: true }));
    links[0]?.kill();
    links[1]?.hang();
    for (const key of ["a", "b"]) locker.acquire(key).catch(() => undefined);
    await stage.time.advance(700);
    await stage.wait(locker.close());
    expect(await stage.atRest()).toBe(true);
  });

  it("may be repeated, and everything after it is refused with CLOSED", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    await stage.wait(Promise.all([locker.close(), locker.close(), locker[Symbol.asyncDispose]()]));
    expect((await stage.error(locker.acquire("key"))).code).toBe("CLOSED");
    expect((await stage.error(locker.tryAcquire("key"))).code).toBe("CLOSED");
    expect((await stage.error(locker.withLock("key", () => 1))).code).toBe("CLOSED");
  });

  it("is bounded when backends hang", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    for (const link of links) link.hang();
    await stage.wait(locker.tryAcquire("key"));
    expect(await stage.lasting(locker.close())).toBeLessThanOrEqual(2_000);
  });

  it("waits for releases under way, also those whose outcome the others have decided", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key", { ttlMs: 60_000 }));
    links[2]?.setDelay({ toMs: [500, 500], backMs: [0, 0] });
    expect(await stage.wait(lease.release())).toBe("released");
    await stage.wait(locker.close());
    expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
  });

  it("is no fault of a backend whose answers it no longer waits for", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage, { ttlMs: 60_000 });
    for (const link of links) link.setDelay({ toMs: [2_000, 2_000], backMs: [0, 0] });
    const acquiring = locker.acquire("key");
    acquiring.catch(() => undefined);
    await stage.time.advance(10);
    await stage.wait(locker.close());
    await stage.time.advance(5_000);
    expect(events("backendFault")).toEqual([]);
  });

  it("in the very turn in which a lock is won ends it too", async () => {
    for (let turns = 0; turns < 20; turns++) {
      const stage = createStage();
      let close = (): void => undefined;
      let extended = 0;
      const backends = stage.memories.map((backend) => ({
        ...backend,
        open(deployment: Deployment): BackendSession {
          const session = backend.open(deployment);
          return {
            ...session,
            async acquire(request): Promise<AcquireReply> {
              const reply = await session.acquire(request);
              if (backend.name === "b2") close();
              return reply;
            },
            async extend(request): Promise<ExtendReply> {
              extended++;
              return session.extend(request);
            },
          };
        },
      }));
      const locker = createLocker({
        backends,
        system: stage.time.process(),
        ttlMs: 1_000,
        restartGuard: "off",
      });
      const closeLater = async (): Promise<void> => {
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        await locker.close();
      };
      close = () => void closeLater();
      const outcome = await stage.wait(
        locker.acquire("key", { keepAlive: true }).then(
          (lease) => lease,
          (error: { code: string }) => error.code,
        ),
      );
      await stage.time.advance(5_000);
      const ended = typeof outcome === "string" ? outcome : outcome.toJSON().state;
      expect(ended, `closed ${turns} turns after the reply`).toMatch(/^(CLOSED|closed)$/);
      expect(extended, `closed ${turns} turns after the reply`).toBe(0);
    }
  });
});

describe("createLocker", () => {
  it("closes what it opened when a later backend refuses", async () => {
    let open = 0;
    const counting = (backend: Backend): Backend => ({
      ...backend,
      open(deployment) {
        open++;
        const session = backend.open(deployment);
        return {
          ...session,
          close: async () => {
            open--;
            await session.close();
          },
        };
      },
    });
    const refusing: Backend = {
      ...memory(),
      open() {
        throw new BackendError("BACKEND_MARK_UNREADABLE", { backend: "x", what: "no mark" });
      },
    };
    expect(() => createLocker({ backends: [counting(memory()), counting(memory()), refusing] })).toThrow(
      expect.objectContaining({ code: "BACKEND_MARK_UNREADABLE" }),
    );
    await Promise.resolve();
    expect(open).toBe(0);
  });
});
