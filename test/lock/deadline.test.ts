import { expect, it } from "vitest";
import { Deadline } from "../../src/lock/deadline.js";
import { createVirtualTime, type VirtualProcess, type VirtualTime } from "../../src/testing/index.js";
import { drain } from "./stage.js";

interface Started {
  readonly time: VirtualTime;
  readonly process: VirtualProcess;
  readonly deadline: Deadline;
  /** When it was over, in ms of true time. */
  readonly overAt: readonly number[];
}

function started(deadlineMs: number): Started {
  const time = createVirtualTime({ seed: 1, drain });
  const process = time.process();
  const overAt: number[] = [];
  const since = process.now();
  const deadline = new Deadline(process, { since, deadlineMs }, () => overAt.push(time.trueMs()));
  return { time, process, deadline, overAt };
}

it("a deadline is over once, at its time", async () => {
  const { time, overAt } = started(100);
  await time.advance(99);
  expect(overAt).toEqual([]);
  await time.advance(500);
  expect(overAt).toEqual([100]);
});

it("a deadline that a stall has passed is over one turn later, when answers were read", async () => {
  const { time, process, overAt } = started(100);
  process.stall(200);
  await time.advance(500);
  expect(overAt).toEqual([201]);
});

it("a deadline that is cancelled is never over, also while answers are read", async () => {
  const early = started(100);
  await early.time.advance(50);
  early.deadline.cancel();
  await early.time.advance(500);
  expect(early.overAt).toEqual([]);
  const late = started(100);
  late.process.stall(200);
  await late.time.advance(200.5);
  late.deadline.cancel();
  late.deadline.cancel();
  await late.time.advance(500);
  expect(late.overAt).toEqual([]);
});
