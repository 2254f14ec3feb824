/** What goes wrong between a client and a real server: each is a coded error that names backend and cause, in time. */
import { mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect } from "vitest";
import { redis } from "../../src/adapters/redis.js";
import type { BackendSession } from "../../src/backend.js";
import { describeWithServer } from "../servers/needs.ts";
import { freePort } from "../servers/free-port.ts";
import { startCluster, startReplica } from "../servers/redis-server.ts";
import {
  acquire,
  ALICE,
  checkFault,
  BOB,
  eventually,
  expectFault,
  figure,
  grant,
  proposal,
  SERVERS,
  test,
  timed,
} from "./kit.ts";

/** A command that is owed an answer this long is given up with its connection. */
const SOCKET_TIMEOUT_MS = 1_000;

const RECOVERY_MS = 1_000;

/** How long it takes until a durable session works again; fails after a second. */
async function recovers(what: string, session: BackendSession, timeoutMs = RECOVERY_MS): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, timeoutMs, () => session.status());
  figure(`recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

for (const name of SERVERS) {
  await describeWithServer(name, "what a server refuses", (serverName) => {
    test("a wrong password, and none where one is needed; then the right one", async ({
      server,
      client,
      session,
    }) => {
      const redisServer = await server({ server: serverName, password: "right" });
      const wrong = session(redis(client(redisServer, { password: "wrong" })));
      const error = await expectFault(
        acquire(wrong, "k"),
        "BACKEND_AUTH",
        /refuses the user name or password \(WRONGPASS/,
      );
      expect(error.effect).toBe("none");
      const none = session(redis(client(redisServer)));
      await expectFault(acquire(none, "k"), "BACKEND_AUTH", /it wants a password \(NOAUTH/);
      await expectFault(none.release("k", ALICE), "BACKEND_AUTH");
      const right = session(redis(client(redisServer, { password: "right" })));
      expect((await right.status()).kind).toBe("quarantined");
      await redisServer.cli("CONFIG", "SET", "requirepass", "");
      await recovers("a password that is wanted no more", none);
    });

    test("a replica: READONLY, also for a durable backend whose mark it has", async ({
      server,
      client,
      session,
      after,
      inService,
    }) => {
      const master = await server({ server: serverName });
      const durable = await inService(master, { durable: true, prefix: "durable" });
      await grant(durable, "held");
      const replica = await startReplica(master);
      after(() => replica.stop());
      const onReplica = session(redis(client(replica)));
      const error = await expectFault(acquire(onReplica, "k"), "BACKEND_READONLY", /read-only replica/);
      expect(error.effect).toBe("none");
      const durableThere = session(redis(client(replica), { durable: true, prefix: "durable" }));
      await expectFault(acquire(durableThere, "k"), "BACKEND_READONLY", /read-only replica/);
      expect((await acquire(durableThere, "held", { owner: BOB })).kind).toBe("held");
      await expectFault(durableThere.release("held", ALICE), "BACKEND_READONLY");
      expect(await master.cli("EXISTS", "{durable:held}:l")).toBe(1);
    });

    test("out of memory: nothing is granted, but release and extend work", async ({ server, inService }) => {
      const redisServer = await server({ server: serverName });
      const session = await inService(redisServer);
      const token = await grant(session, "k");
      await redisServer.cli("CONFIG", "SET", "maxmemory", "1");
      const error = await expectFault(
        acquire(session, "other"),
        "BACKEND_OUT_OF_MEMORY",
        /out of memory \(OOM/,
      );
      expect(error.effect, "its words say what the first write met, not what came before").toBe("unknown");
      expect(await redisServer.cli("EXISTS", "{ql:other}:l", "{ql:other}:f")).toBe(0);
      const extend = { key: "k", owner: ALICE, ttlMs: 1_900, token, mayHeal: false };
      expect((await session.extend(extend)).kind).toBe("extended");
      const raise = { key: "k", owner: ALICE, fence: token, token: token + 9n };
      await expectFault(session.raise(raise), "BACKEND_OUT_OF_MEMORY");
      expect((await session.inspect("k")).counter).toBe(token);
      expect(await session.release("k", ALICE)).toBe("released");
      await redisServer.cli("CONFIG", "SET", "maxmemory", "0");
      await grant(session, "other");
    });

    test("a script of somebody else that blocks it: BUSY, and afterwards all is well", async ({
      server,
      inService,
    }) => {
      const redisServer = await server({ server: serverName, args: ["--busy-reply-threshold", "50"] });
      const session = await inService(redisServer);
      const blocking = redisServer.cli("EVAL", "while true do end", 0).catch(() => undefined);
      await eventually("it is busy", 3_000, async () =>
        redisServer.cli("PING").then(
          () => false,
          (reason: Error) => reason.message.startsWith("BUSY"),
        ),
      );
      const error = await expectFault(acquire(session, "k"), "BACKEND_BUSY", /script of somebody else.*BUSY/);
      expect(error.effect).toBe("none");
      await redisServer.cli("SCRIPT", "KILL");
      await blocking;
      await grant(session, "k");
    });

    test("loading its data: LOADING, and in service as soon as it has", async ({
      server,
      client,
      session,
      after,
    }) => {
      const redisServer = await server({
        server: serverName,
        args: ["--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024"],
      });
      await redisServer.cli(
        "EVAL",
        "for i = 1, 4000 do redis.call('SET', 'filler' .. i, string.rep('x', 100)) end",
        0,
      );
      await redisServer.cli("SAVE");
      const restarting = redisServer.restart({ empty: false });
      after(() => restarting);
      const late = session(redis(client(redisServer), { durable: true }));
      await eventually("it is loading", 2_000, async () =>
        expectFault(acquire(late, "k"), "BACKEND_LOADING", /still loading its data \(LOADING/),
      );
      await restarting;
      await recovers("loading", late);
    });
  });
}

await describeWithServer("redis-7", "what else a server refuses", () => {
  test("MISCONF, in its own words", async ({ server, inService }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    await mkdir(join(redisServer.dir, "data", "dump.rdb", "in-the-way"), { recursive: true });
    await redisServer.cli("CONFIG", "SET", "save", "900 1");
    await redisServer.cli("BGSAVE");
    await eventually("the save failed", 3_000, async () =>
      String(await redisServer.cli("INFO", "persistence")).includes("rdb_last_bgsave_status:err"),
    );
    await expectFault(acquire(session, "k"), "BACKEND_REFUSED", /it refused: MISCONF/);
    expect(await redisServer.cli("EXISTS", "{ql:k}:l", "{ql:k}:f")).toBe(0);
    await redisServer.cli("CONFIG", "SET", "save", "");
    await grant(session, "k");
  });

  test("NOREPLICAS, in its own words", async ({ server, inService }) => {
    const redisServer = await server();
    const session = await inService(redisServer);
    await redisServer.cli("CONFIG", "SET", "min-replicas-to-write", "1");
    await expectFault(acquire(session, "k"), "BACKEND_REFUSED", /it refused: NOREPLICAS/);
  });

  test("a Cluster node used as a single server says so", async ({ client, session, after }) => {
    const cluster = await startCluster({ nodes: 3 });
    after(() => cluster.stop());
    const [node] = cluster.nodes;
    if (node === undefined) throw new Error("no node");
    const lone = session(redis(client(node), { durable: true }));
    const replies = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        acquire(lone, `k${i}`).then(
          (reply) => reply.kind,
          (error: Error) => error.message,
        ),
      ),
    );
    expect(replies.join("\n")).toMatch(/MOVED|CROSSSLOT|Cluster/);
  });
});

await describeWithServer("redis-7", "a server that cannot be reached", () => {
  test("nobody listens: refused at once, and found when it comes", async ({ server, client, session }) => {
    const port = await freePort();
    const opened = session(redis(client({ port }), { durable: true }));
    for (const ask of [() => acquire(opened, "k"), () => opened.release("k", ALICE), () => opened.status()]) {
      const { ms, error } = await timed<unknown>(ask());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(700);
    }
    await server({ port });
    await recovers("a late start", opened);
  });

  test("a host name that does not exist", async ({ client, session }) => {
    const opened = session(redis(client({ port: 6379 }, { host: "no-such-host.invalid" })));
    await expectFault(
      acquire(opened, "k"),
      "BACKEND_NOT_CONNECTED",
      /not connected: .*(ENOTFOUND|EAI_AGAIN)/,
    );
  });

  test("it accepts and never says anything: an error in time, and no hang", async ({
    client,
    session,
    after,
  }) => {
    const deaf = createServer(() => undefined);
    const port = await freePort();
    await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
    after(() => deaf.close());
    const opened = session(redis(client({ port })));
    const { ms, error } = await timed(acquire(opened, "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /Socket timeout/);
    expect(ms).toBeGreaterThan(SOCKET_TIMEOUT_MS - 100);
    expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
  });

  test("it is no Redis: an error in time", async ({ client, session, after }) => {
    const other = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    const port = await freePort();
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    after(() => other.close());
    const opened = session(redis(client({ port })));
    const { ms, error } = await timed(acquire(opened, "k"));
    expect(error).toMatchObject({
      code: expect.stringMatching(/^BACKEND_(NOT_CONNECTED|DISCONNECTED|REFUSED)$/) as unknown,
    });
    expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
  });
});

await describeWithServer("redis-7", "a connection that breaks", () => {
  test("SIGSTOP: given up after a second, works within a second of SIGCONT", async ({
    server,
    inService,
  }) => {
    const redisServer = await server();
    const session = await inService(redisServer, { durable: true });
    await redisServer.freeze();
    const { ms, error } = await timed(acquire(session, "k"));
    const fault = checkFault(error, "BACKEND_DISCONNECTED", /before the answer.*Socket timeout/);
    expect(fault.effect).toBe("unknown");
    expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
    // The next one too: a connection that is accepted by the kernel alone is no connection.
    const again = await timed(acquire(session, "k"));
    expect((again.error as { code: string }).code).toBe("BACKEND_NOT_CONNECTED");
    await redisServer.thaw();
    await recovers("SIGCONT", session);
  });

  test("half-open: given up after a second, works within a second of the heal", async ({
    server,
    proxyTo,
    inService,
  }) => {
    const redisServer = await server();
    const proxy = await proxyTo(redisServer);
    const session = await inService(proxy, { durable: true });
    for (const direction of ["both", "to-client", "to-server"] as const) {
      proxy.cut(direction);
      const { ms, error } = await timed(acquire(session, direction));
      checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
      expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
      await new Promise((resolve) => setTimeout(resolve, 300));
      proxy.heal();
      await recovers(`a half-open connection (${direction})`, session);
    }
  });

  test("a reset with a request in flight: effect unknown, works at once afterwards", async ({
    server,
    proxyTo,
    inService,
    after,
  }) => {
    const redisServer = await server();
    const proxy = await proxyTo(redisServer);
    const session = await inService(proxy, { durable: true });
    await grant(session, "its script is there");
    proxy.cut("to-client");
    const pending = acquire(session, "k");
    after(() => pending.catch(() => undefined));
    await eventually("executed", 1_000, async () => (await redisServer.cli("EXISTS", "{ql:k}:l")) === 1);
    proxy.drop();
    const fault = await expectFault(pending, "BACKEND_DISCONNECTED", /may still act.*ECONNRESET/);
    expect(fault.effect).toBe("unknown");
    proxy.heal();
    await recovers("a reset", session);
    expect((await acquire(session, "k", { owner: BOB })).kind, "it was executed").toBe("held");
    expect(await session.release("k", ALICE)).toBe("released");
  });

  test("kill -9 with requests in flight: each is told, none is sent again", async ({ server, inService }) => {
    const redisServer = await server({ appendOnly: "always" });
    const session = await inService(redisServer, { durable: true });
    await redisServer.freeze();
    const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(session, `k${i}`)));
    // Into the socket before the kill.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await redisServer.kill();
    for (const { error, ms } of await Promise.all(pending)) {
      checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
      expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS);
    }
    await expectFault(acquire(session, "k"), "BACKEND_NOT_CONNECTED");
    await redisServer.restart({ empty: false });
    await recovers("kill -9 and a restart", session);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await redisServer.cli("KEYS", "*:l"), "what was in flight came to nothing").toEqual([]);
  });

  test("slow answers arrive all the same, in any number", async ({ server, proxyTo, inService }) => {
    const proxy = await proxyTo(await server());
    const session = await inService(proxy);
    proxy.delayMs = 100;
    const { ms, value } = await timed(
      Promise.all(Array.from({ length: 200 }, (_, i) => acquire(session, `k${i}`))),
    );
    expect(new Set(value?.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
    // One round trip for the script that is not there yet, one with it.
    expect(ms).toBeGreaterThan(390);
    expect(ms).toBeLessThan(590);
  });
});

/** The line of `docs/adapters/redis.md`, for a user `locks`. */
/** What calls to waiters need; without it they ask now and then. */
const LINE = "&ql:i:* +subscribe +publish +zadd +zrem +zpopmin +zrange";
const LEAST = "on >secret ~{ql:* ~ql:mark +evalsha +eval +info +get +set +del +pttl +pexpire +time";
const COMMANDS = ["evalsha", "eval", "info", "get", "set", "del", "pttl", "pexpire", "time"];

for (const name of SERVERS) {
  await describeWithServer(name, "the least ACL", (serverName) => {
    const as = { username: "locks", password: "secret" };

    test("suffices for everything, and what it lacks is not needed", async ({ server, client, session }) => {
      const redisServer = await server({ server: serverName, aclLines: [`user locks ${LEAST} ${LINE}`] });
      const opened = session(redis(client(redisServer, as)));
      await useAll(opened, redisServer.cli);
      expect(await isCalled(opened), "somebody who waits is called").toBe(true);
      const denied = (await redisServer.cli("ACL", "LOG")) as unknown[][];
      const ofOurs = denied.filter((entry) => !String(entry).includes("client|setinfo"));
      expect(ofOurs, "denied, but for what the client does as a courtesy").toEqual([]);
    });

    test("without the rights for the line everything works, and nobody is called", async ({
      server,
      client,
      session,
    }) => {
      const redisServer = await server({ server: serverName, aclLines: [`user locks ${LEAST}`] });
      const opened = session(redis(client(redisServer, as)));
      await useAll(opened, redisServer.cli);
      expect(await isCalled(opened)).toBe(false);
    });

    test("suffices for a stock client too", async ({ server, stockClient, session }) => {
      const redisServer = await server({ server: serverName, aclLines: [`user locks ${LEAST}`] });
      await useAll(session(redis(stockClient(redisServer, as))), redisServer.cli);
    });

    for (const removed of COMMANDS) {
      test(`without ${removed} something fails, and says so`, async ({ server, client, session }) => {
        const redisServer = await server({
          server: serverName,
          aclLines: [`user locks ${LEAST.replace(` +${removed}`, "")}`],
        });
        const opened = session(redis(client(redisServer, as)));
        const { error } = await timed(useAll(opened, redisServer.cli));
        const code = ["info", "get", "set", "time", "eval", "evalsha"].includes(removed)
          ? "BACKEND_MARK_UNREADABLE"
          : "BACKEND_NO_PERMISSION";
        checkFault(error, code, /ACL|permission/);
      });
    }

    for (const removed of ["~{ql:*", "~ql:mark"]) {
      test(`without the key pattern ${removed} it fails, and says so`, async ({
        server,
        client,
        session,
      }) => {
        const redisServer = await server({
          server: serverName,
          aclLines: [`user locks ${LEAST.replace(` ${removed}`, "")}`],
        });
        const { error } = await timed(useAll(session(redis(client(redisServer, as))), redisServer.cli));
        checkFault(error, removed === "~ql:mark" ? "BACKEND_MARK_UNREADABLE" : "BACKEND_NO_PERMISSION");
      });
    }

    test("without INFO a durable backend works, and so does the guard off", async ({
      server,
      client,
      session,
    }) => {
      const acl = LEAST.replace(" +info", "");
      const redisServer = await server({ server: serverName, aclLines: [`user locks ${acl}`] });
      await useAll(session(redis(client(redisServer, as), { durable: true })), redisServer.cli);
      await redisServer.cli("FLUSHALL");
      const opened = session(redis(client(redisServer, as)), { restartGuard: "off" });
      await grant(opened, "k");
    });

    test("INFO that is taken away later stops a volatile backend", async ({ server, client, session }) => {
      const redisServer = await server({ server: serverName, aclLines: [`user locks ${LEAST}`] });
      const opened = session(redis(client(redisServer, as)));
      await useAll(opened, redisServer.cli);
      await redisServer.cli("ACL", "SETUSER", "locks", "-info");
      await eventually("noticed", 2_500, async () =>
        expectFault(acquire(opened, "k"), "BACKEND_MARK_UNREADABLE", /Allow INFO/),
      );
    });
  });
}

/** Every operation there is, the rare branches too. */
/** Whether a waiter hears of a release, within a second. */
async function isCalled(session: BackendSession): Promise<boolean> {
  let called = false;
  const stop = session.watch?.(() => {
    called = true;
  });
  const ticket = { id: "1", since: 1n, waitsMs: 1_000 };
  for (let tries = 0; tries < 20 && !called; tries++) {
    const key = `line-${tries}`;
    await acquire(session, key);
    await session.acquire({ key, owner: BOB, ttlMs: 1_000, proposal: proposal(), ticket });
    await session.release(key, ALICE);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  stop?.();
  return called;
}

async function useAll(
  session: BackendSession,
  cli: (...args: (string | number)[]) => Promise<unknown>,
): Promise<void> {
  const status = await session.status();
  if (status.kind === "quarantined") {
    await session.join(status.identity.incarnation);
    await session.bootstrap(status.identity.incarnation);
  }
  expect((await session.status()).kind).toBe("in-service");
  await cli("SCRIPT", "FLUSH");
  const fence = await grant(session, "k");
  expect((await acquire(session, "k", { owner: BOB })).kind).toBe("held");
  expect(await session.raise({ key: "k", owner: ALICE, fence, token: fence })).toBe("raised");
  expect(await session.raise({ key: "k", owner: ALICE, fence, token: fence + 1n })).toBe("raised");
  const extend = { owner: ALICE, ttlMs: 1_900, token: fence + 1n, mayHeal: true };
  expect((await session.extend({ key: "k", ...extend })).kind).toBe("extended");
  expect((await session.extend({ key: "missing", ...extend })).kind).toBe("recreated");
  expect(await session.inspect("k")).toMatchObject({ lock: { owner: ALICE } });
  expect(await session.release("k", ALICE)).toBe("released");
  expect(await session.forceRelease("missing")).toBe(true);
}
