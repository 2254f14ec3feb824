/**
 * The checkers, proved: each planted bug is seen by them, each checker is needed for one of the bugs, and a mutant whose
 * text is no longer in the code says so. The mutants are planted in compiled code, so the command line runs them.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { compileSim } from "../../scripts/compile-sim.mjs";
import { CHECKERS } from "./checkers/all.js";
import { MUTANTS } from "./mutants.js";
import { PROFILES } from "./profiles.js";
import { PLANTED, readFindings } from "./run-mutants.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const LIMIT_MS = 600_000;

/** What the command printed, and its exit code. */
interface Ran {
  readonly code: number;
  readonly text: string;
}

/** The command as users run it. */
function sim(args: readonly string[]): Promise<Ran> {
  return node(["scripts/sim.mjs", ...args]);
}

let compiled: URL | undefined;

/** The same, compiled once for all of these tests. */
function compiledSim(args: readonly string[]): Promise<Ran> {
  compiled ??= compileSim();
  const main = JSON.stringify(new URL("main.js", compiled).href);
  const script = `const { main } = await import(${main}); process.exit(await main(${JSON.stringify(args)}));`;
  return node(["--max-semi-space-size=64", "--input-type=module", "-e", script]);
}

function node(args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, encoding: "utf8", timeout: LIMIT_MS } as const;
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      resolve({ code, text: stdout + stderr });
    });
  });
}

/** For each checker a mutant that no other one sees. */
const ONLY_SEEN_BY: Readonly<Record<string, string>> = {
  exclusion: "half a quarantine",
  tokens: "proposals are not clamped",
  "stale writes": "the guard lets every write pass",
  resurrection: "heal of a forced release",
  "loss signal": "a loss is noticed by requests only",
  liveness: "a quarantine that never ends",
  leaks: "a straggler is not released",
  line: "the last in line goes first",
  waking: "a call wakes nobody",
  turns: "tickets count backwards, so that who came last goes first",
  standstill: "what a lost attempt gives back does not name its ticket",
};

describe("the simulation", () => {
  it("has at least 25 mutants, each with a name, a profile and a budget of its own", () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(25);
    expect(new Set(PLANTED.map(({ name }) => name)).size).toBe(PLANTED.length);
    for (const { seenBy, profile, worlds } of PLANTED) {
      for (const checker of seenBy) expect(Object.keys(CHECKERS)).toContain(checker);
      expect(Object.keys(PROFILES)).toContain(profile);
      expect(worlds).toBeGreaterThan(0);
    }
  });

  it("has a recorded find of each within its budget", () => {
    const findings = readFindings(new URL("mutant-findings.json", import.meta.url));
    expect(findings.map(({ name }) => name)).toEqual(PLANTED.map(({ name }) => name));
    for (const { name, world, checker } of findings) {
      const mutant = PLANTED.find((each) => each.name === name);
      expect(world).toBeLessThanOrEqual(mutant?.worlds ?? 0);
      expect(mutant?.seenBy).toContain(checker);
    }
  });

  it(
    "sees every mutant within its budget",
    async () => {
      const { code, text } = await compiledSim(["--mutants"]);
      expect(text).not.toContain("SURVIVED");
      expect(text).toContain(`${PLANTED.length} of ${PLANTED.length} mutants were seen.`);
      expect(code).toBe(0);
    },
    LIMIT_MS,
  );

  it("has a mutant for each checker that no other checker sees", () => {
    expect(Object.keys(ONLY_SEEN_BY).sort()).toEqual(Object.keys(CHECKERS).sort());
    for (const [checker, name] of Object.entries(ONLY_SEEN_BY)) {
      expect(MUTANTS.find((mutant) => mutant.name === name)?.seenBy).toEqual([checker]);
    }
  });

  it.each(Object.entries(ONLY_SEEN_BY))(
    "lets a mutant through without the checker of %s",
    async (checker, name) => {
      const { code, text } = await compiledSim(["--mutants", "--only", name, "--without", checker]);
      expect(text).toContain(`SURVIVED ${name}`);
      expect(code).toBe(1);
    },
    LIMIT_MS,
  );
});

describe("the command line of the simulation", () => {
  it("says in one line what is wrong with an option, and how to use it", async () => {
    const wrong = await sim(["--seed", "x"]);
    expect(wrong).toEqual({ code: 2, text: "sim: --seed must be a whole number above 0; got x\n" });
    const help = await sim(["--help"]);
    expect(help.code).toBe(0);
    expect(help.text).toContain("--minutes M");
  });

  it("tells how many worlds it ran, how fast and with what in them", async () => {
    const { code, text } = await sim(["--seeds", "2", "--profile", "strict"]);
    expect(code).toBe(0);
    expect(text).toMatch(
      /^2 worlds \(\d+ per second of processor time\), [\d.]+ simulated hours, \d+ events, \d+ faults, \d+ holds, [\d.]+ % of them won in one round trip; a world has \d+ events, [\d.]+ faults and [\d.]+ holds$/m,
    );
    expect(text).toContain("No promise was broken.");
  });
});
