/** What users pass as a client, and what becomes of it: stock, recommended, ended, Sentinel, Cluster, the same server twice. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster, Redis } from "ioredis";
import { expect } from "vitest";
import { redis, recommendedRedisOptions, type RedisLike } from "../../src/adapters/redis.js";
import { BackendError, NoQuorumError, SameBackendError } from "../../src/errors.js";
import type { LockerOptions } from "../../src/options.js";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startCluster, startSentinel, type RunningRedis } from "../servers/redis-server.ts";
import {
  acquire,
  ALICE,
  checkFault,
  backendsOn,
  BOB,
  eventually,
  expectFault,
  figure,
  grant,
  putInService,
  test,
  timed,
} from "./kit.ts";

const SHORT: Omit<LockerOptions, "backends"> = {
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 2_000,
};

await describeWithServer("redis-7", "a client of the user's own", () => {
  test("stock: left as it is, and used through one duplicate by all lockers", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const three = await servers(3);
    const clients = three.map((server) => stockClient(server));
    const [client] = clients;
    const [redisServer] = three;
    if (client === undefined || redisServer === undefined) throw new Error("no server");
    await Promise.all(clients.map((each) => each.ping()));
    const optionsBefore = { ...client.options };
    const [first, second] = [0, 1].map(() =>
      locker({ ...SHORT, backends: clients.map((each) => redis(each)) }),
    );
    for (const each of [first, second]) await (await each?.acquire("k"))?.release();
    expect(await connections(redisServer), "the user's, and one of the adapter's").toBe(2);
    expect(client.options).toEqual(optionsBefore);
    expect(client.listenerCount("ready") + client.listenerCount("close") + client.listenerCount("end")).toBe(
      0,
    );
    await first?.close();
    expect(await connections(redisServer), "still in use").toBe(2);
    await (await second?.acquire("k"))?.release();
    await second?.close();
    await eventually("the duplicate is closed", 1_000, async () => (await connections(redisServer)) === 1);
    expect(await client.ping()).toBe("PONG");
    const third = locker({ ...SHORT, backends: clients.map((each) => redis(each)) });
    await (await third.acquire("k")).release();
  });

  test("stock, and nobody listens: the first error says why", async ({ stockClient, session }) => {
    const opened = session(redis(stockClient({ port: await freePort() })));
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /not connected: connect ECONNREFUSED/);
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /not connected: connect ECONNREFUSED/);
  });

  test("recommended options: used directly, not closed, listeners taken away", async ({
    servers,
    client,
    locker,
  }) => {
    const three = await servers(3);
    const clients = three.map((server) => client(server));
    const [redisServer] = three;
    const [own] = clients;
    if (own === undefined || redisServer === undefined) throw new Error("no server");
    const one = locker({ ...SHORT, backends: clients.map((each) => redis(each)) });
    await (await one.acquire("k")).release();
    expect(await connections(redisServer)).toBe(1);
    await one.close();
    expect(own.listenerCount("ready") + own.listenerCount("close") + own.listenerCount("end")).toBe(0);
    expect(await own.ping()).toBe("PONG");
  });

  for (const unsafe of [
    { enableOfflineQueue: true },
    { autoResendUnfulfilledCommands: true },
    { maxRetriesPerRequest: 1 },
    { socketTimeout: 0 },
    { enableAutoPipelining: true },
  ]) {
    test(`recommended options but ${JSON.stringify(unsafe)}: a duplicate`, async ({
      server,
      client,
      session,
    }) => {
      const redisServer = await server();
      const own = client(redisServer, unsafe);
      await eventually("connected", 1_000, () => own.ping());
      await session(redis(own)).status();
      expect(await connections(redisServer)).toBe(2);
    });
  }

  test("lazyConnect: connected when the locker needs it", async ({
    server,
    client,
    stockClient,
    session,
  }) => {
    const redisServer = await server();
    expect((await session(redis(client(redisServer, { lazyConnect: true }))).status()).kind).toBe(
      "quarantined",
    );
    const stock = stockClient(redisServer, { lazyConnect: true });
    expect((await session(redis(stock)).status()).kind).toBe("quarantined");
    expect(stock.status, "the user's own is left alone").toBe("wait");
  });

  test("a Unix socket", async ({ server, session, after }) => {
    const redisServer = await server();
    const path = join(redisServer.dir, "socket");
    const named = await server({ args: ["--unixsocket", path] });
    const own = new Redis({ path, ...recommendedRedisOptions() });
    after(() => own.disconnect());
    const backend = redis(own);
    expect(backend.name).toBe(path);
    expect((await session(backend).status()).identity.serverId).toMatch(/^[0-9a-f]{40}$/);
    expect(String(await named.cli("CLIENT", "LIST"))).toContain(path);
  });

  test("quit by the user meanwhile: refused at once, saying so", async ({
    server,
    client,
    inService,
    session,
  }) => {
    const redisServer = await server();
    const own = client(redisServer);
    const opened = session(redis(own));
    await putInService(opened);
    await quit(own);
    for (const ask of [() => acquire(opened, "k"), () => opened.release("k", ALICE), () => opened.status()]) {
      const { ms, error } = await timed<unknown>(ask());
      checkFault(error, "BACKEND_NOT_CONNECTED", /its client was closed/);
      expect(ms).toBeLessThan(100);
    }
    await inService(redisServer);
  });

  test("quit by the user before: refused at once, saying so", async ({ server, client, session }) => {
    const own = client(await server());
    await eventually("connected", 1_000, () => own.ping());
    await quit(own);
    const { ms, error } = await timed(acquire(session(redis(own)), "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /its client was closed/);
    expect(ms).toBeLessThan(100);
  });

  test("quit by the user, but stock: the duplicate goes on", async ({ server, stockClient, session }) => {
    const own = stockClient(await server());
    const opened = session(redis(own));
    await putInService(opened);
    await own.quit();
    await grant(opened, "k");
  });

  test("quit and connected again: works again", async ({ server, client, session }) => {
    const own = client(await server());
    const opened = session(redis(own), { restartGuard: "off" });
    await grant(opened, "k");
    await quit(own);
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED");
    await own.connect();
    expect((await acquire(opened, "k", { owner: BOB })).kind).toBe("held");
  });

  test("30 lockers on one client: one connection, no listener leak", async ({
    servers,
    stockClient,
    client,
    locker,
  }) => {
    const three = await servers(3);
    for (const clients of [
      three.map((server) => stockClient(server)),
      three.map((server) => client(server)),
    ]) {
      const lockers = Array.from({ length: 30 }, () =>
        locker({ ...SHORT, backends: clients.map((each) => redis(each)) }),
      );
      await Promise.all(lockers.map(async (each, index) => (await each.acquire(`k${index}`)).release()));
      await Promise.all(lockers.map((each) => each.close()));
    }
  });

  test("no client at all, or another one, is refused by name", () => {
    const wrong = [undefined, null, {}, "redis://127.0.0.1", { evalsha: () => undefined }];
    for (const each of wrong) {
      expect(() => redis(each as unknown as RedisLike)).toThrow(
        /option redis\(client\) must be an ioredis client/,
      );
    }
  });
});

await describeWithServer("redis-7", "a process with a locker", () => {
  for (const how of ["stock", "recommended", "unreachable"]) {
    test(`ends by itself after close() (${how})`, async ({ servers }) => {
      const three = await servers(3);
      if (how === "unreachable") await Promise.all(three.map((server) => server.kill()));
      const program = fileURLToPath(new URL("close-process.mjs", import.meta.url));
      const child = fork(program, [how, ...three.map(({ port }) => String(port))], {
        stdio: ["ignore", "pipe", "pipe", "ipc"],
      });
      let said = "";
      for (const stream of [child.stdout, child.stderr])
        stream?.on("data", (bytes: Buffer) => (said += bytes.toString()));
      child.disconnect();
      const { ms, value } = await timed(new Promise((resolve) => child.on("exit", resolve)));
      expect([value, said.trim()]).toEqual([
        0,
        how === "unreachable" ? "NO_QUORUM, closed" : "token, closed",
      ]);
      // A client that lost its server keeps a stock ioredis waiting for two seconds, whatever a locker does.
      expect(ms).toBeLessThan(how === "unreachable" ? 8_000 : 5_000);
    });
  }
});

await describeWithServer("redis-7", "the same server twice", () => {
  const ways: Record<string, (server: RunningRedis) => [Redis, Redis, string?]> = {
    "by two names of the host": (server) => [
      at(server, { host: "127.0.0.1" }),
      at(server, { host: "localhost" }),
    ],
    "with two prefixes": (server) => [at(server, {}), at(server, {}), "other"],
    "with two databases": (server) => [at(server, { db: 0 }), at(server, { db: 1 })],
    "with two key prefixes": (server) => [at(server, { keyPrefix: "a:" }), at(server, { keyPrefix: "b:" })],
  };
  for (const [how, make] of Object.entries(ways)) {
    test(`${how}: SAME_BACKEND, and it counts once`, async ({ servers, locker, after }) => {
      const [twice, once] = await servers(2);
      if (twice === undefined || once === undefined) throw new Error("no server");
      const [first, second, prefix = "ql"] = make(twice);
      const third = at(once, {});
      for (const each of [first, second, third]) after(() => each.disconnect());
      const backends = [
        redis(first, { name: "first" }),
        redis(second, { name: "second", prefix }),
        redis(third, { name: "third" }),
      ];
      const one = locker({ ...SHORT, backends });
      const { error } = await timed(one.acquire("k"));
      expect(error).toBeInstanceOf(SameBackendError);
      expect((error as SameBackendError).message).toMatch(/first and second are one and the same server/);
      // Whatever was granted before both had answered is given back.
      await eventually(
        "nothing is held",
        2_000,
        async () => ((await twice.cli("KEYS", "*:l")) as unknown[]).length === 0,
      );
    });
  }
});

await describeWithServer("redis-7", "a Sentinel group", () => {
  test.concurrent(
    "the lock works through Sentinel; after a failover the backend is quarantined",
    async ({ session, after }) => {
      const group = await startSentinel();
      after(() => group.stop());
      const own = new Redis({
        sentinels: [{ host: "127.0.0.1", port: group.sentinel.port }],
        name: group.masterName,
      });
      own.on("error", () => undefined);
      after(() => own.disconnect());
      const backend = redis(own);
      expect(backend.name).toBe(`sentinel:${group.masterName}`);
      const opened = session(backend);
      await putInService(opened);
      const before = await opened.status();
      const fence = await grant(opened, "k", { ttlMs: 2_000 });
      await eventually(
        "the replica has the lock",
        1_000,
        async () => (await group.replica.cli("EXISTS", "{ql:k}:l")) === 1,
      );

      // While it fails over, requests fail in time, and none hangs.
      const outcomes: string[] = [];
      let promoted = false;
      await group.master.kill();
      const from = performance.now();
      while (!promoted && performance.now() - from < 15_000) {
        const { ms, error, value } = await timed(opened.status());
        expect(ms).toBeLessThan(3_000);
        outcomes.push(error instanceof BackendError ? error.code : (value?.kind ?? "?"));
        promoted = error === undefined;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(outcomes.at(-1)).toBe("quarantined");
      const after_ = await opened.status();
      expect(after_).toMatchObject({ kind: "quarantined", joined: true });
      expect(after_.identity.serverId).not.toBe(before.identity.serverId);
      expect((await acquire(opened, "k2")).kind).toBe("quarantined");
      expect((await opened.inspect("k")).counter, "the counter came along").toBe(fence);
    },
  );

  test.concurrent("no Sentinel answers: an error in time, and no hang", async ({ session, after }) => {
    const own = new Redis({ sentinels: [{ host: "127.0.0.1", port: await freePort() }], name: "mymaster" });
    own.on("error", () => undefined);
    after(() => own.disconnect());
    const opened = session(redis(own));
    for (let times = 0; times < 2; times++) {
      const { ms, error } = await timed(acquire(opened, "k"));
      checkFault(error, "BACKEND_NOT_CONNECTED", /All sentinels are unreachable/);
      expect(ms).toBeLessThan(1_000);
    }
  });

  test.concurrent(
    "a recommended client of a Sentinel group, whose role would not be checked, is duplicated",
    async ({ session, after }) => {
      const group = await startSentinel();
      after(() => group.stop());
      const own = new Redis({
        sentinels: [{ host: "127.0.0.1", port: group.sentinel.port }],
        name: group.masterName,
        ...recommendedRedisOptions(),
      });
      own.on("error", () => undefined);
      after(() => own.disconnect());
      await eventually("connected", 2_000, () => own.ping());
      const before = await connections(group.master);
      await session(redis(own)).status();
      expect(await connections(group.master)).toBe(before + 1);
    },
  );
});

await describeWithServer("redis-7", "a Cluster", () => {
  test.concurrent("is refused unless declared durable or the guard is off", async ({ locker, after }) => {
    const own = new Cluster([{ host: "127.0.0.1", port: 1 }], { lazyConnect: true });
    after(() => own.disconnect());
    const { error } = await timed((async () => locker({ ...SHORT, backends: [redis(own)] }))());
    checkFault(error, "BACKEND_MARK_UNREADABLE", /durable: true.*restartGuard: "off"/);
  });

  test.concurrent(
    "of three nodes works when durable, keys of a lock in one slot, also odd ones",
    async ({ session, after }) => {
      const cluster = await startCluster({ nodes: 3, appendOnly: "always" });
      after(() => cluster.stop());
      const [node] = cluster.nodes;
      const own = new Cluster([{ host: "127.0.0.1", port: node?.port ?? 0 }]);
      own.on("error", () => undefined);
      after(() => own.disconnect());
      const opened = session(redis(own, { durable: true }));
      expect((await opened.status()).kind).toBe("in-service");
      const keys = [
        "}",
        "{",
        "}{",
        "{}",
        "{a}b",
        "a}:l",
        "a",
        ...Array.from({ length: 30 }, (_, i) => `key-${i}`),
      ];
      for (const key of keys) {
        const fence = await grant(opened, key, { ttlMs: 2_000 });
        expect((await acquire(opened, key, { owner: BOB })).kind, key).toBe("held");
        expect((await opened.inspect(key)).lock).toMatchObject({ owner: ALICE, fence });
        const extend = { key, owner: ALICE, ttlMs: 2_000, token: fence, mayHeal: false };
        expect((await opened.extend(extend)).kind).toBe("extended");
        expect(await opened.raise({ key, owner: ALICE, fence, token: fence + 1n })).toBe("raised");
      }
      const perNode = await Promise.all(cluster.nodes.map(async (each) => Number(await each.cli("DBSIZE"))));
      expect(Math.min(...perNode), "all three are used").toBeGreaterThan(0);
      expect(
        perNode.reduce((sum, each) => sum + each),
        "no mark",
      ).toBe(2 * keys.length);
      for (const key of keys) expect(await opened.release(key, ALICE)).toBe("released");
      for (const each of cluster.nodes) await each.cli("SCRIPT", "FLUSH");
      for (const key of keys) await grant(opened, key);
    },
  );

  test.concurrent(
    "a node that dies fails its keys in time, and works again after its restart",
    async ({ session, after }) => {
      const cluster = await startCluster({
        nodes: 3,
        appendOnly: "always",
        args: ["--cluster-require-full-coverage", "no"],
      });
      after(() => cluster.stop());
      const own = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
      own.on("error", () => undefined);
      after(() => own.disconnect());
      const opened = session(redis(own, { durable: true }));
      const keys = Array.from({ length: 12 }, (_, i) => `key-${i}`);
      for (const key of keys) await grant(opened, key, { ttlMs: 2_000 });
      await cluster.nodes[1]?.kill();
      const during = await Promise.all(keys.map((key) => timed(acquire(opened, key, { owner: BOB }))));
      expect(during.filter(({ error }) => error !== undefined).length).toBeGreaterThan(0);
      for (const { ms, error } of during) {
        expect(ms).toBeLessThan(2_500);
        if (error !== undefined) expect(error).toBeInstanceOf(BackendError);
      }
      await cluster.nodes[1]?.restart({ empty: false });
      const ms = await eventually("all keys again", 5_000, async () => {
        for (const key of keys) await acquire(opened, key, { owner: BOB });
      });
      // A master waits two seconds before it believes itself to be one again.
      figure("a Cluster's keys again after a node's restart", `${ms.toFixed(0)} ms`);
    },
  );

  test.concurrent("a locker over a Cluster and two servers", async ({ servers, client, locker, after }) => {
    const cluster = await startCluster({ nodes: 3, appendOnly: "always" });
    after(() => cluster.stop());
    const own = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    own.on("error", () => undefined);
    after(() => own.disconnect());
    const two = await servers(2, { appendOnly: "always" });
    const one = locker({
      ...SHORT,
      backends: [redis(own, { durable: true }), ...backendsOn(two, client, { durable: true })],
    });
    const lease = await one.acquire("k", { waitMs: 6_000 });
    expect(lease.token).toBeGreaterThan(0n);
    expect(await lease.release()).toBe("released");
  });
});

await describeWithServer("redis-7", "close()", () => {
  test("with a server that hangs is bounded, and leaves no connection", async ({
    servers,
    stockClient,
    locker,
  }) => {
    const three = await servers(3);
    const one = locker({ ...SHORT, backends: three.map((server) => redis(stockClient(server))) });
    await (await one.acquire("k")).release();
    await three[0]?.freeze();
    const { error } = await timed(one.acquire("k2", { waitMs: 0 }).then((lease) => lease.release()));
    expect(error === undefined || error instanceof NoQuorumError).toBe(true);
    const { ms } = await timed(one.close());
    expect(ms).toBeLessThan(1_500);
    await three[0]?.thaw();
    for (const each of three) await eventually("closed", 2_000, async () => (await connections(each)) === 1);
  });
});

function at(server: RunningRedis, options: object): Redis {
  const client = new Redis({
    host: "127.0.0.1",
    port: server.port,
    ...recommendedRedisOptions(),
    ...options,
  });
  client.on("error", () => undefined);
  return client;
}

async function quit(client: Redis): Promise<void> {
  await client.quit();
  await eventually("ended", 1_000, async () => client.status === "end");
}

/** Connections of clients, without the one that asks. */
async function connections(server: RunningRedis): Promise<number> {
  const list = String(await server.cli("CLIENT", "LIST", "TYPE", "NORMAL"));
  return list.trim().split("\n").length - 1;
}
