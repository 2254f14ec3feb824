import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startRedis } from "../servers/redis-server.ts";
import { startMariadb, startPostgres } from "../servers/sql-server.mjs";

const REFUSED = /^refused: token \d+, the resource has seen \d+\n$/;

/** The example of the fencing page that imports a guard's entry point. */
function exampleOf(guard: string): string {
  const page = readFileSync(join(root, "docs/fencing.md"), "utf8");
  const found = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].find(([code]) =>
    code.includes(`"quorum-lock/guard/${guard}"`),
  );
  if (found?.[1] === undefined)
    throw new Error(`docs/fencing.md has no example of quorum-lock/guard/${guard}`);
  return found[1];
}

const GUARDS = ["postgres", "mysql", "redis", "http"] as const;
let project: Installed;
beforeAll(async () => {
  project = await install([
    "typescript",
    "@types/node",
    "undici-types",
    "ioredis",
    "pg",
    "@types/pg",
    "mysql2",
  ]);
  for (const guard of GUARDS) await project.write(`${guard}.mts`, exampleOf(guard));
  const options = [
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--strict",
    "--skipLibCheck",
    "--types",
    "node",
  ];
  await project.tsc([...options, ...GUARDS.map((guard) => `${guard}.mts`)]);
});
afterAll(() => project?.remove());

const run = (guard: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
  project.run(process.execPath, [`${guard}.mjs`], env);

await describeWithServer("postgres", "the example of the fencing page", () => {
  test("refuses the paused holder in PostgreSQL", async () => {
    const server = await startPostgres();
    try {
      expect(await run("postgres", { POSTGRES_URL: server.url })).toMatch(REFUSED);
    } finally {
      await server.stop();
    }
  });
});

await describeWithServer("mariadb", "the example of the fencing page", () => {
  test("refuses the paused holder in MariaDB", async () => {
    const server = await startMariadb();
    try {
      expect(await run("mysql", { MYSQL_URL: server.url })).toMatch(REFUSED);
    } finally {
      await server.stop();
    }
  });
});

await describeWithServer("redis-7", "the example of the fencing page", () => {
  test("refuses the paused holder in Redis", async () => {
    const server = await startRedis();
    try {
      expect(await run("redis", { REDIS_URL: server.url })).toMatch(REFUSED);
    } finally {
      await server.stop();
    }
  });
});

test("the example of the fencing page refuses the paused holder over HTTP", async () => {
  expect(await run("http")).toMatch(REFUSED);
});
