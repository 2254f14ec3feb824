/** A short run of chaos on real servers, every phase once, and runs in which something is broken, which the verdict must see. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { PLANTS, type Plant } from "./client-task.ts";
import { PHASES } from "./phases.ts";
import type { Verdict } from "./verdict.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TIMEOUT_MS = 240_000;

interface Ended {
  readonly code: number | null;
  readonly said: string;
  readonly verdict: Verdict;
}

async function chaos(...words: readonly string[]): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "quorum-lock-chaos-"));
  const json = join(folder, "verdict.json");
  try {
    const args = [join(ROOT, "scripts/chaos.mjs"), "--json", json, ...words];
    const { code, said } = await run(args);
    if (code !== 0 && code !== 1) throw new Error(`it ended with ${code}:\n${said}`);
    return { code, said, verdict: JSON.parse(readFileSync(json, "utf8")) as Verdict };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(args: readonly string[]): Promise<{ readonly code: number | null; readonly said: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, timeout: TIMEOUT_MS - 10_000 });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (bytes: Buffer) => (said += String(bytes)));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, said }));
  });
}

/** Which checker must see it, in which phase, with a plan in which it matters soon. */
const SEEN: Readonly<Record<Plant, { readonly phase: string; readonly by: RegExp; readonly seed: string }>> =
  {
    minority: { phase: "network", by: /: exclusion: /, seed: "1" },
    "deaf-guard": { phase: "clients", by: /: stale writes: (postgres|redis) took a write/, seed: "1" },
    "restart-guard-off": { phase: "kills", by: /: exclusion: /, seed: "1" },
    "late-signal": { phase: "freezes", by: /: loss signal: .* after the end/, seed: "1" },
  };

await describeWithServer("postgres", "chaos on real servers", () => {
  test("nothing promised breaks in a short run of every phase", { timeout: TIMEOUT_MS }, async () => {
    const { code, said, verdict } = await chaos("--minutes", "0.6");
    expect(verdict.violations, said).toEqual([]);
    expect(code).toBe(0);
    expect(new Set(verdict.phases.map(({ phase }) => phase))).toEqual(
      new Set(PHASES.map(({ name }) => name)),
    );
    expect(new Set(verdict.phases.map(({ quorum, backends }) => `${quorum}/${backends}`))).toEqual(
      new Set(["2/3", "3/5", "4/5"]),
    );
    for (const { phase, holds, handovers, faults } of verdict.phases) {
      expect(holds, phase).toBeGreaterThan(5);
      expect(handovers, phase).toBeGreaterThan(2);
      expect(
        Object.values(faults).reduce((sum, count) => sum + count, 0),
        phase,
      ).toBeGreaterThan(0);
    }
    expect(verdict.writes.accepted).toBeGreaterThan(verdict.holds);
    expect(verdict.writes.stale).toBeGreaterThan(0);
    expect(verdict.signals).toBeGreaterThan(0);
  });

  describe("the verdict sees it when", () => {
    test.each(Object.entries(PLANTS))("%s: %s", { timeout: TIMEOUT_MS }, async (plant) => {
      const { phase, by, seed } = SEEN[plant as Plant];
      const words = [
        "--minutes",
        "0.15",
        "--backends",
        "3",
        "--phase",
        phase,
        "--seed",
        seed,
        "--plant",
        plant,
      ];
      const { code, said, verdict } = await chaos(...words);
      expect(code, said).toBe(1);
      expect(
        verdict.violations.filter((each) => by.test(each)),
        said,
      ).not.toEqual([]);
      const kept = /The histories are in (\S+)/.exec(said)?.[1] ?? "";
      expect(readFileSync(join(ROOT, kept, `000-${phase}`, "c0.1.jsonl"), "utf8")).toContain('"acquired"');
      rmSync(join(ROOT, kept), { recursive: true, force: true });
    });
  });

  test.each([
    [["--phase", "no-such-phase"], "--phase must be one of"],
    [["--plant", "no-such-plant"], "--plant must be one of"],
    [["--backends", "3", "--quorum", "1"], "--quorum must be a number from 2 to 3"],
    [["--kinds", "abacus"], "no kind"],
    [["--minutes", "x"], "--minutes must be a number"],
  ])("%s is refused in one line", async (words, message) => {
    const { code, said } = await run([join(ROOT, "scripts/chaos.mjs"), ...words]);
    expect(code).toBe(2);
    expect(said.trim().split("\n")).toEqual([expect.stringContaining(message)]);
  });
});
