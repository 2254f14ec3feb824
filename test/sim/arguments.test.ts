import { describe, expect, it } from "vitest";
import { HELP, isSingle, parseArguments, UsageError } from "./arguments.js";
import { INSIDE_NAMES, OUTSIDE_NAMES, PROFILES } from "./profiles.js";

describe("the command line of the simulation", () => {
  it("runs all profiles inside the assumptions when nothing is said", () => {
    const parsed = parseArguments([]);
    expect(parsed.profiles).toEqual(INSIDE_NAMES);
    expect(isSingle(parsed)).toBe(false);
  });

  it("reads values with and without an equals sign", () => {
    expect(parseArguments(["--seeds=7", "--seed", "3", "--profile", "strict"])).toMatchObject({
      seeds: 7,
      seed: 3,
      profiles: ["strict"],
    });
    expect(parseArguments(["--minutes", "0.5"]).minutes).toBe(0.5);
    expect(parseArguments(["--profile", "all"]).profiles).toEqual([...INSIDE_NAMES, ...OUTSIDE_NAMES]);
    expect(parseArguments(["--profile", "strict", "--seed", "3", "--faults", "none"]).faults).toEqual([]);
  });

  it.each([
    [["--bogus"], "unknown option --bogus"],
    [["12"], "unknown option 12"],
    [["--trace=yes", "--seed", "1"], "unknown option --trace=yes"],
    [["--seed"], "--seed needs a value"],
    [["--seed", "0"], "--seed must be a whole number above 0; got 0"],
    [["--seed", "1.5"], "--seed must be a whole number"],
    [["--seeds", "many"], "--seeds must be a whole number"],
    [["--minutes", "-1"], "--minutes must be a number above 0"],
    [["--profile", "calm"], "--profile must be inside, outside, all or one of"],
    [["--profile", "toString"], "--profile must be"],
    [["--trace"], "--trace needs --seed"],
    [["--svg", "x.svg", "--seed", "1"], "need --seed and one --profile"],
    [["--faults", "1,x", "--seed", "1", "--profile", "strict"], "--faults must be numbers"],
    [["--full"], "--full, --only and --without need --mutants"],
    [["--without", "leaks"], "--full, --only and --without need --mutants"],
    [["--mutants", "--without", "luck"], "--without must be one of"],
    [["--hash", "--minutes", "1"], "--hash needs --seeds"],
  ])("refuses %j in one line", (args, message) => {
    const refused = (): unknown => parseArguments(args);
    expect(refused).toThrow(UsageError);
    try {
      refused();
    } catch (error) {
      expect((error as Error).message).not.toContain("\n");
    }
    expect(refused).toThrow(message);
  });

  it("explains every option and names every profile", () => {
    for (const name of Object.keys(PROFILES)) expect(HELP).toContain(name);
    for (const option of [
      "--profile",
      "--seeds",
      "--seed",
      "--minutes",
      "--trace",
      "--faults",
      "--svg",
      "--mutants",
    ]) {
      expect(HELP).toContain(option);
    }
  });
});
