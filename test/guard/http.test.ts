/* oxlint-disable unicorn/no-thenable -- a foreign promise is among what is tested */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import fastify from "fastify";
import { Redis } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test as plainTest } from "vitest";
import { StaleTokenError } from "../../src/errors.js";
import {
  answer,
  createHttpGuard,
  fencingHeaders,
  fencingOf,
  memoryMarks,
  problemOf,
  type GuardedLease,
  type HttpGuardOptions,
  type MarkStore,
} from "../../src/guard/http.js";
import { guardPostgres, postgresMarks, postgresMarksSchema } from "../../src/guard/postgres.js";
import { redisMarks } from "../../src/guard/redis.js";
import { figure } from "../redis/kit.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis, type RunningRedis } from "../servers/redis-server.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";
import { HOLDER_COUNT, ODD_KEYS, planOf, runHolders, type Write } from "./holders.ts";

/** Answers a request that the guard let through. */
type Handler = (lease: GuardedLease | undefined, request: IncomingMessage) => Promise<string>;

interface Running {
  readonly url: string;
  close(): Promise<void>;
}

type Start = (options: HttpGuardOptions, handler: Handler) => Promise<Running>;

async function listening(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Running> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const FRAMEWORKS: Readonly<Record<string, Start>> = {
  "node:http": (options, handler) => {
    const guard = createHttpGuard(options);
    return listening((request, response) => {
      guard.middleware(request, response, (error) => void respond(error));
      async function respond(error: unknown): Promise<void> {
        try {
          if (error !== undefined) throw error as Error;
          response.end(await handler(fencingOf(request), request));
        } catch (reason) {
          const problem = problemOf(reason);
          if (problem !== undefined) return answer(response, problem);
          response.statusCode = 500;
          response.end();
        }
      }
    });
  },

  express: (options, handler) => {
    const app = express();
    app.use(createHttpGuard(options).middleware);
    app.use((request, response, next) => {
      handler(fencingOf(request), request).then((text) => response.end(text), next);
    });
    app.use(
      (
        error: unknown,
        _request: express.Request,
        response: express.Response,
        _next: express.NextFunction,
      ) => {
        const problem = problemOf(error);
        if (problem !== undefined) answer(response, problem);
        else response.status(500).end();
      },
    );
    return listening(app);
  },

  fastify: async (options, handler) => {
    const app = fastify();
    app.addHook("onRequest", createHttpGuard(options).onRequest);
    app.setErrorHandler(async (error, _request, reply) => {
      const problem = problemOf(error);
      if (problem === undefined) return reply.code(500).send("");
      return reply
        .code(problem.status)
        .header("content-type", "application/problem+json")
        .send(JSON.stringify(problem));
    });
    app.all("/*", async (request) => handler(fencingOf(request), request.raw));
    return { url: await app.listen({ port: 0, host: "127.0.0.1" }), close: () => app.close() };
  },
};

const test = plainTest.extend<{ close: (running: Running) => Running }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  close: async ({}, use) => {
    const all: Running[] = [];
    await use((running) => {
      all.push(running);
      return running;
    });
    await Promise.all(all.map((each) => each.close()));
  },
});

const put = (url: string, lease: GuardedLease): Promise<Response> =>
  fetch(url, { method: "PUT", headers: { ...fencingHeaders(lease) } });

describe.each(Object.entries(FRAMEWORKS))("the HTTP guard under %s", (_name, start) => {
  test("passes the lease to the handler, refuses a stale token with 412 and says which is the highest", async ({
    close,
  }) => {
    const { url } = close(
      await start({ marks: memoryMarks() }, async (lease) => `${lease?.key} ${lease?.token}`),
    );
    const first = await put(url, { key: "account:7", token: 33n });
    expect([first.status, await first.text()]).toEqual([200, "account:7 33"]);
    expect((await put(url, { key: "account:7", token: 34n })).status).toBe(200);
    expect((await put(url, { key: "account:7", token: 34n })).status).toBe(200);
    const refused = await put(url, { key: "account:7", token: 33n });
    expect(refused.status).toBe(412);
    expect(refused.headers.get("content-type")).toMatch(/^application\/problem\+json\b/);
    expect(await refused.json()).toEqual({
      type: "about:blank",
      status: 412,
      title: "Stale fencing token",
      detail: "a newer holder of the lock has written; this one must stop",
      code: "STALE_TOKEN",
      key: "account:7",
      token: "33",
      highest: "34",
    });
  });

  test("asks for the headers with 428 when they are missing, unless it is told not to", async ({ close }) => {
    const strict = close(await start({ marks: memoryMarks() }, async () => "done"));
    const refused = await fetch(strict.url);
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([
      428,
      "FENCING_MISSING",
    ]);
    const lenient = close(
      await start({ marks: memoryMarks(), required: false }, async (lease) => typeof lease),
    );
    const passed = await fetch(lenient.url);
    expect([passed.status, await passed.text()]).toEqual([200, "undefined"]);
    // Half of them is a mistake, not a request without a lock.
    expect((await fetch(lenient.url, { headers: { "Fencing-Token": "1" } })).status).toBe(400);
  });

  test.for([
    ["k", ""],
    ["k", "-1"],
    ["k", "1.0"],
    ["k", "01"],
    ["k", "0x10"],
    ["k", "1, 2"],
    ["k", " "],
    ["k", "9223372036854775808"],
    ["k", "99999999999999999999999"],
    ["k", undefined],
    [undefined, "1"],
    ["", "1"],
    ["%", "1"],
    ["%ff", "1"],
    ["a b", "1"],
    ["k, k", "1"],
    ["x".repeat(513), "1"],
  ] as const)("calls the key %j with the token %j malformed", async ([key, token], { close }) => {
    const { url } = close(await start({ marks: memoryMarks(), required: false }, async () => "done"));
    const headers = {
      ...(key === undefined ? {} : { "Fencing-Key": key }),
      ...(token === undefined ? {} : { "Fencing-Token": token }),
    };
    const refused = await fetch(url, { headers });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([
      400,
      "FENCING_MALFORMED",
    ]);
  });

  test("refuses a key that does not protect what is written", async ({ close }) => {
    const keyOf = (request: IncomingMessage): string => `account:${request.url?.slice(1)}`;
    const { url } = close(await start({ marks: memoryMarks(), keyOf }, async () => "done"));
    expect((await put(`${url}/7`, { key: "account:7", token: 34n })).status).toBe(200);
    const refused = await put(`${url}/7`, { key: "another", token: 99n });
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([
      400,
      "FENCING_WRONG_KEY",
    ]);
  });

  test("answers a refusal inside the handler the same way", async ({ close }) => {
    const { url } = close(
      await start({ marks: memoryMarks() }, async (lease) => {
        throw new StaleTokenError(lease?.key ?? "", { token: lease?.token ?? 0n, highest: 2n ** 60n });
      }),
    );
    const refused = await put(url, { key: "k", token: 1n });
    expect([refused.status, ((await refused.json()) as { highest: string }).highest]).toEqual([
      412,
      String(2n ** 60n),
    ]);
  });

  test.for([
    [
      "at once",
      {
        advance: () => {
          throw new Error("store down");
        },
      },
    ],
    [
      "later, by a promise of another kind",
      {
        advance: () => ({ then: (_: unknown, no: (error: Error) => void) => no(new Error("down")) }) as never,
      },
    ],
    [
      "later",
      {
        advance: async () => {
          throw new Error("store down");
        },
      },
    ],
  ] as const)("a store that fails %s lets nothing pass", async ([, marks], { close }) => {
    let written = 0;
    const { url } = close(await start({ marks }, async () => String(written++)));
    expect((await put(url, { key: "k", token: 1n })).status).toBe(500);
    expect(written).toBe(0);
  });

  test("carries keys of every kind and tokens up to 2^63 - 1 exactly", async ({ close }) => {
    const seen: unknown[] = [];
    const { url } = close(await start({ marks: memoryMarks() }, async (lease) => String(seen.push(lease))));
    const leases = ODD_KEYS.map((key, i) => ({ key, token: 2n ** 63n - 1n - BigInt(i) }));
    for (const lease of leases) expect((await put(url, lease)).status).toBe(200);
    expect(seen).toEqual(leases);
  });
});

test("headers are made of checked leases only, and a guard of a store", () => {
  expect(() => fencingHeaders({ key: "k", token: 2n ** 63n })).toThrow(/lease.token/);
  expect(() => createHttpGuard({} as HttpGuardOptions)).toThrow(/marks/);
});

/** Eight holders against a server whose handler pauses and then writes by `write`. */
async function holders(options: {
  readonly url: string;
  readonly writesEach: number;
  readonly pauses: Map<string, () => Promise<void>>;
  readonly history: () => Promise<readonly bigint[]>;
}): Promise<Awaited<ReturnType<typeof runHolders>>> {
  let next = 0;
  const write: Write = async (lease, pauseAt) => {
    await pauseAt("before-guard");
    const id = String(next++);
    options.pauses.set(id, async () => {
      await pauseAt("before-write");
      await pauseAt("before-commit");
    });
    const response = await fetch(options.url, {
      method: "PUT",
      headers: { ...fencingHeaders(lease), "X-Id": id },
    });
    const text = await response.text();
    if (response.status === 200) return;
    if (response.status !== 412) throw new Error(`answer ${response.status}: ${text}`);
    const { key, token, highest } = JSON.parse(text) as { key: string; token: string; highest: string };
    throw new StaleTokenError(key, { token: BigInt(token), highest: BigInt(highest) });
  };
  const plan = planOf("over http", options.writesEach);
  const verdict = await runHolders(
    { writers: Array.from({ length: HOLDER_COUNT }, () => write), history: options.history },
    plan,
  );
  return verdict;
}

describe("eight holders with fifty pauses", () => {
  test("write through a handler that guards its write in memory: no stale one, and no current one is refused", async ({
    close,
  }) => {
    const marks = memoryMarks();
    const log: bigint[] = [];
    const pauses = new Map<string, () => Promise<void>>();
    const { url } = close(
      await FRAMEWORKS["node:http"]!({ marks }, async (lease, request) => {
        await pauses.get(String(request.headers["x-id"]))?.();
        if (lease === undefined) throw new Error("no lease");
        await marks.advance(lease);
        log.push(lease.token);
        return "done";
      }),
    );
    const verdict = await holders({ url, writesEach: 150, pauses, history: async () => log });
    figure("createHttpGuard and memoryMarks", JSON.stringify(verdict));
    expect(verdict.violations).toEqual([]);
    expect(verdict.refused).toBeGreaterThan(50);
  }, 900_000);

  test("notice a handler that leaves the check to the middleware and waits before it writes", async ({
    close,
  }) => {
    const log: bigint[] = [];
    const pauses = new Map<string, () => Promise<void>>();
    const { url } = close(
      await FRAMEWORKS["node:http"]!({ marks: memoryMarks() }, async (lease, request) => {
        await pauses.get(String(request.headers["x-id"]))?.();
        log.push(lease?.token ?? 0n);
        return "done";
      }),
    );
    const verdict = await holders({ url, writesEach: 100, pauses, history: async () => log });
    expect(verdict.violations).not.toEqual([]);
  }, 900_000);
});

const advance = (marks: MarkStore, lease: GuardedLease): Promise<void> =>
  Promise.resolve(marks.advance(lease));

await describeWithServer("redis-7", "marks of an HTTP guard in Redis", () => {
  let server: RunningRedis;
  let client: Redis;
  beforeAll(async () => {
    server = await startRedis();
    client = new Redis({ host: "127.0.0.1", port: server.port });
  });
  afterAll(async () => {
    client?.disconnect();
    await server?.stop();
  });

  test("are shared by several servers, and refuse", async ({ close }) => {
    const start = FRAMEWORKS["fastify"]!;
    const [one, two] = [
      close(await start({ marks: redisMarks(client) }, async () => "done")),
      close(await start({ marks: redisMarks(client) }, async () => "done")),
    ];
    expect((await put(one.url, { key: "k", token: 34n })).status).toBe(200);
    expect((await put(two.url, { key: "k", token: 33n })).status).toBe(412);
    expect((await put(two.url, { key: "k", token: 34n })).status).toBe(200);
    await expect(advance(redisMarks(client), { key: "k", token: 33n })).rejects.toMatchObject({
      highest: 34n,
    });
  });
});

await describeWithServer("postgres", "an HTTP guard in front of PostgreSQL", () => {
  let server: RunningSql;
  let pool: pg.Pool;
  beforeAll(async () => {
    server = await startPostgres({ args: ["-c", "fsync=off"] });
    pool = new pg.Pool({ connectionString: server.url, max: 10 });
    await pool.query(postgresMarksSchema());
    await pool.query("CREATE TABLE history (n bigserial PRIMARY KEY, token bigint NOT NULL)");
  });
  afterAll(async () => {
    await pool?.end();
    await server?.stop();
  });

  test("with the write guarded in its transaction: of eight holders no stale one writes", async ({
    close,
  }) => {
    const pauses = new Map<string, () => Promise<void>>();
    const { url } = close(
      await FRAMEWORKS["express"]!({ marks: postgresMarks(pool) }, async (lease, request) => {
        if (lease === undefined) throw new Error("no lease");
        const client = await pool.connect();
        try {
          await client.query("BEGIN");
          await guardPostgres(client, lease);
          await pauses.get(String(request.headers["x-id"]))?.();
          await client.query("INSERT INTO history (token) VALUES ($1)", [lease.token.toString()]);
          await client.query("COMMIT");
        } catch (error) {
          await client.query("ROLLBACK");
          throw error;
        } finally {
          client.release();
        }
        return "done";
      }),
    );
    const history = async (): Promise<bigint[]> => {
      const { rows } = await pool.query("SELECT token FROM history ORDER BY n");
      return rows.map(({ token }) => BigInt(token));
    };
    const verdict = await holders({ url, writesEach: 50, pauses, history });
    figure("createHttpGuard, postgresMarks and guardPostgres", JSON.stringify(verdict));
    expect(verdict.violations).toEqual([]);
    expect(verdict.refused).toBeGreaterThan(20);
  }, 900_000);
});
