/** `noop()`: grants everything, alone, and says so. The conformance list must notice that it is no lock. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import { noop } from "../../src/adapters/noop.js";
import { InvalidOptionError } from "../../src/errors.js";
import { createLocker, type Locker } from "../../src/lock/locker.js";
import { createHighWaterMarks, guardInProcess } from "../../src/guard/in-process.js";
import type { Logger } from "../../src/options.js";
import { conformanceCases } from "../../src/testing/conformance.js";
import { DEPLOYMENT, virtualSetup } from "../conformance/virtual-context.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

async function withLocker(run: (locker: Locker) => Promise<void>): Promise<void> {
  const locker = createLocker({ backends: [noop({ quiet: true })] });
  try {
    await run(locker);
  } finally {
    await locker.close();
  }
}

describe("noop()", () => {
  it("grants one key to everybody at once, with tokens that strictly increase, also over lockers", async () => {
    const tokens: bigint[] = [];
    await withLocker(async (first) =>
      withLocker(async (second) => {
        for (const locker of [first, second, second, first]) {
          const lease = await locker.acquire("k", { waitMs: 0 });
          tokens.push(lease.token);
        }
      }),
    );
    expect(tokens).toHaveLength(4);
    expect(tokens.every((token, i) => i === 0 || token > (tokens[i - 1] ?? 0n))).toBe(true);
  });

  it("mints increasing tokens whatever clients propose, for keys in turn", async () => {
    const [one, other] = [noop({ quiet: true }).open(DEPLOYMENT), noop({ quiet: true }).open(DEPLOYMENT)];
    const fences: bigint[] = [];
    for (const [session, key, proposal] of [
      [one, "a", 7n],
      [other, "a", 7n],
      [one, "b", 3n],
      [other, "a", 1n],
    ] as const) {
      const reply = await session.acquire({ key, owner: "o", ttlMs: 1_000, proposal });
      if (reply.kind === "granted") fences.push(reply.fence);
    }
    expect(fences).toHaveLength(4);
    expect(fences.every((fence, i) => i === 0 || fence > (fences[i - 1] ?? 0n))).toBe(true);
  });

  it("lets guards be tried: an older token is refused", async () => {
    await withLocker(async (locker) => {
      const marks = createHighWaterMarks();
      const [older, newer] = [await locker.acquire("k"), await locker.acquire("k")];
      guardInProcess(marks, newer);
      expect(() => guardInProcess(marks, older)).toThrow(expect.objectContaining({ code: "STALE_TOKEN" }));
      expect(await older.extend()).toBeGreaterThan(0);
      expect(await older.release()).toBe("released");
    });
  });

  it("counts on from a token that it was told of", async () => {
    await withLocker(async (locker) => {
      const ahead = BigInt(Date.now()) * 1000n + 60_000_000n;
      await locker.lift("k", ahead);
      expect((await locker.acquire("k")).token).toBe(ahead + 1n);
    });
  });

  it("refuses to be one of several", () => {
    for (const backends of [
      [noop(), memory(), memory()],
      [memory(), noop({ name: "pretended" })],
      [noop({ name: "a" }), noop({ name: "b" })],
    ]) {
      expect(() => createLocker({ backends })).toThrow(InvalidOptionError);
      expect(() => createLocker({ backends })).toThrow(/grants everything.*vote for two holders/);
    }
  });

  it("refuses what only a real backend can do", async () => {
    const session = noop({ quiet: true }).open(DEPLOYMENT);
    const unsupported = expect.objectContaining({ code: "BACKEND_UNSUPPORTED" }) as unknown;
    await expect(session.list({ prefix: "", cursor: undefined, pageSize: 1 })).rejects.toThrow(unsupported);
    await expect(session.quarantine()).rejects.toThrow(unsupported);
    expect(() => noop({ name: "" })).toThrow(InvalidOptionError);
    expect(() => noop({ quiet: 1 as unknown as boolean })).toThrow(InvalidOptionError);
    expect(() => noop({ silent: true } as object)).toThrow(InvalidOptionError);
  });

  it("says so once for each locker, to its listeners and its logger, and to check as a problem", async () => {
    const logged: string[] = [];
    const log = (fields: object, text: string): void => void logged.push(JSON.stringify({ ...fields, text }));
    const logger: Logger = { debug: () => undefined, info: log, warn: log, error: log };
    const locker = createLocker({ backends: [noop({ quiet: true })], logger });
    const heard: string[] = [];
    locker.on("warning", ({ text }) => heard.push(text));
    await locker.acquire("a");
    await locker.acquire("b");
    expect(heard).toEqual([expect.stringMatching(/^noop grants everything and excludes nobody/)]);
    expect(logged.filter((line) => line.includes("excludes nobody"))).toHaveLength(1);
    expect((await locker.examine())[0]).toMatchObject({
      examination: {
        reply: {
          findings: [{ level: "problem", text: expect.stringMatching(/excludes nobody/) as unknown }],
        },
      },
    });
    await locker.close();
  });

  it("says so on standard error, once for a process, unless it is told to be quiet", () => {
    const stderrOf = (options: string): string => {
      const script = `import { createLocker } from "quorum-lock";
        import { noop } from "quorum-lock/noop";
        for (let i = 0; i < 2; i++) await createLocker({ backends: [noop(${options})] }).close();`;
      const args = ["--input-type=module", "-e", script];
      return spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" }).stderr;
    };
    expect(stderrOf("")).toMatch(
      /^\(node:\d+\) \[QUORUM_LOCK_NOOP\] QuorumLockWarning: backend noop grants everything.*: nothing is locked\n/,
    );
    expect(stderrOf("").split("nothing is locked")).toHaveLength(2);
    expect(stderrOf("{ quiet: true }")).toBe("");
  });

  it("is no lock, which the conformance list notices", async () => {
    const failed: string[] = [];
    for (const each of conformanceCases.filter(({ needs = [] }) => needs.length === 0)) {
      const { context, drive } = virtualSetup(() => ({ ...noop({ quiet: true }), restart: () => undefined }));
      const running = each.run(context);
      await (drive?.(running) ?? running).catch(() => failed.push(each.name));
    }
    expect(failed).toContain("another owner is granted the lock when its TTL is over, and not before");
    expect(failed.length).toBeGreaterThan(20);
  });
});
