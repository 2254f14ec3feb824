import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import mysql from "mysql2/promise";
import pg from "pg";
import { expect, test } from "vitest";
import { signal } from "./guarded-process.mjs";
import { describeWithServer } from "./needs.ts";
import { startMariadb, startPostgres, type RunningSql } from "./sql-server.mjs";

const NOBODY = 65_534;
const HARNESS = fileURLToPath(new URL("sql-server.mjs", import.meta.url));
const asRoot = process.getuid?.() === 0;
/** A checkout may lie in a folder that is closed to others. */
const open =
  asRoot &&
  spawnSync("/bin/sh", ["-c", `test -r ${HARNESS}`], { uid: NOBODY, gid: NOBODY, cwd: "/" }).status === 0;

async function expectGone(server: RunningSql): Promise<void> {
  await Promise.all([server.stop(), server.stop()]);
  expect(signal(server.pid, "SIGCONT")).toBe(false);
  expect(existsSync(server.dir)).toBe(false);
}

/** Starts and stops a server in a process of an unprivileged user. */
async function byNobody(start: string): Promise<string> {
  const script = `import(${JSON.stringify(HARNESS)}).then(async (harness) => {
    const server = await harness.${start}();
    console.log(server.url.replace(/:\\d+/, ""));
    await server.stop();
  })`;
  const options = { uid: NOBODY, gid: NOBODY, cwd: "/", env: { ...process.env, HOME: "/nonexistent" } };
  return (await promisify(execFile)(process.execPath, ["-e", script], options)).stdout;
}

await describeWithServer("postgres", "the harness", () => {
  test("starts a PostgreSQL of the version it says, and leaves nothing", async () => {
    const server = await startPostgres({ args: ["-c", "work_mem=5MB"] });
    try {
      const client = new pg.Client(server.url);
      await client.connect();
      const { rows } = await client.query(
        "SELECT current_setting('server_version') AS v, current_setting('work_mem') AS m",
      );
      await client.end();
      expect(rows).toEqual([{ v: expect.stringContaining(server.version) as string, m: "5MB" }]);
    } finally {
      await expectGone(server);
    }
  });

  test("says what the server said when it does not start", async () => {
    await expect(startPostgres({ args: ["-c", "no_such_setting=1"] })).rejects.toThrow("no_such_setting");
  });

  test.skipIf(!open)("starts it for an unprivileged user as well", async () => {
    expect(await byNobody("startPostgres")).toMatch(/^postgres:/);
  });

  test.skipIf(!asRoot)("starts it for root out of a folder that is closed to others", async () => {
    const folder = await mkdtemp(join(tmpdir(), "quorum-lock-closed-"));
    try {
      const root = fileURLToPath(new URL("../..", import.meta.url));
      for (const part of ["scripts", "test/servers", ".cache/servers/postgres"]) {
        await cp(join(root, part), join(folder, part), { recursive: true, dereference: true });
      }
      await chmod(folder, 0o700);
      const script = `import(${JSON.stringify(join(folder, "test/servers/sql-server.mjs"))}).then(async (harness) => {
        const server = await harness.startPostgres();
        console.log("started");
        await server.stop();
      })`;
      expect((await promisify(execFile)(process.execPath, ["-e", script], { cwd: "/" })).stdout).toBe(
        "started\n",
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

await describeWithServer("mariadb", "the harness", () => {
  test("starts a MariaDB of the version it says, and leaves nothing", async () => {
    const server = await startMariadb();
    try {
      const connection = await mysql.createConnection(server.url);
      const [rows] = await connection.query("SELECT VERSION() AS v");
      await connection.end();
      expect(rows).toEqual([{ v: expect.stringContaining(server.version) as string }]);
    } finally {
      await expectGone(server);
    }
  });

  test("says what the server said when it does not start", async () => {
    await expect(startMariadb({ args: ["--no-such-option"] })).rejects.toThrow("no-such-option");
  });

  test("leaves the temporary tables of other servers alone", async () => {
    const theirs = join(tmpdir(), `#sql-quorum-lock-${process.pid}.MAD`);
    await writeFile(theirs, "");
    try {
      await (await startMariadb()).stop();
      expect(existsSync(theirs)).toBe(true);
    } finally {
      await rm(theirs, { force: true });
    }
  });

  test.skipIf(!open)("starts it for an unprivileged user as well", async () => {
    expect(await byNobody("startMariadb")).toMatch(/^mysql:/);
  });
});
