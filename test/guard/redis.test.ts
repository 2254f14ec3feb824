import { Cluster, Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { StaleTokenError } from "../../src/errors.js";
import {
  guardedSet,
  guardScript,
  redisMarkKey,
  redisMarks,
  type GuardedLease,
} from "../../src/guard/redis.js";
import { figure, SERVERS, test } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startCluster, startRedis, type RunningCluster, type RunningRedis } from "../servers/redis-server.ts";
import { HOLDER_COUNT, ODD_KEYS, planOf, runHolders, type Resource, type Write } from "./holders.ts";

/** SET and a record of its order, in one script. */
const WRITE = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])";
const SEVEN_DAYS_MS = 604_800_000;

for (const name of SERVERS) {
  await describeWithServer(name, "guards in Redis", () => {
    let server: RunningRedis;
    let client: Redis;
    beforeAll(async () => {
      server = await startRedis({ server: name });
      client = new Redis({ host: "127.0.0.1", port: server.port });
      client.on("error", () => undefined);
    });
    afterAll(async () => {
      client?.disconnect();
      await server?.stop();
    });

    /** `pause` is where a guard that is two steps is caught between them. */
    type Guarded = (
      on: Redis,
      lease: GuardedLease,
      rest: { readonly keys: readonly [string, string]; readonly pause: () => Promise<void> },
    ) => Promise<unknown>;
    const script = guardScript(WRITE);
    const properly: Guarded = async (on, lease, { keys, pause }) => {
      await pause();
      return script.run(on, lease, { keys, args: [lease.token.toString()] });
    };

    function resource(id: string, close: (client: Redis) => void, write: Guarded = properly): Resource {
      const keys = [`data ${id}`, `history ${id}`] as const;
      const writers: Write[] = Array.from({ length: HOLDER_COUNT }, () => {
        const own = new Redis({ host: "127.0.0.1", port: server.port });
        close(own);
        return async (lease, pauseAt) => {
          await pauseAt("before-guard");
          const pause = async (): Promise<void> => {
            await pauseAt("before-write");
            await pauseAt("before-commit");
          };
          await write(own, lease, { keys, pause });
        };
      });
      return { writers, history: async () => (await client.lrange(keys[1], 0, -1)).map(BigInt) };
    }

    test("of eight holders with fifty pauses, no stale one writes and no current one is refused", async ({
      after,
    }) => {
      const plan = planOf("holders", name === "redis-7" ? 10_000 : 1000);
      const verdict = await runHolders(
        resource("holders", (own) => after(() => own.disconnect())),
        plan,
      );
      figure(`guardScript ${name}`, `${JSON.stringify(verdict)}, seed ${plan.seed}`);
      expect(verdict.violations, `seed ${plan.seed}`).toEqual([]);
      expect(verdict.refused).toBeGreaterThan(50);
    }, 900_000);

    const stale = async (lease: GuardedLease): Promise<unknown> =>
      guardedSet(client, lease, { key: "data", value: "stale" }).then(
        () => undefined,
        (error: unknown) => error,
      );

    test("writes, refuses a stale token and leaves the value alone, lets equal ones pass", async () => {
      await guardedSet(client, { key: "k", token: 34n }, { key: "data", value: "b" });
      const error = await stale({ key: "k", token: 33n });
      expect(error).toBeInstanceOf(StaleTokenError);
      expect(error).toMatchObject({ key: "k", token: 33n, highest: 34n });
      expect(await client.get("data")).toBe("b");
      await guardedSet(
        client,
        { key: "k", token: 34n },
        { key: "data", value: Buffer.from([0, 255]), expireMs: 5000 },
      );
      expect(await client.getBuffer("data")).toEqual(Buffer.from([0, 255]));
      expect(await client.pttl("data")).toBeGreaterThan(4000);
      await guardedSet(client, { key: "k", token: 35n }, { key: "data", value: 5 });
      expect(await client.get("data")).toBe("5");
      expect(await client.pttl("data")).toBe(-1);
    });

    test("keeps a mark for seven days after the last write, or as long as it is told", async () => {
      await guardedSet(client, { key: "lives", token: 1n }, { key: "data", value: "v" });
      expect(await client.pttl(redisMarkKey("lives"))).toBeGreaterThan(SEVEN_DAYS_MS - 60_000);
      await redisMarks(client, { retentionMs: 60_000 }).advance({ key: "lives", token: 2n });
      expect(await client.pttl(redisMarkKey("lives"))).toBeLessThanOrEqual(60_000);
      expect(await client.get(redisMarkKey("lives"))).toBe("2");
    });

    test("a script finds its own KEYS and ARGV, any number of them, and returns what it returns", async () => {
      const echo = guardScript("return {#KEYS, #ARGV, KEYS[1] or '', KEYS[#KEYS] or '', ARGV[#ARGV] or ''}");
      const lease = { key: "echo", token: 1n };
      expect(await echo.run(client, lease)).toEqual([0, 0, "", "", ""]);
      const many = Array.from({ length: 9000 }, (_, i) => `a${i}`);
      expect(await echo.run(client, lease, { keys: ["x", "y"], args: many })).toEqual([
        2,
        9000,
        "x",
        "y",
        "a8999",
      ]);
      expect(await guardScript("return nil").run(client, lease)).toBe(null);
      await expect(guardScript("return redis.error_reply('MINE no')").run(client, lease)).rejects.toThrow(
        "MINE no",
      );
      await expect(guardScript("\n\nerror('here')").run(client, lease)).rejects.toThrow(
        /user_script:3: here/,
      );
      expect(await guardScript("#!lua flags=allow-oom\nreturn 7").run(client, lease)).toBe(7);
    });

    test("a stale script does not run at all", async () => {
      const count = guardScript("return redis.call('INCR', KEYS[1])");
      expect(await count.run(client, { key: "runs", token: 34n }, { keys: ["count"] })).toBe(1);
      await expect(count.run(client, { key: "runs", token: 33n }, { keys: ["count"] })).rejects.toThrow(
        StaleTokenError,
      );
      expect(await client.get("count")).toBe("1");
    });

    test("goes on when the server has forgotten its scripts", async () => {
      await guardedSet(client, { key: "flush", token: 1n }, { key: "data", value: "1" });
      await client.script("FLUSH");
      await guardedSet(client, { key: "flush", token: 1n }, { key: "data", value: "2" });
      expect(await client.get("data")).toBe("2");
    });

    test("a client that dies before the answer leaves both mark and write, or none", async () => {
      for (let i = 1; i <= 20; i++) {
        const own = new Redis({ host: "127.0.0.1", port: server.port, retryStrategy: () => null });
        own.on("error", () => undefined);
        await own.ping();
        const write = guardedSet(own, { key: "dies", token: BigInt(i) }, { key: "dying", value: i });
        if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        own.disconnect();
        await write.catch(() => undefined);
        expect(await client.get("dying")).toBe(await client.get(redisMarkKey("dies")));
      }
    });

    test("keys of every kind are kept apart and exactly", async () => {
      for (const [i, key] of ODD_KEYS.entries()) {
        await guardedSet(client, { key, token: BigInt(1000 - i) }, { key: `data of ${key}`, value: key });
      }
      for (const [i, key] of ODD_KEYS.entries()) {
        expect(await client.get(`data of ${key}`)).toBe(key);
        expect(await client.get(redisMarkKey(key))).toBe(String(1000 - i));
        expect(await stale({ key, token: BigInt(999 - i) })).toMatchObject({ code: "STALE_TOKEN", key });
      }
      expect(new Set(ODD_KEYS.map(redisMarkKey)).size).toBe(ODD_KEYS.length);
      expect(await stale({ key: "x".repeat(513), token: 1n })).toMatchObject({ code: "INVALID_KEY" });
    });

    test("tokens are exact up to 2^63 - 1, and compared as numbers, not as texts", async () => {
      for (const token of [9n, 10n, 99n, 100n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 2n, 2n ** 63n - 1n]) {
        await guardedSet(client, { key: "large", token }, { key: "data", value: "v" });
        expect(await stale({ key: "large", token: token - 1n })).toMatchObject({
          code: "STALE_TOKEN",
          highest: token,
        });
      }
      for (const token of [-1n, 2n ** 63n, 34, "34"]) {
        expect(await stale({ key: "large", token: token as bigint })).toMatchObject({
          code: "INVALID_OPTION",
        });
      }
    });

    test("a mark that is none is refused, with a code", async () => {
      await client.set(redisMarkKey("broken"), "34abc");
      expect(await stale({ key: "broken", token: 35n })).toMatchObject({ code: "MARK_BROKEN" });
      await client.del(redisMarkKey("broken"));
      await client.lpush(redisMarkKey("broken"), "34");
      expect(String(await stale({ key: "broken", token: 35n }))).toContain("WRONGTYPE");
    });

    test("options that make no sense are refused", async () => {
      const lease = { key: "k", token: 99n };
      await expect(guardedSet(client, lease, { key: "d", value: "v", expireMs: 0 })).rejects.toMatchObject({
        code: "INVALID_OPTION",
      });
      expect(() => guardScript(5 as unknown as string)).toThrow(/text of a script/);
      for (const retentionMs of [0, 1.5, Number.POSITIVE_INFINITY]) {
        expect(() => guardScript("return 1", { retentionMs })).toThrow(/retentionMs/);
      }
    });

    describe("the test with eight holders notices a guard that", () => {
      const plain: Guarded = async (on, lease, { keys, pause }) => {
        await pause();
        return on.eval(WRITE, 2, ...keys, lease.token.toString());
      };
      const broken: Readonly<Record<string, Guarded>> = {
        "checks nothing": plain,
        "checks in a step before the write": async (on, lease, rest) => {
          await redisMarks(on).advance(lease);
          return plain(on, lease, rest);
        },
      };
      test.for(Object.entries(broken))("%s", async ([what, write], { after }) => {
        const made = resource(`broken ${what}`, (own) => after(() => own.disconnect()), write);
        const verdict = await runHolders(made, planOf(`broken ${what}`, 100));
        expect(verdict.violations).not.toEqual([]);
      });
    });
  });
}

await describeWithServer("redis-7", "guards in a Redis Cluster", (name) => {
  let cluster: RunningCluster;
  let client: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ server: name, nodes: 3 });
    client = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
    client.on("error", () => undefined);
  });
  afterAll(async () => {
    client?.disconnect();
    await cluster?.stop();
  });

  test("the mark lies in the slot of the key or of its hash tag", async () => {
    for (let i = 0; i < 20; i++) {
      await guardedSet(client, { key: `k${i}`, token: 34n }, { key: `{k${i}}:data`, value: i });
      await guardedSet(client, { key: `a{tag${i}}b`, token: 34n }, { key: `{tag${i}}:data`, value: i });
      await expect(
        guardedSet(client, { key: `k${i}`, token: 33n }, { key: `{k${i}}:data`, value: "stale" }),
      ).rejects.toThrow(StaleTokenError);
    }
  });

  test("data in another slot is refused, with the name that would do", async () => {
    const refused = guardedSet(client, { key: "k", token: 1n }, { key: "elsewhere", value: "v" });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_OPTION" });
    await expect(refused).rejects.toThrow(/\{k\}:/);
    expect(await client.get("elsewhere")).toBe(null);
  });
});
