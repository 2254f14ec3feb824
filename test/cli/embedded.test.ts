// The embedded default: no configuration at all, real processes of one host on a file of this user.
import { chmodSync, cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { newestNode } from "../../scripts/newest-node.mjs";
import { waitUntil } from "../servers/wait-until.ts";
import { MAIN, test } from "./running-cli.ts";

vi.setConfig({ testTimeout: 90_000 });

const SAYS =
  /^quorum-lock: no backend is configured, so this lock is one between processes of this user on this host \(\S+\/quorum-lock\/locks\.db\); --backend names servers, --require-quorum refuses this\n$/;

/** Nothing of this process's own configuration. */
function envOf(folder: string): Record<string, string> {
  return { HOME: folder, XDG_STATE_HOME: "", QUORUM_LOCK_BACKENDS: "", QUORUM_LOCK_CONFIG: "" };
}

/** Adds a line when it begins and one when it ends; between them nobody else may. */
function section(log: string, seconds = "0.05"): readonly string[] {
  const script = `echo "in $QUORUM_LOCK_TOKEN" >> "$0"; sleep ${seconds}; echo "out $QUORUM_LOCK_TOKEN" >> "$0"`;
  return ["sh", "-c", script, log];
}

test("a command runs with nothing configured, says once where the lock is, and leaves a folder for this user alone", async ({
  cli,
  folder,
}) => {
  const run = cli(["run", "--key", "hello", "--", "echo", "locked"], { env: envOf(folder), cwd: folder });
  expect([await run.exited, run.stdout()]).toEqual([0, "locked\n"]);
  expect(run.stderr()).toMatch(SAYS);
  const state = join(folder, ".local", "state", "quorum-lock");
  expect(statSync(state).mode & 0o777).toBe(0o700);
  const xdg = cli(["run", "--key", "hello", "--", "true"], {
    env: { ...envOf(folder), XDG_STATE_HOME: join(folder, "xdg") },
    cwd: folder,
  });
  expect(await xdg.exited).toBe(0);
  expect(statSync(join(folder, "xdg", "quorum-lock")).mode & 0o777).toBe(0o700);
});

test("of many processes that contend one at a time is inside, and tokens rise in that order", async ({
  cli,
  folder,
}) => {
  const log = join(folder, "log");
  const args = ["run", "--key", "k", "--wait", "1m", "--", ...section(log)];
  const runs = Array.from({ length: 12 }, () => cli(args, { env: envOf(folder), cwd: folder }));
  for (const run of runs) expect([await run.exited, run.stderr()]).toEqual([0, expect.stringMatching(SAYS)]);
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  expect(lines).toHaveLength(24);
  const tokens = lines.filter((_, i) => i % 2 === 0).map((line) => BigInt(line.replace("in ", "")));
  expect(lines).toEqual(tokens.flatMap((token) => [`in ${token}`, `out ${token}`]));
  expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
  expect(new Set(tokens).size).toBe(12);
});

test("after kill -9 of a holder its command ends, the lock ends with its TTL, and the next token is higher", async ({
  cli,
  folder,
}) => {
  const log = join(folder, "log");
  const options = { env: envOf(folder), cwd: folder };
  const holder = cli(["run", "--key", "k", "--ttl", "3s", "--", ...section(log, "60")], options);
  await waitUntil({ what: "a holder", timeoutMs: 20_000, detail: holder.stderr }, async () => {
    return linesOf(log).length === 1;
  });
  holder.signal("SIGKILL");
  const killedMs = performance.now();
  const refused = cli(["run", "--key", "k", "--wait", "0", "--", ...section(log)], options);
  const next = cli(["run", "--key", "k", "--wait", "1m", "--", ...section(log)], options);
  expect(await refused.exited, refused.stderr()).toBe(75);
  expect(await next.exited, next.stderr()).toBe(0);
  expect(performance.now() - killedMs).toBeLessThan(20_000);
  const [first = "", second = "", third] = linesOf(log);
  expect([first, second, third]).toEqual([first, second, second.replace("in", "out")]);
  expect(BigInt(second.replace("in ", ""))).toBeGreaterThan(BigInt(first.replace("in ", "")));
});

test("inspect, list and release see the same file", async ({ cli, folder }) => {
  const options = { env: envOf(folder), cwd: folder };
  const log = join(folder, "log");
  const holder = cli(["run", "--key", "k", "--", ...section(log, "60")], options);
  await waitUntil({ what: "a holder", timeoutMs: 20_000, detail: holder.stderr }, async () => {
    return linesOf(log).length === 1;
  });
  const list = cli(["list", "--json"], options);
  expect(await list.exited, list.stderr()).toBe(0);
  expect(JSON.parse(list.stdout())).toMatchObject({ keys: [{ key: "k", state: "held" }], complete: true });
  holder.signal("SIGTERM");
  expect(await holder.exited).toBe(143);
});

test("--require-quorum refuses it, also as a variable or in a file, and nothing is made", async ({
  cli,
  folder,
}) => {
  const env = envOf(folder);
  writeFileSync(join(folder, "quorum-lock.yaml"), "requireQuorum: true\n");
  const ways: readonly (readonly [
    args: readonly string[],
    extra: Record<string, string>,
    cwd: string,
    place: string,
  ])[] = [
    [["--require-quorum"], {}, "/", "option --require-quorum"],
    [[], { QUORUM_LOCK_REQUIRE_QUORUM: "true" }, "/", "variable QUORUM_LOCK_REQUIRE_QUORUM"],
    [[], {}, folder, "quorum-lock.yaml:1:16: requireQuorum"],
  ];
  for (const [args, extra, cwd, place] of ways) {
    const run = cli(["run", ...args, "--key", "k", "--", "true"], { env: { ...env, ...extra }, cwd });
    expect(await run.exited).toBe(64);
    expect(run.stderr()).toMatch(/^quorum-lock: [^\n]+; got true, while none is configured\n$/);
    expect(run.stderr()).toContain(`${place} must be left out, or at least one backend configured`);
  }
  expect(() => statSync(join(folder, ".local"))).toThrow("ENOENT");
});

test("a folder in which others may write is refused", async ({ cli, folder }) => {
  const state = join(folder, ".local", "state", "quorum-lock");
  mkdirSync(state, { recursive: true });
  chmodSync(state, 0o777);
  const run = cli(["run", "--key", "k", "--", "true"], { env: envOf(folder), cwd: folder });
  expect(await run.exited).toBe(64);
  expect(run.stderr()).toMatch(
    /variable HOME must be such that only this user may write to the folder .*chmod 700/,
  );
});

test("on a Node with node:sqlite it needs no package, and prints no warning of Node's", async ({
  folder,
}) => {
  const node = await newestNode();
  const { spawnSync } = await import("node:child_process");
  const run = (): { stdout: string; stderr: string; status: number | null } =>
    spawnSync(node.path, [bare(folder), "run", "--key", "k", "--", "echo", "locked"], {
      encoding: "utf8",
      cwd: folder,
      env: { ...process.env, ...envOf(folder) },
      timeout: 30_000,
    });
  const { stdout, stderr, status } = run();
  expect([status, stdout]).toEqual([0, "locked\n"]);
  expect(stderr).toMatch(SAYS);
}, 400_000);

test("without any package for SQLite one line says how to get one", async ({ cli, folder }) => {
  const run = cli(["run", "--key", "k", "--", "true"], {
    env: envOf(folder),
    cwd: folder,
    main: bare(folder),
  });
  expect(await run.exited).toBe(64);
  expect(run.lines().at(-1)).toMatch(
    /^quorum-lock: SQLite files need Node 24 or newer \(this is v\S+\), or one of the packages libsql, better-sqlite3, none of which is installed: npm install libsql \(with npx: npx -p quorum-lock -p libsql quorum-lock …\)$/,
  );
});

test("npm start runs the demo under a lock of this host", async ({ folder }) => {
  const { spawnSync } = await import("node:child_process");
  const root = join(MAIN, "..", "..", "..");
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: { start: string };
  };
  // It was built before the tests; and nobody has to read along.
  const command = `${scripts.start.replace("node scripts/build.mjs && ", "")} --fast`;
  const env = { ...process.env, ...envOf(folder) };
  const { status, stdout, stderr } = spawnSync(command, {
    shell: true,
    cwd: root,
    env,
    encoding: "utf8",
    timeout: 60_000,
  });
  expect(status).toBe(0);
  expect(stderr).toMatch(SAYS);
  expect(stdout).toMatch(/token/);
});

/** The built command line where no package can be found. */
function bare(folder: string): string {
  const target = join(folder, "bare");
  cpSync(join(MAIN, "..", ".."), join(target, "dist"), { recursive: true });
  writeFileSync(join(target, "package.json"), '{ "type": "module", "version": "0.0.0" }');
  return join(target, "dist", "cli", "main.js");
}

function linesOf(log: string): readonly string[] {
  try {
    return readFileSync(log, "utf8").split("\n").slice(0, -1);
  } catch {
    return [];
  }
}
