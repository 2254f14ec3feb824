/** Clients of node-redis (5 and 6): what breaks, what comes back, and what becomes of the user's own client. */
import { createServer } from "node:net";
import type { Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { createClient as createClient5, createCluster as createCluster5 } from "redis-5";
import { expect } from "vitest";
import { redis, type NodeRedisLike } from "../../src/adapters/redis.js";
import type { Backend, BackendSession } from "../../src/backend.js";
import { InvalidOptionError, SameBackendError } from "../../src/errors.js";
import { createLocker } from "../../src/lock/locker.js";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningRedis } from "../servers/redis-server.ts";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  figure,
  grant,
  putInService,
  test,
  timed,
} from "./kit.ts";

interface Settings {
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

const VERSIONS: readonly (readonly [version: string, make: (settings: Settings) => NodeRedisLike])[] = [
  ["6", ({ port, ...more }) => createClient({ socket: { host: "127.0.0.1", port }, ...more })],
  ["5", ({ port, ...more }) => createClient5({ socket: { host: "127.0.0.1", port }, ...more })],
];
const SOCKET_TIMEOUT_MS = 1_000;
const RECOVERY_MS = 1_000;

for (const [version, make] of VERSIONS) {
  const open = async (
    session: (backend: Backend) => BackendSession,
    settings: Settings,
  ): Promise<BackendSession> => {
    const opened = session(redis(make(settings), { durable: true }));
    await putInService(opened);
    return opened;
  };
  const recovers = async (what: string, session: BackendSession): Promise<void> => {
    const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
    figure(`recovery after ${what}, node-redis ${version}`, `${ms.toFixed(0)} ms`);
  };

  await describeWithServer("redis-7", `a connection of node-redis ${version} that breaks`, () => {
    test("SIGSTOP: given up after a second, works within a second of SIGCONT", async ({
      server,
      session,
    }) => {
      const redisServer = await server();
      const opened = await open(session, redisServer);
      await redisServer.freeze();
      const { ms, error } = await timed(acquire(opened, "k"));
      const fault = checkFault(error, "BACKEND_DISCONNECTED", /before the answer.*Socket timeout/);
      expect(fault.effect).toBe("unknown");
      expect(ms).toBeGreaterThan(SOCKET_TIMEOUT_MS - 100);
      expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
      const again = await timed(acquire(opened, "k"));
      expect((again.error as { code: string }).code).toBe("BACKEND_NOT_CONNECTED");
      await redisServer.thaw();
      await recovers("SIGCONT", opened);
    });

    test("half-open: given up after a second, works within a second of the heal", async ({
      server,
      proxyTo,
      session,
    }) => {
      const proxy = await proxyTo(await server());
      const opened = await open(session, proxy);
      for (const direction of ["both", "to-client", "to-server"] as const) {
        proxy.cut(direction);
        const { ms, error } = await timed(acquire(opened, direction));
        checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
        expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
        proxy.heal();
        await recovers(`a half-open connection (${direction})`, opened);
      }
    });

    test("a reset with a request in flight: effect unknown, works at once afterwards", async ({
      server,
      proxyTo,
      session,
      after,
    }) => {
      const redisServer = await server();
      const proxy = await proxyTo(redisServer);
      const opened = await open(session, proxy);
      await grant(opened, "its script is there");
      proxy.cut("to-client");
      const pending = acquire(opened, "k");
      after(() => pending.catch(() => undefined));
      await eventually("executed", 1_000, async () => (await redisServer.cli("EXISTS", "{ql:k}:l")) === 1);
      proxy.drop();
      const fault = await expectFault(pending, "BACKEND_DISCONNECTED", /may still act.*(ECONNRESET|closed)/);
      expect(fault.effect).toBe("unknown");
      proxy.heal();
      await recovers("a reset", opened);
      expect((await acquire(opened, "k", { owner: BOB })).kind, "it was executed").toBe("held");
      expect(await opened.release("k", ALICE)).toBe("released");
    });

    test("kill -9 with requests in flight: each is told, none is sent again", async ({ server, session }) => {
      const redisServer = await server({ appendOnly: "always" });
      const opened = await open(session, redisServer);
      await grant(opened, "kept");
      await redisServer.freeze();
      const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(opened, `k${i}`)));
      await redisServer.kill();
      for (const { error, ms } of await Promise.all(pending)) {
        checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
        expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS);
      }
      await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED");
      await redisServer.restart({ empty: false });
      await recovers("kill -9 and a restart", opened);
      expect(await opened.inspect("kept")).toMatchObject({ lock: { owner: ALICE } });
      expect(await redisServer.cli("KEYS", "{ql:k?}:l"), "what was in flight came to nothing").toEqual([]);
    });

    test("an idle connection is left alone for longer than an answer may take", async ({
      server,
      session,
    }) => {
      const redisServer = await server();
      const opened = await open(session, redisServer);
      const before = await ids(redisServer);
      await new Promise((resolve) => setTimeout(resolve, SOCKET_TIMEOUT_MS + 300));
      await grant(opened, "k");
      expect(await ids(redisServer)).toEqual(before);
    });
  });

  await describeWithServer("redis-7", `what a server refuses a client of node-redis ${version}`, () => {
    test("nobody listens: refused at once, and found when it comes", async ({ server, session }) => {
      const port = await freePort();
      const opened = session(redis(make({ port }), { durable: true }));
      for (const ask of [() => acquire(opened, "k"), () => opened.release("k", ALICE)]) {
        const { ms, error } = await timed<unknown>(ask());
        const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
        expect(fault.effect).toBe("none");
        expect(ms).toBeLessThan(700);
      }
      await server({ port });
      await recovers("a late start", opened);
    });

    test("it accepts and never says anything: an error in time, and no hang", async ({ session, after }) => {
      const deaf = createServer(() => undefined);
      const port = await freePort();
      await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
      after(() => deaf.close());
      const opened = session(redis(make({ port })));
      const { ms, error } = await timed(acquire(opened, "k"));
      // Version 6 has nothing to say before the first request, and is connected until that gets no answer.
      checkFault(error, version === "5" ? "BACKEND_NOT_CONNECTED" : "BACKEND_DISCONNECTED", /Socket timeout/);
      expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
    });

    test("it is no Redis: an error in time", async ({ session, after }) => {
      const other = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      });
      const port = await freePort();
      await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
      after(() => other.close());
      const { ms, error } = await timed(acquire(session(redis(make({ port }))), "k"));
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(NOT_CONNECTED|DISCONNECTED|REFUSED)$/) as unknown,
      });
      expect(ms).toBeLessThan(SOCKET_TIMEOUT_MS + 500);
    });

    test("a wrong password, and none where one is needed; then the right one", async ({
      server,
      session,
    }) => {
      const redisServer = await server({ password: "right" });
      const { port } = redisServer;
      const wrong = session(redis(make({ port, password: "wrong" })));
      const error = await expectFault(acquire(wrong, "k"), "BACKEND_AUTH", /\(WRONGPASS/);
      expect(error.effect).toBe("none");
      const none = session(redis(make({ port })));
      await expectFault(acquire(none, "k"), "BACKEND_AUTH", /it wants a password \(NOAUTH/);
      const right = session(redis(make({ port, password: "right" })));
      expect((await right.status()).kind).toBe("quarantined");
    });

    test("less than the lock needs, by its ACL; out of memory", async ({ server, session }) => {
      const redisServer = await server();
      const { port } = redisServer;
      await redisServer.cli("ACL", "SETUSER", "poor", "on", ">p", "~ql:mark", "+@all");
      const poor = session(redis(make({ port, username: "poor", password: "p" }), { durable: true }));
      await expectFault(acquire(poor, "k"), "BACKEND_NO_PERMISSION", /ACL/);
      const opened = await open(session, redisServer);
      await redisServer.cli("CONFIG", "SET", "maxmemory", "1");
      await expectFault(acquire(opened, "k"), "BACKEND_OUT_OF_MEMORY", /out of memory \(OOM/);
    });
  });

  await describeWithServer("redis-7", `a client of node-redis ${version} of the user's own`, () => {
    test("is left alone, and used by other code beside us; one duplicate for all lockers", async ({
      server,
      locker,
    }) => {
      const redisServer = await server();
      const { port } = redisServer;
      const own = version === "6" ? createClient({ socket: { port } }) : createClient5({ socket: { port } });
      own.on("error", () => undefined);
      await own.connect();
      const optionsBefore = { ...own.options };
      try {
        const backends = [redis(own)];
        const [first, second] = [locker({ backends }), locker({ backends })];
        const work = Promise.all(
          Array.from({ length: 50 }, async (_, i) => {
            await own.set(`theirs:${i}`, `value ${i}`);
            return own.get(`theirs:${i}`);
          }),
        );
        for (const each of [first, second]) await (await each.acquire("k")).release();
        expect(await work).toEqual(Array.from({ length: 50 }, (_, i) => `value ${i}`));
        expect(own.options).toEqual(optionsBefore);
        expect((await ids(redisServer)).length, "the user's, and one of ours").toBe(2);
        await first.close();
        await (await second.acquire("k")).release();
        await second.close();
        await eventually("ours is closed", 1_000, async () => (await ids(redisServer)).length === 1);
        expect(await own.ping()).toBe("PONG");
      } finally {
        own.destroy();
      }
    });

    test("that was never connected just works, and stays as it is", async ({ server, locker }) => {
      const redisServer = await server();
      const own = make(redisServer);
      const one = locker({ backends: [redis(own)] });
      expect(await one.withLock("k", async ({ token }) => token)).toBeGreaterThan(0n);
      expect(own).toMatchObject({ isOpen: false });
    });

    test("close() sends what was asked for before it, and leaves no connection", async ({
      server,
      session,
    }) => {
      const redisServer = await server();
      const opened = await open(session, redisServer);
      // Its script is there.
      await grant(opened, "k");
      await opened.release("k", ALICE);
      await grant(opened, "k");
      const released = opened.release("k", ALICE);
      await opened.close();
      expect(await released).toBe("released");
      await eventually("closed", 1_000, async () => (await ids(redisServer)).length === 0);
    });

    test("close() while it connects leaves no connection either", async ({ server, session, proxyTo }) => {
      const proxy = await proxyTo(await server());
      proxy.cut();
      const opened = session(redis(make(proxy)));
      const asked = acquire(opened, "k");
      await eventually("connecting", 1_000, async () => proxy.connections === 1);
      await opened.close();
      const { error } = await timed(asked);
      expect(String(error)).toMatch(/not connected|Connection is closed/);
      proxy.heal();
      await eventually("closed", 1_000, async () => proxy.connections === 0);
    });

    test("close() in the turn of the first connect leaves no connection either", async ({
      session,
      after,
    }) => {
      const seen = { accepted: 0, closed: 0 };
      const deaf = createServer((socket) => {
        seen.accepted++;
        socket.on("error", () => undefined);
        socket.on("close", () => seen.closed++);
        socket.resume();
      });
      const port = await freePort();
      await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
      after(() => deaf.close());
      await session(redis(make({ port }))).close();
      await eventually("accepted and closed", 1_500, async () => seen.accepted === 1 && seen.closed === 1);
    });

    test("shares locks with ioredis, and is called when one is free", async ({ server, client, locker }) => {
      const redisServer = await server();
      const holder = locker({ backends: [redis(client(redisServer))], retryDelayMsMin: 5_000 });
      const waiter = locker({ backends: [redis(make(redisServer))], retryDelayMsMin: 5_000 });
      const lease = await holder.acquire("k");
      const next = waiter.acquire("k", { waitMs: 8_000 });
      await eventually("in line", 3_000, async () => (await redisServer.cli("EXISTS", "{ql:k}:w")) === 1);
      await eventually("listening", 3_000, async () =>
        String(await redisServer.cli("PUBSUB", "CHANNELS")).includes("ql:i:"),
      );
      expect(await lease.release()).toBe("released");
      const { ms, value } = await timed(next);
      expect(ms, "a call, not the next try").toBeLessThan(1_000);
      expect(value?.token).toBeGreaterThan(lease.token);
    });
  });
}

await describeWithServer("redis-7", "a client of node-redis", () => {
  test("with a keyPrefix locks under it, as one of ioredis does", async ({ server, client, session }) => {
    const redisServer = await server();
    const { port } = redisServer;
    const prefixed = session(redis(createClient({ socket: { port }, keyPrefix: "app:" }), { durable: true }));
    await putInService(prefixed);
    await grant(prefixed, "k");
    expect(await redisServer.cli("EXISTS", "app:{ql:k}:l", "app:{ql:k}:f", "app:ql:mark")).toBe(3);
    const same = session(redis(client(redisServer, { keyPrefix: "app:" }), { durable: true }));
    expect((await acquire(same, "k", { owner: BOB })).kind).toBe("held");
    expect(await prefixed.list({ prefix: "", cursor: undefined, pageSize: 100 })).toMatchObject({
      keys: ["k"],
    });
  });

  test("whose replies are mapped, cached and of protocol 3 is used all the same", async ({
    server,
    session,
  }) => {
    const { port } = await server({ appendOnly: "always" });
    const odd = createClient({
      socket: { port },
      RESP: 3,
      pingInterval: 10,
      clientSideCache: { ttl: 0, maxEntries: 0 },
      commandOptions: { typeMapping: { 36: Buffer } },
    });
    const opened = session(redis(odd, { durable: true }));
    await putInService(opened);
    await grant(opened, "k");
    expect(await opened.inspect("k")).toMatchObject({ lock: { owner: ALICE } });
    expect((await opened.examine()).findings).toContainEqual({
      level: "good",
      topic: "durability",
      text: "durable: appendfsync always",
    });
  });

  test("is the same backend twice", async ({ server }) => {
    const own = createClient({ socket: { port: (await server()).port } });
    const backends = [redis(own, { name: "a" }), redis(own, { name: "b" })];
    expect(() => createLocker({ backends })).toThrow(SameBackendError);
  });

  test("names its server by host, port and database", () => {
    expect(redis(createClient()).name).toBe("localhost:6379");
    expect(redis(createClient({ url: "redis://u:p@db.internal:7000/3" })).name).toBe("db.internal:7000/3");
    expect(redis(createClient5({ url: "redis://db.internal:7000" })).name).toBe("db.internal:7000");
    expect(redis(createClient({ socket: { path: "/run/redis.sock", tls: false } })).name).toBe(
      "/run/redis.sock",
    );
  });

  test("of a Cluster, a Sentinel or a pool is refused, saying which", () => {
    const rootNodes = [{ url: "redis://127.0.0.1:1" }];
    const sentinel = { name: "s", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] };
    for (const [client, words] of [
      [createCluster({ rootNodes }), /createCluster\(\) is not supported/],
      [createCluster5({ rootNodes }), /createCluster\(\) is not supported/],
      [createSentinel(sentinel), /createSentinel\(\) is not supported/],
      [createClientPool(), /createClientPool\(\) is not supported/],
    ] as const) {
      const make = (): Backend => redis(client as unknown as NodeRedisLike);
      expect(make).toThrow(InvalidOptionError);
      expect(make).toThrow(words);
    }
    expect(() => redis(createClient({ keyPrefix: Buffer.from("x") }))).toThrow(/whose keyPrefix is a string/);
    expect(() => redis({} as Redis)).toThrow(/an ioredis client \(Redis or Cluster\) or a node-redis one/);
  });
});

/** The ids of the connections of clients, without the one that asks. */
async function ids(server: RunningRedis): Promise<readonly string[]> {
  const list = String(await server.cli("CLIENT", "LIST", "TYPE", "NORMAL"));
  return list
    .trim()
    .split("\n")
    .filter((line) => !line.includes("cmd=client|list"))
    .map((line) => line.split(" ", 1)[0] ?? "");
}
