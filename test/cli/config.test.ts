// The command `config`, and the other commands under a configuration from a file and variables.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { expectDocumented } from "./matches-fields.ts";
import { test } from "./running-cli.ts";

vi.setConfig({ testTimeout: 60_000 });

const SECRET = "s3cr3t-Zq";
const YAML = `# locks of the shop
ttl: 5s
maxTtl: 20s
backends:
  - url: redis://app@a
    password: \${REDIS_PASSWORD}
    name: east
  - redis://:${SECRET}@b/3
  - url: etcds://c,d
    tls: { servername: etcd.internal }
`;

test("shows every value with its source, in text and in JSON, and no secret", async ({ cli, folder }) => {
  writeFileSync(join(folder, "quorum-lock.yaml"), YAML);
  const options = {
    cwd: folder,
    env: { REDIS_PASSWORD: SECRET, QUORUM_LOCK_WAIT: "1m", QUORUM_LOCK_CONFIG: "" },
  };
  const text = cli(["config", "--ttl", "7s"], options);
  expect([await text.exited, text.stderr()]).toEqual([0, ""]);
  expect(text.stdout().replace(/ +/g, " ").split("\n")).toEqual([
    "backends[0].url redis://a file quorum-lock.yaml:5:10",
    "backends[0].user app file quorum-lock.yaml:5:10",
    "backends[0].password (not shown) file quorum-lock.yaml:6:15",
    "backends[0].name east file quorum-lock.yaml:7:11",
    "backends[1].url redis://b file quorum-lock.yaml:8:5",
    "backends[1].password (not shown) file quorum-lock.yaml:8:5",
    "backends[1].database 3 file quorum-lock.yaml:8:5",
    "backends[2].url etcds://c,d file quorum-lock.yaml:9:10",
    "backends[2].tls.servername etcd.internal file quorum-lock.yaml:10:24",
    "ttl 7s command line --ttl",
    "wait 1m variable QUORUM_LOCK_WAIT",
    "quorum 2 default",
    "maxTtl 20s file quorum-lock.yaml:3:9",
    "clockSkew 1s default",
    "restartGuard auto default",
    "driftPpm 5000 default",
    "tokenRetention 7d default",
    "retryDelayMin 10ms default",
    "retryDelayMax 250ms default",
    "logLevel no log default",
    "requireQuorum false default",
    "",
  ]);
  const json = cli(["config", "--json"], options);
  expect([await json.exited, json.stderr()]).toEqual([0, ""]);
  const printed = JSON.parse(json.stdout()) as { values: readonly object[] };
  expectDocumented("config", printed);
  expect(printed.values).toContainEqual({
    key: "backends[0].password",
    value: null,
    secret: true,
    source: "file",
    from: "quorum-lock.yaml:6:15",
  });
  expect(text.stdout() + json.stdout()).not.toContain(SECRET);
});

test("takes the file from --config before that of QUORUM_LOCK_CONFIG, and that before the one in the folder", async ({
  cli,
  folder,
}) => {
  for (const [name, ttl] of [
    ["quorum-lock.yaml", "2s"],
    ["b.yaml", "3s"],
    ["c.yaml", "4s"],
  ] as const) {
    writeFileSync(join(folder, name), `ttl: ${ttl}\n`);
  }
  const ttlOf = async (args: readonly string[], file: string): Promise<string | undefined> => {
    const run = cli(["config", ...args], { cwd: folder, env: { QUORUM_LOCK_CONFIG: file } });
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
    return /^ttl +(\S+)/m.exec(run.stdout())?.[1];
  };
  expect(await ttlOf([], "")).toBe("2s");
  expect(await ttlOf([], "b.yaml")).toBe("3s");
  expect(await ttlOf(["--config", "c.yaml"], "b.yaml")).toBe("4s");
});

test("tells a mistake in the file in one line, with its place, and locks nothing", async ({
  cli,
  folder,
}) => {
  writeFileSync(join(folder, "quorum-lock.yaml"), "backends:\n  - redis://a\n  - redis://:hunter2@b:x\n");
  const run = cli(["run", "--key", "k", "--", "echo", "ran"], { cwd: folder });
  expect([await run.exited, run.stdout()]).toEqual([64, ""]);
  expect(run.stderr()).toBe(
    'quorum-lock: quorum-lock.yaml:3:5: backends[1] must be a URL with HOST or HOST:PORT, the port at most 65535; got "redis://***@b:***"\n',
  );
});

test("warns loudly where a certificate is not verified", async ({ cli, folder }) => {
  const url = "rediss://:hunter2@127.0.0.1:1?tls.rejectUnauthorized=false";
  const run = cli(["config", "--backend", url], { cwd: folder });
  expect(await run.exited).toBe(0);
  expect(run.stderr()).toMatch(
    /^quorum-lock: WARNING: the certificate of rediss:\/\/127\.0\.0\.1:1 is not verified [^\n]+\n$/,
  );
});

test("run takes key figures from the file, and its servers from a variable", async ({
  cli,
  folder,
  redises,
}) => {
  const servers = await redises(3);
  writeFileSync(join(folder, "quorum-lock.yaml"), "ttl: 2s\nmaxTtl: 5s\n");
  const urls = servers.map(({ url }) => url).join(",");
  const options = { cwd: folder, env: { QUORUM_LOCK_BACKENDS: urls } };
  const run = cli(["run", "--key", "k", "--", "echo", "ran"], options);
  expect([await run.exited, run.stdout(), run.stderr()]).toEqual([0, "ran\n", ""]);
  // The mark says what the deployment was made with.
  const other = cli(["run", "--key", "k", "--max-ttl", "6s", "--", "true"], options);
  expect(await other.exited).toBe(64);
  expect(other.stderr()).toMatch(/configured otherwise|maxTtlMs|max TTL/);
});
