/** What may be asked of a chaos run. */
import { describe, expect, it } from "vitest";
import { HELP, parseOptions, type ChaosOptions } from "./options.ts";

function parsed(...words: readonly string[]): ChaosOptions {
  const options = parseOptions(words);
  if (options === "help") throw new Error("help");
  return options;
}

function sets(...words: readonly string[]): readonly string[] {
  return parsed(...words).sets.map(
    ({ kinds, quorum }) => `${quorum} of ${kinds.map(({ name }) => name).join(" ")}`,
  );
}

describe("the options of chaos", () => {
  it("take three and five backends in turn, also with a larger quorum, unless told otherwise", () => {
    const five = "redis redis redis redis redis";
    expect(sets()).toEqual(["2 of redis redis redis", `3 of ${five}`, `4 of ${five}`]);
    expect(sets("--backends", "5")).toEqual([`3 of ${five}`]);
    expect(sets("--backends", "5", "--quorum", "5")).toEqual([`5 of ${five}`]);
  });

  it("deal out several kinds in turn", () => {
    expect(sets("--backends", "3", "--kinds", "redis,redis-durable")).toEqual([
      "2 of redis redis-durable redis",
    ]);
  });

  it("name every option and phase in the help", () => {
    expect(parseOptions(["--help"])).toBe("help");
    for (const word of ["--minutes", "--phase", "--plant", "server-clocks", "deaf-guard"])
      expect(HELP).toContain(word);
  });

  it.each([
    [["--phase", "x"], "--phase must be one of kills"],
    [["--plant", "x"], "--plant must be one of minority"],
    [["--backends", "3", "--quorum", "1"], "--quorum must be a number from 2 to 3"],
    [["--backends", "0"], "--backends must be a number from 1 to 9"],
    [["--backends", "3.5"], "--backends must be a whole number"],
    [["--kinds", "abacus"], 'no kind "abacus"'],
    [["--minutes", "x"], "--minutes must be a number"],
    [["--minuts", "3"], "--minuts"],
  ])("refuse %s", (words, message) => {
    expect(() => parseOptions(words)).toThrow(message);
  });
});
