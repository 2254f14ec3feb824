/** A server that lost its memory, or may have, does not vote until what it forgot has ended. On real servers. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { redis } from "../../src/adapters/redis.js";
import type { Quarantined, StatusReply } from "../../src/backend.js";
import { ConfigMismatchError, NoQuorumError, QuarantinedError } from "../../src/errors.js";
import type { Lease } from "../../src/lock/lease.js";
import type { LockerOptions } from "../../src/options.js";
import { describeWithServer } from "../servers/needs.ts";
import { startReplica, type RunningRedis } from "../servers/redis-server.ts";
import { GiveUp } from "../servers/wait-until.ts";
import {
  acquire,
  ALICE,
  backendsOn,
  BOB,
  DEPLOYMENT,
  eventually,
  expectFault,
  grant,
  putInService,
  SERVERS,
  test,
  timed,
} from "./kit.ts";

const SHORT: Omit<LockerOptions, "backends"> = {
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 2_000,
};

for (const name of SERVERS) {
  await describeWithServer(name, "a single server that forgets", (serverName) => {
    test.concurrent(
      "a client configured otherwise may neither end the quarantine nor join: it is refused",
      async ({ server, client, session }) => {
        const redisServer = await server({ server: serverName });
        const first = session(redis(client(redisServer)));
        const { identity } = await quarantined(first);
        const other = session(redis(client(redisServer)), { quorum: 3 });
        await expectFault(other.bootstrap(identity.incarnation), "BACKEND_MARK_MISMATCH", /quorum/);
        await expectFault(other.join(identity.incarnation), "BACKEND_MARK_MISMATCH", /quorum/);
        expect(await quarantined(first)).toMatchObject({ joined: false, identity });
      },
    );

    test.concurrent(
      "kill -9 and an empty restart: quarantined, unjoined, until it told us it is over",
      async ({ server, inService }) => {
        const redisServer = await server({ server: serverName });
        const session = await inService(redisServer);
        await grant(session, "k");
        const before = await session.status();
        await redisServer.restart({ empty: true });
        const status = await quarantined(session);
        expect(status.joined).toBe(false);
        expect(status.remainingMs).toBeGreaterThan(DEPLOYMENT.quarantineMs - 1_000);
        expect(status.remainingMs).toBeLessThanOrEqual(DEPLOYMENT.quarantineMs);
        expect(status.identity.incarnation).not.toBe(before.identity.incarnation);
        const from = performance.now();
        expect((await acquire(session, "k", { owner: BOB })).kind).toBe("quarantined");
        const left = await eventually("in service again", DEPLOYMENT.quarantineMs + 1_000, async () =>
          expect((await acquire(session, "k", { owner: BOB })).kind).toBe("granted"),
        );
        expect(performance.now() - from).toBeGreaterThan(status.remainingMs - 50);
        expect(left).toBeLessThan(status.remainingMs + 500);
      },
    );

    test.concurrent(
      "FLUSHALL: another incarnation, quarantined, also for a session that only knew the old mark",
      async ({ server, inService }) => {
        const redisServer = await server({ server: serverName });
        const session = await inService(redisServer);
        const before = await session.status();
        await redisServer.cli("FLUSHALL");
        const reply = await acquire(session, "k");
        expect(reply.kind).toBe("quarantined");
        expect(reply.identity.incarnation).not.toBe(before.identity.incarnation);
        await session.bootstrap(before.identity.incarnation);
        expect((await session.status()).kind, "after a late bootstrap of the old memory").toBe("quarantined");
      },
    );

    test.concurrent(
      "a restart that kept the memory, not declared durable: quarantined, joined, and what lives may go on",
      async ({ server, inService }) => {
        const redisServer = await server({ server: serverName, appendOnly: "always" });
        const session = await inService(redisServer);
        const fence = await grant(session, "k", { ttlMs: 2_000 });
        await redisServer.restart({ empty: false });
        expect((await quarantined(session)).joined).toBe(true);
        const reply = await session.extend({
          key: "k",
          owner: ALICE,
          ttlMs: 2_000,
          token: fence,
          mayHeal: false,
        });
        expect(reply.kind).toBe("extended");
      },
    );

    test.concurrent(
      "a restart that kept the memory, declared durable: in service, with lock, TTL and counter",
      async ({ server, inService }) => {
        const redisServer = await server({ server: serverName, appendOnly: "always" });
        const session = await inService(redisServer, { durable: true });
        const fence = await grant(session, "k", { ttlMs: 2_000 });
        const before = await session.status();
        await redisServer.restart({ empty: false });
        const status = await statusSoon(session);
        expect(status.kind).toBe("in-service");
        expect(status.identity.incarnation).toBe(before.identity.incarnation);
        const { lock, counter } = await session.inspect("k");
        expect([lock?.owner, lock?.fence, counter]).toEqual([ALICE, fence, fence]);
        expect(lock?.remainingMs).toBeLessThan(2_000);
        expect((await acquire(session, "k", { owner: BOB })).kind).toBe("held");
        await redisServer.restart({ empty: true });
        expect((await quarantined(session)).joined, "durable, but emptied").toBe(false);
      },
    );

    test.concurrent(
      "failover to a replica and back: quarantined both times",
      async ({ server, client, session, after }) => {
        const first = await server({ server: serverName });
        const onFirst = session(redis(client(first)));
        await putInService(onFirst);
        const second = await startReplica(first);
        after(() => second.stop());
        const before = await onFirst.status();

        await second.cli("REPLICAOF", "NO", "ONE");
        const onSecond = session(redis(client(second)));
        const there = await quarantined(onSecond);
        expect(there.joined, "the mark came with the data").toBe(true);
        await makeReplica(first, second);
        await expectFault(acquire(onFirst, "k"), "BACKEND_READONLY", /read-only replica/);
        await first.cli("REPLICAOF", "NO", "ONE");
        const back = await quarantined(onFirst);
        expect(back.joined).toBe(true);
        expect(back.identity.serverId, "the same process").toBe(before.identity.serverId);
        expect(back.identity.incarnation).not.toBe(before.identity.incarnation);
      },
    );

    test.concurrent(
      "a first replica begins another replication history: quarantined, since it looks like a failover",
      async ({ server, inService, after }) => {
        const first = await server({ server: serverName });
        const session = await inService(first);
        const fence = await grant(session, "k", { ttlMs: 2_000 });
        const second = await startReplica(first);
        after(() => second.stop());
        expect((await quarantined(session)).joined).toBe(true);
        const reply = await session.extend({
          key: "k",
          owner: ALICE,
          ttlMs: 2_000,
          token: fence,
          mayHeal: false,
        });
        expect(reply.kind, "what lives may go on").toBe("extended");
      },
    );

    test.concurrent(
      "a failover and back that a connected client never noticed, with a lock lost by it: quarantined",
      async ({ server, inService, after }) => {
        const first = await server({ server: serverName });
        const second = await startReplica(first);
        after(() => second.stop());
        const session = await inService(first);
        await second.cli("REPLICAOF", "NO", "ONE");
        // Held on the first only: the second never saw it, and its data replaces that of the first.
        await grant(session, "k", { ttlMs: 2_000 });
        await makeReplica(first, second);
        await first.cli("REPLICAOF", "NO", "ONE");
        expect(await first.cli("EXISTS", "{ql:k}:l"), "the lock is lost").toBe(0);
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        expect((await acquire(session, "k", { owner: BOB })).kind).toBe("quarantined");
      },
    );
  });
}

await describeWithServer("redis-7", "three servers that forget", () => {
  test("a new deployment works at once, for four lockers that start together", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const lockers = Array.from({ length: 4 }, () =>
      locker({ ...SHORT, backends: backendsOn(three, client), waitMs: 5_000 }),
    );
    const { ms, value } = await timed(
      Promise.all(
        lockers.map(async (each, index) => {
          const lease = await each.acquire(`k${index % 2}`);
          const { token } = lease;
          await lease.release();
          return token;
        }),
      ),
    );
    expect(new Set(value).size).toBe(4);
    expect(ms).toBeLessThan(2_000);
  });

  test("a new deployment works at once, for four processes that start together", async ({ servers }) => {
    const three = await servers(3);
    const program = fileURLToPath(new URL("first-contact-process.mjs", import.meta.url));
    const outcomes = await Promise.all(
      Array.from(
        { length: 4 },
        (_, index) =>
          new Promise<string>((resolve, reject) => {
            const child = fork(program, [String(index), ...three.map(({ port }) => String(port))], {
              stdio: ["ignore", "pipe", "inherit", "ipc"],
            });
            let said = "";
            child.stdout?.on("data", (bytes: Buffer) => (said += bytes.toString()));
            child.on("error", reject);
            child.on("exit", (code) => resolve(`${said.trim()} ${code}`));
          }),
      ),
    );
    expect(outcomes).toEqual(Array.from({ length: 4 }, () => expect.stringMatching(/^token \d+ 0$/)));
    expect(new Set(outcomes).size).toBe(4);
  });

  test("one of three down at first contact: refused, in words that say what to do; then it works by itself", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const [, , last] = three;
    await last?.kill();
    const one = locker({ ...SHORT, backends: backendsOn(three, client) });
    const error = await failure(one.acquire("k", { waitMs: 0 }));
    expect(error.message).toMatch(/in quarantine for another \d/);
    expect(error.message).toContain("ECONNREFUSED");
    expect(error.message).toContain(
      `if these backends are new, they start as soon as all of them answer; missing: 127.0.0.1:${last?.port}`,
    );
    await last?.restart({ empty: true });
    const lease = await one.acquire("k", { waitMs: 3_000 });
    expect(lease.token).toBeGreaterThan(0n);
    await lease.release();
  });

  test("two of three wiped: refused, saying how long and why; granted when the quarantine is over", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: backendsOn(three, client) });
    await (await one.acquire("k")).release();
    const quarantines: unknown[] = [];
    one.on("backendQuarantined", (event) => quarantines.push(event));
    const from = performance.now();
    for (const each of three.slice(0, 2)) await each.restart({ empty: true });
    let error: Error | undefined;
    await eventually("both are connected again", 2_000, async () => {
      error = await failure(one.acquire("k", { waitMs: 0 }));
      return (
        error instanceof QuarantinedError &&
        error.votes.filter(({ vote }) => vote === "quarantined").length === 2
      );
    });
    expect(error?.message).toMatch(
      /cannot be granted for another [23]\.\d s: backends that restarted without their memory/,
    );
    expect(error?.message, "nothing to start").not.toContain("if these backends are new");
    expect((error as QuarantinedError).retryAfterMs).toBeLessThan(DEPLOYMENT.quarantineMs);
    expect(quarantines).toHaveLength(2);
    const lease = await one.acquire("k", { waitMs: 5_000 });
    expect(performance.now() - from).toBeGreaterThan(DEPLOYMENT.quarantineMs - 50);
    await lease.release();
  });

  test("a lease on two of three, one of them wiped: nobody else gets the lock with the other two", async ({
    servers,
    client,
    locker,
    proxyTo,
  }) => {
    const three = await servers(3);
    const [wiped, kept, unreached] = three;
    if (wiped === undefined || kept === undefined || unreached === undefined) throw new Error("no server");
    const proxy = await proxyTo(unreached);
    const holder = locker({ ...SHORT, backends: backendsOn([wiped, kept, proxy], client) });
    const other = locker({ ...SHORT, backends: backendsOn(three, client) });
    for (const each of [holder, other]) await (await each.acquire("warm-up")).release();
    proxy.cut();
    const lease = await holder.acquire("k", { ttlMs: 2_000 });
    await wiped.restart({ empty: true });
    await eventually("the wiped one answers", 1_500, async () => {
      const refusal = await other.tryAcquire("k");
      lease.assertHeld();
      if (refusal.acquired) throw new GiveUp("two holders");
      return refusal.votes.some(({ vote }) => vote === "quarantined");
    });
    lease.assertHeld();
    proxy.heal();
    await lease.release();
  });

  test("a restart under a held lease: it lives on the others, and is healed only after the quarantine", async ({
    servers,
    client,
    locker,
    session,
  }) => {
    const three = await servers(3);
    const [wiped, ...others] = three;
    if (wiped === undefined) throw new Error("no server");
    const one = locker({ ...SHORT, backends: backendsOn(three, client) });
    const lease = await one.acquire("k", { keepAlive: true });
    await wiped.restart({ empty: true });
    const from = performance.now();
    const onWiped = session(redis(client(wiped)));
    await quarantined(onWiped);
    let healedAfterMs = 0;
    await eventually("healed", DEPLOYMENT.quarantineMs + 2_500, async () => {
      const { lock } = await onWiped.inspect("k");
      healedAfterMs = performance.now() - from;
      return lock !== undefined;
    });
    expect(healedAfterMs).toBeGreaterThan(DEPLOYMENT.quarantineMs - 200);
    lease.assertHeld(300);
    expect((await onWiped.inspect("k")).counter).toBe(lease.token);
    for (const other of others) expect(await other.cli("EXISTS", "{ql:k}:l")).toBe(1);
    expect(await lease.release()).toBe("released");
    for (const each of three) {
      await eventually("released", 1_000, async () => (await each.cli("EXISTS", "{ql:k}:l")) === 0);
    }
  });

  test('"strict" starts nothing by itself; bootstrap() does, once', async ({ servers, client, locker }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: backendsOn(three, client), restartGuard: "strict", waitMs: 0 });
    const error = await failure(one.acquire("k"));
    expect(error).toBeInstanceOf(QuarantinedError);
    expect(error.message).toMatch(/first start.*locker\.bootstrap\(\)/);
    expect(await one.bootstrap()).toHaveLength(3);
    expect(await one.bootstrap()).toEqual([]);
    const lease = await one.acquire("k", { waitMs: 1_000 });
    await lease.release();
    await Promise.all(three.map((each) => each.cli("FLUSHALL")));
    expect(await failure(one.acquire("k"))).toBeInstanceOf(QuarantinedError);
  });

  test("bootstrap() with a server down says which", async ({ servers, client, locker }) => {
    const three = await servers(3);
    await three[1]?.kill();
    const one = locker({ ...SHORT, backends: backendsOn(three, client), restartGuard: "strict" });
    const error = await failure(one.bootstrap());
    expect(error).toBeInstanceOf(NoQuorumError);
    expect(error.message).toContain(
      `127.0.0.1:${three[1]?.port} failed (not connected: connect ECONNREFUSED`,
    );
  });

  test('"off": FLUSHALL changes nothing but what it deletes', async ({ servers, client, locker }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: backendsOn(three, client), restartGuard: "off" });
    let lease: Lease | undefined;
    for (let times = 0; times < 3; times++) {
      await Promise.all(three.map((each) => each.cli("FLUSHALL")));
      lease = await one.acquire(`k${times}`, { waitMs: 0 });
      await lease.release();
    }
    expect(lease).toBeDefined();
  });

  test("two clients with different figures: the second is refused, whatever it asks", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    await (await locker({ ...SHORT, backends: backendsOn(three, client) }).acquire("k")).release();
    const otherFigures: LockerOptions[] = [
      { ...SHORT, backends: backendsOn(three, client), maxTtlMs: 3_000 },
      { ...SHORT, backends: backendsOn(three, client), quorum: 3 },
      { ...SHORT, backends: backendsOn(three.slice(0, 2), client) },
    ];
    for (const options of otherFigures) {
      const error = await failure(locker(options).acquire("k"));
      expect(error).toBeInstanceOf(ConfigMismatchError);
      expect(error.message).toMatch(
        /^backend 127\.0\.0\.1:\d+: its mark was written by clients with 3 backends, quorum 2, maxTtlMs 2000; this one/,
      );
    }
  });
});

interface Asked {
  status(): Promise<StatusReply>;
}

/** Its status, as soon as it is connected again. */
async function statusSoon(session: Asked): Promise<StatusReply> {
  let status: StatusReply | undefined;
  await eventually("an answer", 2_000, async () => {
    status = await session.status();
  });
  if (status === undefined) throw new Error("no answer");
  return status;
}

async function quarantined(session: Asked): Promise<Quarantined> {
  const status = await statusSoon(session);
  if (status.kind !== "quarantined") throw new Error(`the status is ${status.kind}`);
  return status;
}

async function makeReplica(of: RunningRedis, master: RunningRedis): Promise<void> {
  await master.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0");
  await of.cli("REPLICAOF", "127.0.0.1", master.port);
  await eventually("in sync", 10_000, async () =>
    String(await of.cli("INFO", "replication")).includes("master_link_status:up"),
  );
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const { error, value } = await timed(promise);
  if (!(error instanceof Error)) throw new Error(`no error but ${String(value)}`);
  return error;
}
