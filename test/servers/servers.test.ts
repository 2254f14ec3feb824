import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test as plainTest, vi } from "vitest";
import { resolveServer, type ServerName } from "../../scripts/servers.mjs";
import { freePort } from "./free-port.ts";
import { signal } from "./guarded-process.mjs";
import { describeWithServer } from "./needs.ts";
import {
  ReplyError,
  respCall,
  startCluster,
  startRedis,
  startRedises,
  startReplica,
  startSentinel,
  type RedisOptions,
  type RunningRedis,
} from "./redis-server.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { waitUntil } from "./wait-until.ts";

interface Tools {
  /** Stops it when the test is over, however it ends. */
  stopAfter: <T extends Stoppable>(server: T) => T;
  redisOf: (server: ServerName, options?: RedisOptions) => Promise<RunningRedis>;
  proxyTo: (redis: RunningRedis) => Promise<TcpProxy>;
}

interface Stoppable {
  stop(): Promise<void>;
}

// A fixture and not afterEach, which could not tell the servers of concurrent tests apart.
const test = plainTest.extend<Tools>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  stopAfter: async ({}, use) => {
    const started: Stoppable[] = [];
    await use((server) => {
      started.push(server);
      return server;
    });
    await Promise.all(started.map((server) => server.stop()));
  },
  redisOf: async ({ stopAfter }, use) => {
    await use(async (server, options = {}) => stopAfter(await startRedis({ server, ...options })));
  },
  proxyTo: async ({ stopAfter }, use) => {
    await use(async (redis) => {
      const proxy = await startTcpProxy({ targetPort: redis.port });
      stopAfter({ stop: () => proxy.close() });
      return proxy;
    });
  },
});

const productOf = {
  "redis-7": /^redis_version:7\./m,
  "redis-8": /^redis_version:8\./m,
  "valkey-8": /^valkey_version:8\./m,
};

for (const name of ["redis-7", "redis-8", "valkey-8"] as const) {
  await describeWithServer(name, "a server", (server) => {
    test.concurrent("answers, and is the product and version it is called by", async ({ redisOf }) => {
      const redis = await redisOf(server);
      expect(await redis.cli("PING")).toBe("PONG");
      const info = String(await redis.cli("INFO", "server"));
      expect(info).toMatch(productOf[name]);
      expect(info).toContain(redis.version);
      expect(info).toContain(`tcp_port:${redis.port}`);
    });

    test.concurrent(
      "answers nothing while frozen, and answers what it got meanwhile once thawed",
      async ({ redisOf }) => {
        const redis = await redisOf(server);
        await redis.freeze();
        await expect(respCall({ port: redis.port, timeoutMs: 200 }, ["SET", "ghost", "1"])).rejects.toThrow(
          "no reply within 200 ms",
        );
        await redis.thaw();
        expect(await redis.cli("GET", "ghost")).toBe("1");
      },
    );

    test.concurrent("forgets everything over kill and restart, and keeps its port", async ({ redisOf }) => {
      const redis = await redisOf(server);
      const pid = redis.pid;
      await redis.cli("SET", "k", "v");
      await redis.kill();
      expect(signal(pid, "SIGCONT")).toBe(false);
      await expect(redis.cli("GET", "k")).rejects.toThrow("ECONNREFUSED");
      await redis.restart({ empty: true });
      expect(await redis.cli("GET", "k")).toBe(null);
      expect(redis.pid).not.toBe(pid);
    });

    test.concurrent(
      "keeps what the append-only file has over kill and restart, unless it is emptied",
      async ({ redisOf }) => {
        const redis = await redisOf(server, { appendOnly: "always" });
        await redis.cli("SET", "k", "v");
        await redis.kill();
        await redis.restart({ empty: false });
        expect(await redis.cli("GET", "k")).toBe("v");
        await redis.restart({ empty: true });
        expect(await redis.cli("GET", "k")).toBe(null);
      },
    );

    test.concurrent("follows a master and is read-only", async ({ stopAfter, redisOf }) => {
      const master = await redisOf(server);
      await master.cli("SET", "k", "v");
      const replica = stopAfter(await startReplica(master));
      expect(await replica.cli("GET", "k")).toBe("v");
      await expect(replica.cli("SET", "k", "w")).rejects.toThrow("READONLY");
    });

    test.concurrent("serves all slots as a cluster of one", async ({ stopAfter }) => {
      const cluster = stopAfter(await startCluster({ server }));
      const [node] = cluster.nodes;
      expect(await node?.cli("SET", "k", "v")).toBe("OK");
    });
  });
}

await describeWithServer("redis-7", "the harness", (server) => {
  test.concurrent("starts several servers that share nothing", async ({ stopAfter }) => {
    const all = await startRedises(3, { server });
    all.forEach(stopAfter);
    await all[0]?.cli("SET", "k", "v");
    expect(await Promise.all(all.map((redis) => redis.cli("GET", "k")))).toEqual(["v", null, null]);
    expect(new Set(all.map((redis) => redis.port)).size).toBe(3);
  });

  test.concurrent("says so when the port it was told is taken", async ({ redisOf }) => {
    const redis = await redisOf(server);
    await expect(startRedis({ server, port: redis.port })).rejects.toThrow(`port ${redis.port} is taken`);
  });

  test.concurrent("says what the server said when it does not start", async () => {
    await expect(startRedis({ server, args: ["--no-such-option", "1"] })).rejects.toThrow("no-such-option");
  });

  test.concurrent("guards a server with a password, and its own commands know it", async ({ redisOf }) => {
    const redis = await redisOf(server, { password: 'it\'s "secret"' });
    await expect(respCall({ port: redis.port, timeoutMs: 1000 }, ["PING"])).rejects.toThrow("NOAUTH");
    expect(await redis.cli("PING")).toBe("PONG");
    expect(decodeURIComponent(new URL(redis.url).password)).toBe('it\'s "secret"');
  });

  test.concurrent(
    "sets access rules, and its own commands stay unlimited",
    async ({ stopAfter, redisOf }) => {
      const redis = await redisOf(server, { aclLines: ["user default off", "user reader on >r ~* +get"] });
      const reader = { port: redis.port, timeoutMs: 1000, auth: ["reader", "r"] };
      await redis.cli("SET", "k", "v");
      expect(await respCall(reader, ["GET", "k"])).toBe("v");
      await expect(respCall(reader, ["SET", "k", "w"])).rejects.toThrow(ReplyError);
      const replica = stopAfter(await startReplica(redis));
      expect(await replica.cli("GET", "k")).toBe("v");
    },
  );

  test.concurrent("reads every kind of reply", async ({ redisOf }) => {
    const redis = await redisOf(server);
    const script =
      "return {1, 'two\\r\\n', false, {}, {redis.error_reply('E no')}, redis.status_reply('fine')}";
    expect(await redis.cli("EVAL", script, 0)).toEqual([
      1,
      "two\r\n",
      null,
      [],
      [new ReplyError("E no")],
      "fine",
    ]);
    expect(await redis.cli("EVAL", "return string.rep('é', 300000)", 0)).toBe("é".repeat(300_000));
  });

  test.concurrent("stops a frozen server, twice, and leaves no folder", async ({ redisOf }) => {
    const redis = await redisOf(server);
    await redis.freeze();
    await Promise.all([redis.stop(), redis.stop()]);
    expect(signal(redis.pid, "SIGCONT")).toBe(false);
    expect(existsSync(redis.dir)).toBe(false);
  });

  test.concurrent("restarts a frozen server", async ({ redisOf }) => {
    const redis = await redisOf(server);
    await redis.freeze();
    await redis.restart({ empty: false });
    expect(await redis.cli("PING")).toBe("PONG");
  });

  test.concurrent(
    "leaves no server and no folder when the parent is killed with -9, also when the server is frozen",
    async () => {
      const found = await resolveServer(server);
      // A container's life is its engine's business.
      if ("missing" in found || found.origin === "docker") return;
      const folder = await mkdtemp(join(tmpdir(), "quorum-lock-orphan-"));
      const port = await freePort();
      const script = fileURLToPath(new URL("orphan-parent.mjs", import.meta.url));
      const command = [
        found.command,
        ...found.args,
        "--port",
        String(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        folder,
      ];
      const parent = spawn(process.execPath, [script, folder, ...command], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const pid = Number(await new Promise((resolve) => parent.stdout.once("data", resolve)));
      await waitUntil({ what: "server answers", timeoutMs: 10_000 }, async () => {
        return (await respCall({ port, timeoutMs: 1000 }, ["PING"])) === "PONG";
      });
      expect(String(await respCall({ port, timeoutMs: 1000 }, ["INFO", "server"]))).toContain(
        `process_id:${pid}`,
      );
      signal(pid, "SIGSTOP");
      parent.kill("SIGKILL");
      // Asked of the port and not of the pid: a killed process keeps its pid until whoever inherited it looks.
      await waitUntil({ what: "server gone", timeoutMs: 10_000 }, () => refuses(port));
      await waitUntil({ what: "folder gone", timeoutMs: 10_000 }, async () => !existsSync(folder));
    },
  );
});

await describeWithServer("redis-7", "groups of servers", (server) => {
  test.concurrent(
    "a cluster of three shares the slots and points to the owner",
    async ({ stopAfter }) => {
      const cluster = stopAfter(await startCluster({ server, nodes: 3 }));
      const replies = await Promise.allSettled(cluster.nodes.map((node) => node.cli("SET", "k", "v")));
      const texts = replies
        .map((reply) => (reply.status === "fulfilled" ? reply.value : String(reply.reason)))
        .sort();
      const owner = cluster.nodes[replies.findIndex((reply) => reply.status === "fulfilled")];
      expect(texts).toEqual([
        "OK",
        ...Array.from({ length: 2 }, () => expect.stringContaining(`127.0.0.1:${owner?.port}`)),
      ]);
    },
    60_000,
  );

  test.concurrent(
    "a sentinel names the master, and the replica once the master is dead",
    async ({ stopAfter }) => {
      const { masterName, sentinel, master, replica, stop } = await startSentinel({ server });
      stopAfter({ stop });
      const address = (): Promise<unknown> => sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName);
      expect(await address()).toEqual(["127.0.0.1", String(master.port)]);
      await master.kill();
      await waitUntil({ what: "failover", timeoutMs: 30_000, detail: sentinel.log }, async () => {
        return (
          String(await address()) === `127.0.0.1,${replica.port}` &&
          (await replica.cli("SET", "k", "v")) === "OK"
        );
      });
    },
    60_000,
  );
});

await describeWithServer("redis-7", "a proxy", (server) => {
  test.concurrent(
    "passes bytes, and delays them on both ways by what it is told",
    async ({ redisOf, proxyTo }) => {
      const proxy = await proxyTo(await redisOf(server));
      expect(await respCall({ port: proxy.port, timeoutMs: 1000 }, ["PING"])).toBe("PONG");
      proxy.delayMs = 60;
      const start = performance.now();
      expect(await respCall({ port: proxy.port, timeoutMs: 5000 }, ["PING"])).toBe("PONG");
      expect(performance.now() - start).toBeGreaterThanOrEqual(119);
    },
  );

  test.concurrent(
    "is silent in a cut, closes nothing, and delivers what waited when healed",
    async ({ redisOf, proxyTo }) => {
      const redis = await redisOf(server);
      const proxy = await proxyTo(redis);
      const { socket, heard } = await open(proxy.port);
      proxy.cut();
      socket.write("SET k v\r\n");
      await expect(respCall({ port: proxy.port, timeoutMs: 150 }, ["PING"])).rejects.toThrow("no reply");
      expect(await redis.cli("GET", "k")).toBe(null);
      expect(heard()).toBe("");
      expect(socket.destroyed).toBe(false);
      proxy.heal();
      await vi.waitFor(() => expect(heard()).toBe("+OK\r\n"), 5000);
      expect(await redis.cli("GET", "k")).toBe("v");
    },
  );

  test.concurrent(
    "cut towards the client only, commands are executed and their answers wait",
    async ({ redisOf, proxyTo }) => {
      const redis = await redisOf(server);
      const proxy = await proxyTo(redis);
      const { socket, heard } = await open(proxy.port);
      proxy.cut("to-client");
      socket.write("SET k v\r\n");
      await vi.waitFor(async () => expect(await redis.cli("GET", "k")).toBe("v"), 5000);
      expect(heard()).toBe("");
      proxy.heal();
      await vi.waitFor(() => expect(heard()).toBe("+OK\r\n"), 5000);
    },
  );

  test.concurrent(
    "a client that resets its connection in a cut takes back what it sent; one that closes it does not",
    async ({ redisOf, proxyTo }) => {
      const redis = await redisOf(server);
      const proxy = await proxyTo(redis);
      const resets = await open(proxy.port);
      const closes = await open(proxy.port);
      // Until both have reached the server, a reset would be seen as one of a connection that never was.
      await vi.waitFor(async () => expect(await clientsOf(redis)).toBe(3), 5000);
      proxy.cut("to-server");
      resets.socket.write("SET reset 1\r\n");
      closes.socket.end("SET closed 1\r\n");
      await new Promise((resolve) => setTimeout(resolve, 50));
      resets.socket.resetAndDestroy();
      await new Promise((resolve) => setTimeout(resolve, 50));
      proxy.heal();
      await vi.waitFor(() => expect(proxy.connections).toBe(0), 5000);
      expect(await redis.cli("MGET", "reset", "closed")).toEqual([null, "1"]);
    },
  );

  test.concurrent(
    "drop ends the connections and takes new ones; close refuses them",
    async ({ redisOf, proxyTo }) => {
      const proxy = await proxyTo(await redisOf(server));
      const { socket } = await open(proxy.port);
      const gone = new Promise<unknown>((resolve) => socket.once("error", resolve));
      proxy.drop();
      expect(await gone).toMatchObject({ code: "ECONNRESET" });
      expect(await respCall({ port: proxy.port, timeoutMs: 1000 }, ["PING"])).toBe("PONG");
      await proxy.close();
      await proxy.close();
      await expect(respCall({ port: proxy.port, timeoutMs: 1000 }, ["PING"])).rejects.toThrow("ECONNREFUSED");
    },
  );

  test.concurrent(
    "resets a client whose server is down, and passes to the next server on that port",
    async ({ redisOf, proxyTo }) => {
      const redis = await redisOf(server);
      const proxy = await proxyTo(redis);
      await redis.kill();
      await expect(respCall({ port: proxy.port, timeoutMs: 1000 }, ["PING"])).rejects.toThrow("ECONNRESET");
      await redis.restart({ empty: true });
      expect(await respCall({ port: proxy.port, timeoutMs: 1000 }, ["PING"])).toBe("PONG");
    },
  );
});

async function open(port: number): Promise<{ socket: Socket; heard: () => string }> {
  let text = "";
  const socket = connect(port, "127.0.0.1");
  socket.on("data", (bytes) => (text += bytes.toString()));
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.on("error", () => undefined);
  return { socket, heard: () => text };
}

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(false)).once("error", () => resolve(true));
    socket.once("connect", () => socket.destroy());
  });
}

async function clientsOf(redis: RunningRedis): Promise<number> {
  return String(await redis.cli("CLIENT", "LIST"))
    .trim()
    .split("\n").length;
}
