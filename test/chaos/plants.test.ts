/** Runs of chaos in which something is broken: the verdict must see it, and keep the histories. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeWithServer } from "../servers/needs.ts";
import { PLANTS, type Plant } from "./client-task.ts";
import { chaos, ROOT, TIMEOUT_MS } from "./run-chaos.ts";

interface Seen {
  /** A phase and a plan in which it matters soon. */
  readonly words: readonly string[];
  /** What the verdict must say. */
  readonly by: RegExp;
}

const SEEN: Readonly<Record<Plant, Seen>> = {
  minority: { words: ["--phase", "network", "--minutes", "0.1"], by: /: exclusion: / },
  "deaf-guard": {
    words: ["--phase", "clients", "--minutes", "0.15"],
    by: /: stale writes: (postgres|redis) took a write/,
  },
  "restart-guard-off": {
    words: ["--phase", "kills", "--minutes", "0.2", "--seed", "2"],
    by: /: exclusion: /,
  },
  "late-signal": {
    words: ["--phase", "freezes", "--minutes", "0.15"],
    by: /: loss signal: .* after the end/,
  },
};

await describeWithServer("postgres", "the verdict of chaos fails when", () => {
  test.each(Object.entries(PLANTS))("%s: %s", { timeout: TIMEOUT_MS }, async (plant) => {
    const { words, by } = SEEN[plant as Plant];
    const { code, said, verdict } = await chaos("--backends", "3", "--plant", plant, ...words);
    expect(code, said).toBe(1);
    expect(
      verdict.violations.filter((each) => by.test(each)),
      said,
    ).not.toEqual([]);
    const kept = join(ROOT, /The histories are in (\S+)/.exec(said)?.[1] ?? "");
    const first = join(kept, `000-${verdict.phases[0]?.phase}`);
    expect(readFileSync(join(first, "c0.1.jsonl"), "utf8")).toContain('"acquired"');
    expect(readFileSync(join(first, "resources.json"), "utf8")).toContain('"postgres"');
    rmSync(kept, { recursive: true, force: true });
  });
});
