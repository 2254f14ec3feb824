// `quorum-lock run` when servers, quorum-lock itself or its watcher die: nothing of the command is alive when validity ends.
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { waitUntil } from "../servers/wait-until.ts";
import {
  backendsOf,
  beatsIn,
  isAlive,
  jobArgv,
  lastBeatMs,
  MAIN,
  monotonicMs,
  test,
  untilAlive,
  untilGone,
  validityEndMs,
  type RunningCli,
} from "./running-cli.ts";

const TIMES = ["--ttl", "3s", "--log-level", "debug"];

await describeWithServer("redis-7", "quorum-lock run under faults", (server) => {
  test("finishes its job with 0 when two of five servers are killed meanwhile", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(5, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      "--ttl",
      "1s",
      "--",
      ...jobArgv(beats, "for=2000"),
    ]);
    await untilAlive(beats, 1, run.stderr);
    await Promise.all(servers.slice(0, 2).map((each) => each.kill()));
    expect(await run.exited).toBe(0);
    expect(run.stderr()).toBe("");
    const all = beatsIn(beats).map(({ ms }) => ms);
    expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan(1500);
  });

  test("ends everything before validity ends when three of five servers are killed, and says why", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(5, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    await Promise.all(servers.slice(0, 3).map((each) => each.kill()));
    expect(await run.exited).toBe(76);
    expectGoneInTime("three of five servers killed", run, beats);
    const [line, ...more] = ownLines(run);
    expect(more).toEqual([]);
    expect(line).toMatch(/no quorum of backends answered for lock "k"/);
    for (const each of servers.slice(0, 3)) expect(line).toContain(`127.0.0.1:${each.port} failed`);
    // It was asked first.
    expect(run.stdout()).toBe("SIGTERM\n");
  });

  test("ends everything before validity ends when quorum-lock is killed with -9", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    const killedMs = monotonicMs();
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9", run, beats);
    // After the grace, a fifth of the validity, and not only when validity is nearly over.
    expect(lastBeatMs(beats) - killedMs).toBeLessThan(600 + 400);
    expect(await run.exited).toBe(-1);
    expect(ownLines(run).join()).toMatch(
      /quorum-lock itself was killed.*key "k" stays locked until its TTL of 3s has passed/,
    );
    expect(Number(await servers[0]?.cli("PTTL", "{ql:k}:l"))).toBeGreaterThan(0);
  });

  test("kills at the last moment that is safe, and no later, when quorum-lock is killed with -9 late in its validity", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--kill-grace",
      "1s",
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    // Without extensions validity runs down, and the kill finds less of it than the grace would take.
    await Promise.all(servers.map((each) => each.freeze()));
    await waitUntil(
      { what: "validity nearly over", timeoutMs: 10_000 },
      async () => validityEndMs(run) - monotonicMs() < 1_250,
    );
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9, late", run, beats);
    await Promise.all(servers.map((each) => each.thaw()));
  });

  test("ends everything before validity ends when quorum-lock is stopped (SIGSTOP)", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    run.signal("SIGSTOP");
    await untilGone(beats);
    expectGoneInTime("quorum-lock stopped", run, beats);
    run.signal("SIGCONT");
    expect(await run.exited).toBe(76);
    expect(ownLines(run).join()).toMatch(/could not be extended in time: quorum-lock did not run/);
  });

  test("ends also what has put itself into a process group of its own (timeout)", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild-in-own-group"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9, a group of its own", run, beats);
  });

  test("replaces a watcher that was killed, so that a later kill -9 is still covered", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term"),
    ]);
    await untilAlive(beats, 1, run.stderr);
    const first = run.watcherPid();
    process.kill(first, "SIGKILL");
    await waitUntil({ what: "another watcher", timeoutMs: 5_000 }, async () => run.watcherPid() !== first);
    await extendedOnce(run);
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9 after its watcher", run, beats);
  });

  test("needs no watcher to end everything before validity ends: the watcher is stopped, all servers are dead", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli([
      "run",
      ...backendsOf(servers),
      "--key",
      "k",
      ...TIMES,
      "--",
      ...jobArgv(beats, "ignore-term", "grandchild"),
    ]);
    await untilAlive(beats, 2, run.stderr);
    process.kill(run.watcherPid(), "SIGSTOP");
    await Promise.all(servers.map((each) => each.kill()));
    expect(await run.exited).toBe(76);
    expectGoneInTime("watcher stopped and all servers killed", run, beats);
  });

  test("does not start the command when no watcher can be had", async ({ cli, redises, folder }) => {
    const [redis] = await redises(1, { server });
    // Where node_modules are found from.
    const crippled = mkdtempSync(join(dirname(dirname(dirname(MAIN))), ".without-watcher-"));
    try {
      cpSync(dirname(dirname(MAIN)), join(crippled, "dist"), { recursive: true });
      writeFileSync(join(crippled, "dist", "cli", "watcher.js"), "process.exit(1);");
      writeFileSync(join(crippled, "package.json"), '{ "type": "module" }');
      const ran = join(folder, "ran");
      const main = join(crippled, "dist", "cli", "main.js");
      const run = cli(["run", "--backend", redis?.url ?? "", "--key", "k", "--", "touch", ran], { main });
      expect(await run.exited).toBe(70);
      expect(run.stderr()).toMatch(/^quorum-lock: the watcher cannot be kept running[^\n]*\n$/);
      expect(existsSync(ran)).toBe(false);
      expect(await redis?.cli("EXISTS", "{ql:k}:l")).toBe(0);
    } finally {
      rmSync(crippled, { recursive: true });
    }
  });

  test("ends the command with 70 when no watcher can be kept", async ({ cli, redises, folder }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(["run", ...backendsOf(servers), "--key", "k", "--ttl", "3s", "--", ...jobArgv(beats)]);
    await untilAlive(beats, 1, run.stderr);
    let killed = 0;
    await waitUntil({ what: "four watchers killed", timeoutMs: 15_000, detail: run.stderr }, async () => {
      process.kill(run.watcherPid(), "SIGKILL");
      killed += 1;
      return killed === 4;
    });
    expect(await run.exited).toBe(70);
    expect(run.stderr()).toMatch(/^quorum-lock: the watcher cannot be kept running.*\n$/);
    expect(beatsIn(beats).some(({ pid }) => isAlive(pid))).toBe(false);
    expect(await servers[0]?.cli("EXISTS", "{ql:k}:l")).toBe(0);
  });

  test("ends the command when the lock is taken away by force", async ({ cli, redises, folder }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(["run", ...backendsOf(servers), "--key", "k", "--ttl", "2s", "--", ...jobArgv(beats)]);
    await untilAlive(beats, 1, run.stderr);
    await Promise.all(servers.map((each) => each.cli("DEL", "{ql:k}:l")));
    expect(await run.exited).toBe(76);
    expect(run.stderr()).toMatch(/lock "k" was taken away: most backends deny it/);
  });
});

/** The margin is printed: it is what the promise "before validity ends" had left. */
function expectGoneInTime(what: string, run: RunningCli, beats: string): void {
  const marginMs = validityEndMs(run) - lastBeatMs(beats);
  console.log(`${what}: the last process was alive ${marginMs.toFixed(0)} ms before validity ended`);
  expect(marginMs).toBeGreaterThan(0);
  expect(beatsIn(beats).some(({ pid }) => isAlive(pid))).toBe(false);
}

function extendedOnce(run: RunningCli): Promise<void> {
  const before = run.log().length;
  return waitUntil({ what: "an extension", timeoutMs: 10_000, detail: run.stderr }, async () =>
    run
      .log()
      .slice(before)
      .some(({ event }) => event === "extended"),
  );
}

/** What quorum-lock itself said, beside its log. */
function ownLines(run: RunningCli): string[] {
  return run
    .stderr()
    .split("\n")
    .filter((line) => line.startsWith("quorum-lock: "));
}
