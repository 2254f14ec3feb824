// `quorum-lock run` when its watcher dies, cannot be had, or is all that is left.
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, vi } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { waitUntil } from "../servers/wait-until.ts";
import {
  beatsIn,
  expectGoneInTime,
  isAlive,
  jobArgv,
  lastBeatMs,
  MAIN,
  monotonicMs,
  runArgs,
  test,
  untilAlive,
  untilExtended,
  untilGone,
  validityEndMs,
} from "./running-cli.ts";

const TIMES = "--ttl 3s --log-level debug";

// The machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

await describeWithServer("redis-7", "the watcher of quorum-lock run", (server) => {
  test("replaces a watcher that was killed, so that a later kill -9 is still covered", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term")));
    await untilAlive(beats, 1, run.stderr);
    await untilExtended(run);
    const first = run.watcherPid();
    process.kill(first, "SIGKILL");
    await waitUntil({ what: "another watcher", timeoutMs: 5_000 }, async () => run.watcherPid() !== first);
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
    const run = cli(runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term", "grandchild")));
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    process.kill(run.watcherPid(), "SIGSTOP");
    await Promise.all(servers.map((each) => each.kill()));
    expect(await run.exited).toBe(76);
    expectGoneInTime("watcher stopped and all servers killed", run, beats);
  });

  for (const first of ["quorum-lock", "its watcher"] as const) {
    test(`ends everything before validity ends, grace or no grace, when both were stopped and ${first} wakes up late`, async ({
      cli,
      redises,
      folder,
    }) => {
      const servers = await redises(3, { server });
      const beats = join(folder, "beats");
      const job = jobArgv(beats, "ignore-term", "grandchild");
      const run = cli(runArgs(servers, `--key k ${TIMES} --kill-grace 1s`, job));
      await untilAlive(beats, 2, run.stderr);
      await untilExtended(run);
      const watcher = run.watcherPid();
      process.kill(watcher, "SIGSTOP");
      run.signal("SIGSTOP");
      // Less than the grace, and more than the kill needs.
      const endMs = validityEndMs(run);
      await waitUntil(
        { what: "little validity", timeoutMs: 10_000 },
        async () => endMs - monotonicMs() < 700,
      );
      process.kill(first === "quorum-lock" ? run.pid : watcher, "SIGCONT");
      await untilGone(beats);
      const marginMs = endMs - lastBeatMs(beats);
      console.log(
        `${first} woke up late: the last process was alive ${marginMs.toFixed(0)} ms before validity ended`,
      );
      expect(marginMs).toBeGreaterThan(0);
      process.kill(watcher, "SIGCONT");
      run.signal("SIGCONT");
      expect(await run.exited).toBe(76);
    });
  }

  test("does not start the command when no watcher can be had", async ({ cli, redises, folder }) => {
    const [redis] = await redises(1, { server });
    // In the package, where its dependencies are found from.
    const cache = join(dirname(dirname(dirname(MAIN))), ".cache");
    mkdirSync(cache, { recursive: true });
    const crippled = mkdtempSync(join(cache, "without-watcher-"));
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
    const run = cli(runArgs(servers, "--key k --ttl 3s", jobArgv(beats)));
    await untilAlive(beats, 1, run.stderr);
    const killed = new Set<number>();
    await waitUntil({ what: "four watchers killed", timeoutMs: 30_000, detail: run.stderr }, async () => {
      const watcher = run.watcherPid();
      process.kill(watcher, "SIGKILL");
      return killed.add(watcher).size === 4;
    });
    expect(await run.exited).toBe(70);
    expect(run.stderr()).toMatch(/^quorum-lock: the watcher cannot be kept running.*\n$/);
    expect(beatsIn(beats).some(({ pid }) => isAlive(pid))).toBe(false);
    expect(await servers[0]?.cli("EXISTS", "{ql:k}:l")).toBe(0);
  });
});
