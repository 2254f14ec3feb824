// `quorum-lock run` when servers, quorum-lock itself or its watcher die: nothing of the command is alive when validity ends.
import { join } from "node:path";
import { expect, vi } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { waitUntil } from "../servers/wait-until.ts";
import {
  beatsIn,
  expectGoneInTime,
  jobArgv,
  lastBeatMs,
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

await describeWithServer("redis-7", "quorum-lock run under faults", (server) => {
  test("finishes its job with 0 when two of five servers are killed meanwhile", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(5, { server });
    const beats = join(folder, "beats");
    const run = cli(runArgs(servers, "--key k --ttl 1s", jobArgv(beats, "for=2000")));
    await untilAlive(beats, 1, run.stderr);
    await Promise.all(servers.slice(0, 2).map((each) => each.kill()));
    expect(await run.exited).toBe(0);
    // One line for both, since the second failure must not be the first that anybody notices.
    expect(run.stderr()).toMatch(
      /^quorum-lock: backend \S+ failed \(.*\); backend \S+ failed \(.*\); 3 of 5 left, 3 needed: one more failure loses the lock\n$/,
    );
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
    const run = cli(runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term", "grandchild")));
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    await Promise.all(servers.slice(0, 3).map((each) => each.kill()));
    expect(await run.exited).toBe(76);
    expectGoneInTime("three of five servers killed", run, beats);
    const [early, line, ...more] = run.lines();
    expect(more).toEqual([]);
    expect(early).toMatch(
      /2 of 5 left, 3 needed: the lock cannot be extended, and is lost unless they come back$/,
    );
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
    const run = cli(runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term", "grandchild")));
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    const killedMs = monotonicMs();
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9", run, beats);
    // After the grace, a fifth of the validity, and not only when validity is nearly over.
    expect(lastBeatMs(beats) - killedMs).toBeLessThan(600 + 400);
    expect(await run.exited).toBe(-1);
    expect(run.lines().join()).toMatch(
      /quorum-lock itself was killed.*key "k" stays locked until its TTL of 3s has passed/,
    );
    expect(Number(await servers[0]?.cli("PTTL", "{ql:k}:l"))).toBeGreaterThan(0);
  });

  test("ends everything before validity ends when quorum-lock is killed with -9 while it is ending the command", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(
      runArgs(servers, `--key k ${TIMES} --kill-grace 1s`, jobArgv(beats, "ignore-term", "grandchild")),
    );
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    // Without extensions validity runs down, and the kill finds less of it than a whole grace would take.
    await Promise.all(servers.map((each) => each.freeze()));
    await waitUntil(
      { what: "validity nearly over", timeoutMs: 10_000 },
      async () => validityEndMs(run) - monotonicMs() < 1_150,
    );
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9 while it ended the command", run, beats);
    await Promise.all(servers.map((each) => each.thaw()));
  });

  test("ends everything before validity ends when quorum-lock is stopped (SIGSTOP)", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term", "grandchild")));
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    run.signal("SIGSTOP");
    await untilGone(beats);
    expectGoneInTime("quorum-lock stopped", run, beats);
    run.signal("SIGCONT");
    expect(await run.exited).toBe(76);
    expect(run.lines().join()).toMatch(/could not be extended in time: quorum-lock did not run/);
  });

  test("ends also what has put itself into a process group of its own (timeout)", async ({
    cli,
    redises,
    folder,
  }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(
      runArgs(servers, `--key k ${TIMES}`, jobArgv(beats, "ignore-term", "grandchild-in-own-group")),
    );
    await untilAlive(beats, 2, run.stderr);
    await untilExtended(run);
    run.signal("SIGKILL");
    await untilGone(beats);
    expectGoneInTime("quorum-lock killed with -9, a group of its own", run, beats);
  });

  test("ends the command when the lock is taken away by force", async ({ cli, redises, folder }) => {
    const servers = await redises(3, { server });
    const beats = join(folder, "beats");
    const run = cli(runArgs(servers, "--key k --ttl 2s", jobArgv(beats)));
    await untilAlive(beats, 1, run.stderr);
    await Promise.all(servers.map((each) => each.cli("DEL", "{ql:k}:l")));
    expect(await run.exited).toBe(76);
    expect(run.stderr()).toMatch(/lock "k" was taken away: most backends deny it/);
  });
});
