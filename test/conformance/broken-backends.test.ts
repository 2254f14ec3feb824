import { describe, expect, it } from "vitest";
import { conformanceCases, missingNeeds } from "../../src/testing/conformance.js";
import { BREAKS, type Break } from "./breaks.js";
import { describeConformance } from "./run-conformance.js";
import { twinBackend } from "./twin-backend.js";
import { virtualSetup, type MakeBackend } from "./virtual-context.js";

const make =
  (wrong?: Break, durable?: boolean): MakeBackend =>
  (clock, incarnation) =>
    twinBackend({ clock, incarnation }, wrong, durable);

describeConformance("the plain twin", () => virtualSetup(make()));
describeConformance("the plain twin, durable", () => virtualSetup(make(undefined, true)));

/** The cases that fail, each with its first words. */
async function failures(makeBackend: MakeBackend): Promise<ReadonlyMap<string, string>> {
  const failed = new Map<string, string>();
  for (const each of conformanceCases) {
    const { context, drive } = virtualSetup(makeBackend);
    if (missingNeeds(each, context).length > 0) continue;
    const running = each.run(context);
    await (drive?.(running) ?? running).catch((error: Error) => failed.set(each.name, error.message));
  }
  return failed;
}

describe("the conformance list", () => {
  const names = Object.keys(BREAKS) as Break[];
  const caught = new Set<string>();

  it.each(names)("catches a backend where: %s", async (wrong) => {
    const failed = await failures(make(wrong));
    // What breaks nearly everything proves little of a single case.
    if (failed.size < conformanceCases.length / 3) for (const name of failed.keys()) caught.add(name);
    expect([...failed]).not.toEqual([]);
  });

  it("holds no case that no broken backend fails", async () => {
    for (const name of (await failures(make("kept memory votes", true))).keys()) caught.add(name);
    for (const name of (await failures(brokenDurable)).keys()) caught.add(name);
    const toothless = conformanceCases.map((each) => each.name).filter((name) => !caught.has(name));
    expect(toothless).toEqual([]);
  });

  it("has a name of its own for every case", () => {
    expect(new Set(conformanceCases.map((each) => each.name)).size).toBe(conformanceCases.length);
  });
});

/** Says that it is durable, and forgets who it was. */
const brokenDurable: MakeBackend = (clock, incarnation) => {
  const twin = twinBackend({ clock, incarnation });
  return { ...twin, capabilities: { ...twin.capabilities, durable: true } };
};
