// What a program gets from `loadConfig`.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig } from "../../src/config/index.ts";
import { createLocker } from "../../src/lock/locker.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "quorum-lock-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function yaml(text: string): string {
  const file = join(folder, "quorum-lock.yaml");
  writeFileSync(file, text);
  return file;
}

test("makes a locker from a file, variables and code that grants, and closes what it opened", async () => {
  const file = yaml("ttl: 3s\nwait: 1s\nbackends:\n  - sqlite:locks.db");
  const config = await loadConfig({
    file,
    env: { QUORUM_LOCK_WAIT: "2s", QUORUM_LOCK_LOG_LEVEL: "warn" },
    maxTtlMs: 9_000,
  });
  expect(config.options).toMatchObject({ ttlMs: 3_000, waitMs: 2_000, maxTtlMs: 9_000 });
  expect(config.logLevel).toBe("warn");
  expect(config.values.slice(0, 3)).toEqual([
    {
      key: "backends[0].url",
      value: `sqlite:${join(folder, "locks.db")}`,
      source: "file",
      from: `${file}:4:5`,
    },
    { key: "ttl", value: "3s", source: "file", from: `${file}:1:6` },
    { key: "wait", value: "2s", source: "variable", from: "QUORUM_LOCK_WAIT" },
  ]);
  const locker = createLocker(config.options);
  expect(await locker.withLock("k", async ({ token }) => token)).toBeTypeOf("bigint");
  await locker.close();
  await config.close();
});

test("opens every kind without waiting for its server, and gives each the name of its URL", async () => {
  const backends = [
    "redis://127.0.0.1:1",
    "postgres://u:p@127.0.0.2:1/d",
    "mysql://u:p@127.0.0.3:1/d",
    "mongodb://u:p@127.0.0.4:1",
    "etcd://u:p@127.0.0.5:1",
    "consul://:t@127.0.0.6:1",
    "zookeeper://u:p@127.0.0.7:1",
    "memcached://u:p@127.0.0.8:1",
    `sqlite:${folder}/locks.db`,
  ].map((url, i) => (i === 1 ? { url, name: "mine", connectionsMax: 2 } : url));
  const config = await loadConfig({ file: false, env: {}, backends });
  const opened = config.options.backends;
  expect(opened.map(({ kind }) => kind)).toEqual([
    "redis",
    "postgres",
    "mysql",
    "mongodb",
    "etcd",
    "consul",
    "zookeeper",
    "memcached",
    "sqlite",
  ]);
  expect(opened[1]?.name).toBe("mine");
  expect(opened.filter(({ name }) => /^127\.0\.0\.\d:1/.test(name))).toHaveLength(7);
  const startedMs = performance.now();
  await config.close();
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

test("names the place of what only an adapter refuses", async () => {
  const file = yaml("backends:\n  - url: redis://a\n    prefix: a b");
  await expect(loadConfig({ file, env: {} })).rejects.toMatchObject({
    code: "INVALID_CONFIG",
    message: expect.stringMatching(
      /quorum-lock\.yaml:3:13: backends\[0\]\.prefix must be .*; got "a b"$/,
    ) as string,
  });
  await expect(
    loadConfig({ file: false, env: {}, backends: [{ url: "consul://a", password: "a secret" }] }),
  ).rejects.toMatchObject({
    message: expect.stringMatching(
      /^option backends\[0\]\.password must be a token without blanks; got a value that is not shown$/,
    ) as string,
  });
});

test("rejects without a backend, unless locks of this host are asked for", async () => {
  await expect(loadConfig({ file: false, env: {} })).rejects.toMatchObject({
    message: expect.stringMatching(
      /^option backends must be there, or in QUORUM_LOCK_BACKENDS, .*; got none$/,
    ) as string,
  });
  const config = await loadConfig({ file: false, env: { HOME: folder }, embedded: true });
  expect(config.options.backends.map(({ kind, name }) => [kind, name])).toEqual([["sqlite", "this host"]]);
  expect(config.values[0]).toEqual({
    key: "backends[0].url",
    value: `sqlite:${folder}/.local/state/quorum-lock/locks.db`,
    source: "default",
    from: null,
  });
  await config.close();
});

test("refuses an option that it does not have", async () => {
  await expect(loadConfig({ ttl: 3 } as never)).rejects.toMatchObject({
    code: "INVALID_OPTION",
    message: expect.stringMatching(/^option ttl must be one of the options of loadConfig\(\)/) as string,
  });
});

test("warns of a certificate that is not verified, once for each", async () => {
  const warned: string[] = [];
  const listen = (warning: Error): void => void warned.push(warning.message);
  process.on("warning", listen);
  const backends = ["rediss://:hunter2@a?tls.rejectUnauthorized=false"];
  const config = await loadConfig({ file: false, env: {}, backends });
  await config.close();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  expect(warned).toEqual([
    expect.stringMatching(/^WARNING: the certificate of rediss:\/\/a is not verified/) as string,
  ]);
});
