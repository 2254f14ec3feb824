// A lock through the URL of every kind of backend, as somebody types it who never did before, and what is said when it does not work.
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, vi } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import { KINDS } from "../../src/config/kinds.ts";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startServer } from "../servers/start-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { test, type RunningCli } from "./running-cli.ts";
import { test as guarded } from "./with-servers.ts";

// The machine may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

/** The server of each kind; those of one process or host need none. */
const SERVER_OF: Readonly<Record<string, ServerName>> = {
  redis: "redis-7",
  postgres: "postgres",
  mysql: "mariadb",
  mongodb: "mongodb",
  etcd: "etcd-3.5",
  consul: "consul",
  zookeeper: "zookeeper",
  memcached: "memcached-1.6.38",
};
const SECRET = "s3cr3t-Zq/@:x";
const ENCODED = encodeURIComponent(SECRET);
const PRINT_TOKEN = ["sh", "-c", 'echo "$QUORUM_LOCK_TOKEN"'];

type Cli = (args: readonly string[], options?: { env?: Record<string, string> }) => RunningCli;

/** The URL with another login. */
function as(login: string, { url }: { readonly url: string }): string {
  return url.replace(/^(\w+:\/\/)(?:[^@/]*@)?/, `$1${login}@`);
}

/** Runs a command under a lock over one backend; the token that it printed. */
async function lockOver(cli: Cli, url: string, env: Record<string, string> = {}): Promise<bigint> {
  const run = cli(["run", "--backend", url, "--key", 'a key/of "some" kind', "--", ...PRINT_TOKEN], { env });
  expect([await run.exited, run.stderr()]).toEqual([0, ""]);
  return BigInt(run.stdout());
}

/** Runs it where it must fail; the one line that it says, which never shows the secret. */
async function refusal(cli: Cli, url: string): Promise<{ readonly code: number; readonly line: string }> {
  const run = cli(["run", "--backend", url, "--key", "k", "--wait", "2s", "--", "true"]);
  const code = await run.exited;
  expect(run.stderr()).toMatch(/^quorum-lock: [^\n]+\n$/);
  for (const secret of [SECRET, ENCODED, "s3cr3t"]) expect(run.stderr()).not.toContain(secret);
  return { code, line: run.stderr().trimEnd() };
}

test("every kind is tried here", () => {
  expect(KINDS.map(({ kind }) => kind).filter((kind) => kind !== "sqlite" && kind !== "noop")).toEqual(
    Object.keys(SERVER_OF),
  );
});

describe("noop:", () => {
  test("runs the command, with a token, and says that nothing is locked", async ({ cli }) => {
    const run = cli(["run", "--backend", "noop:?name=nothing", "--key", "k", "--", ...PRINT_TOKEN]);
    expect(await run.exited).toBe(0);
    expect(BigInt(run.stdout())).toBeGreaterThan(0n);
    expect(run.stderr()).toMatch(
      /^quorum-lock: WARNING: noop: grants everything and excludes nobody: nothing is locked\n$/,
    );
  });

  test("is refused beside any other backend, and by --require-quorum", async ({ cli }) => {
    for (const [args, message] of [
      [
        ["--backend", "noop:", "--backend", "redis://127.0.0.1:1"],
        /without noop, or nothing else: it grants everything/,
      ],
      [["--backend", "noop:", "--require-quorum"], /while noop: locks nothing/],
    ] as const) {
      const run = cli(["run", ...args, "--key", "k", "--", "true"]);
      expect(await run.exited).toBe(64);
      expect(run.stderr().trimEnd().split("\n").at(-1)).toMatch(message);
    }
  });
});

for (const [kind, name] of Object.entries(SERVER_OF)) {
  await describeWithServer(name, `${kind} URLs`, () => {
    let server: RunningServer;
    beforeAll(async () => {
      server = await startServer(name);
    });
    afterAll(() => server.stop());

    test("lock, one after the other with rising tokens, and nothing is printed beside", async ({ cli }) => {
      const first = await lockOver(cli, server.url);
      const second = await lockOver(cli, `${server.url}?name=mine`);
      expect(second).toBeGreaterThan(first);
      const look = cli(["inspect", 'a key/of "some" kind', "--backend", `${server.url}?name=mine`]);
      expect([await look.exited, look.stderr()]).toEqual([0, ""]);
      expect(look.stdout()).toMatch(/is free: nobody has it; the last token was\s\d+\n {2}mine {2}free/);
    });

    test("that nobody answers at: one line, which names the host", async ({ cli }) => {
      const port = await freePort();
      const { code, line } = await refusal(cli, server.url.replace(String(server.port), String(port)));
      expect(code).toBe(69);
      expect(line).toMatch(
        new RegExp(`127\\.0\\.0\\.1:${port}.*check that these servers run and that their URLs name them`),
      );
    });
  });
}

const WRONG = /check user and password in their URLs$/;
const FORBIDDEN = /check what the user in their URLs may do$/;

await describeWithServer("redis-7", "a login at redis://", () => {
  guarded(
    "by a password that is right, wrong or missing, in the URL or as a variable",
    async ({ cli, started }) => {
      const server = await started("redis-7");
      const { url } = server;
      await import("ioredis").then(async ({ Redis }) => {
        const admin = new Redis(url);
        await admin.acl("SETUSER", "locks", "on", `>${SECRET}`, "~*", "&*", "+@all");
        await admin.acl(
          "SETUSER",
          "reader",
          "on",
          `>${SECRET}`,
          "~*",
          "&*",
          "+@all",
          "-@write",
          "-@scripting",
        );
        await admin.acl("SETUSER", "default", "off");
        admin.disconnect();
      });
      await lockOver(cli, as(`locks:${ENCODED}`, server));
      await lockOver(cli, as("locks", server), { QUORUM_LOCK_BACKEND_1_PASSWORD: SECRET });
      expect((await refusal(cli, as(`locks:${ENCODED}x`, server))).line).toMatch(WRONG);
      expect((await refusal(cli, url)).line).toMatch(WRONG);
      expect((await refusal(cli, as(`reader:${ENCODED}`, server))).line).toMatch(
        /ACL forbids what the lock needs \(NOPERM /,
      );
    },
  );
});

await describeWithServer("postgres", "a login at postgres://", () => {
  guarded(
    "by a password that is right or wrong, and of a user who may not use the table",
    async ({ cli, started }) => {
      const server = await started("postgres");
      const { default: pg } = await import("pg");
      const admin = new pg.Client(server.url);
      await admin.connect();
      await admin.query(`CREATE ROLE locks LOGIN PASSWORD '${SECRET}'; CREATE ROLE poor LOGIN`);
      await admin.query("GRANT CREATE, USAGE ON SCHEMA public TO locks");
      await writeFile(
        join(server.dir, "data", "pg_hba.conf"),
        "host all locks all scram-sha-256\nhost all all all trust\n",
      );
      await admin.query("SELECT pg_reload_conf()");
      await admin.end();
      // The new rules are in force some milliseconds later.
      await waitUntil({ what: "the new rules", timeoutMs: 20_000 }, async () => {
        const client = new pg.Client(as("locks:wrong", server));
        return client.connect().then(
          () => client.end().then(() => false),
          () => true,
        );
      });
      await lockOver(cli, as(`locks:${ENCODED}`, server));
      expect((await refusal(cli, as(`locks:${ENCODED}x`, server))).line).toMatch(WRONG);
      const { code, line } = await refusal(cli, as("poor", server));
      expect(code).toBe(69);
      expect(line).toMatch(
        /permission denied for table quorum_lock.*check what the user in their URLs may do$/,
      );
    },
  );
});

await describeWithServer("mariadb", "a login at mysql://", () => {
  guarded(
    "by a password that is right or wrong, and of a user who may not use the table",
    async ({ cli, started }) => {
      const server = await started("mariadb");
      const { createConnection } = await import("mysql2/promise");
      const admin = await createConnection(server.url);
      await admin.query(`CREATE USER locks@'%' IDENTIFIED BY '${SECRET}'`);
      await admin.query("GRANT ALL ON test.* TO locks@'%'");
      await admin.query("CREATE USER poor@'%'");
      await admin.query("CREATE TABLE test.other (id INT)");
      await admin.query("GRANT SELECT ON test.other TO poor@'%'");
      await admin.end();
      await lockOver(cli, as(`locks:${ENCODED}`, server));
      await lockOver(cli, as(`locks:${ENCODED}`, server).replace("mysql:", "mariadb:"));
      expect((await refusal(cli, as(`locks:${ENCODED}x`, server))).line).toMatch(WRONG);
      const { code, line } = await refusal(cli, as("poor", server));
      expect(code).toBe(69);
      expect(line).toMatch(FORBIDDEN);
    },
  );
});

await describeWithServer("etcd-3.5", "a login at etcd://", () => {
  guarded("by a password that is right or wrong, and of a user without rights", async ({ cli, started }) => {
    const server = await started("etcd-3.5");
    const { Etcd3 } = await import("etcd3");
    const admin = new Etcd3({ hosts: server.url.replace("etcd:", "http:") });
    const { auth } = admin;
    await auth.userAdd({ name: "root", password: SECRET });
    await auth.userGrantRole({ user: "root", role: "root" });
    await auth.userAdd({ name: "poor", password: SECRET });
    await auth.authEnable();
    admin.close();
    await lockOver(cli, as(`root:${ENCODED}`, server));
    expect((await refusal(cli, as(`root:${ENCODED}x`, server))).line).toMatch(WRONG);
    expect((await refusal(cli, as(`poor:${ENCODED}`, server))).line).toMatch(FORBIDDEN);
  });
});

await describeWithServer("zookeeper", "a login at zookeeper://", () => {
  guarded("protects what it writes from everybody else", async ({ cli, started }) => {
    const server = await started("zookeeper");
    await lockOver(cli, as(`locks:${ENCODED}`, server));
    await lockOver(cli, as(`locks:${ENCODED}`, server));
    expect((await refusal(cli, server.url)).line).toMatch(FORBIDDEN);
    expect((await refusal(cli, as(`locks:${ENCODED}x`, server))).line).toMatch(FORBIDDEN);
  });
});

describe("a login at memcached://", () => {
  guarded("is sent, and one line tells that it was refused", async ({ cli }) => {
    let sent = "";
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (request) => {
        sent += request.toString("latin1");
        // "Authentication error" to whatever is asked.
        const answer = Buffer.alloc(24);
        answer.writeUInt8(0x81, 0);
        request.copy(answer, 1, 1, 2);
        answer.writeUInt16BE(0x20, 6);
        request.copy(answer, 12, 12, 16);
        socket.write(answer);
      });
    });
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const { line } = await refusal(cli, `memcached://locks:${ENCODED}@127.0.0.1:${port}`);
    server.close();
    expect(line).toMatch(WRONG);
    expect(sent).toContain(`\0locks\0${SECRET}`);
  });
});
