// Finding and signalling the processes of a command.
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { groupOf, livingGroups, signalAll, signalGroup } from "../../src/cli/process-group.ts";
import { waitUntil } from "../servers/wait-until.ts";

/** `sleep` in a session of its own, and the same in the background in another group of that session. */
function startFamily(): { readonly pid: number; readonly ended: Promise<string | null> } {
  const child = spawn("bash", ["-c", "set -m; sleep 60 & exec sleep 60"], {
    detached: true,
    stdio: "ignore",
  });
  const ended = new Promise<string | null>((resolve) =>
    child.once("exit", (_code, signal) => resolve(signal)),
  );
  return { pid: child.pid ?? 0, ended };
}

test("finds all groups of a session, signals one or all of them, and finds none when all are gone", async () => {
  const { pid, ended } = startFamily();
  const group = groupOf(pid);
  try {
    await waitUntil({ what: "two groups", timeoutMs: 5_000 }, async () => livingGroups(group).length === 2);
    signalGroup(group, "SIGTERM");
    expect(await ended).toBe("SIGTERM");
    // The leader is gone and reaped; the other group is still ours.
    expect(livingGroups(group).length).toBe(1);
    expect(livingGroups(group)).not.toContain(pid);
  } finally {
    signalAll(group, "SIGKILL");
  }
  await waitUntil({ what: "all gone", timeoutMs: 5_000 }, async () => livingGroups(group).length === 0);
});

test("finds and signals nothing when the number belongs to another process by now", async () => {
  const { pid, ended } = startFamily();
  const group = groupOf(pid);
  const stale = { ...group, startedAt: "1" };
  try {
    expect(livingGroups(stale)).toEqual([]);
    signalAll(stale, "SIGKILL");
    signalGroup(stale, "SIGKILL");
    await waitUntil({ what: "two groups", timeoutMs: 5_000 }, async () => livingGroups(group).length === 2);
  } finally {
    signalAll(group, "SIGTERM");
  }
  expect(await ended).toBe("SIGTERM");
});
