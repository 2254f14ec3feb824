/** Who waits on a store with watches: what is watched and for how long, and who is called by what the watch shows. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { LineSight } from "../../src/adapters/shared/cas-store.js";
import { keepWatching } from "../../src/adapters/shared/keep-watching.js";
import { createWatcher } from "../../src/adapters/shared/watcher.js";
import { RESERVATION_MS } from "../../src/engine/line.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A watcher, what it watches, and whom it called. */
function waiting(watchesMax?: number) {
  const watched = new Map<string, (sight: LineSight) => void>();
  const watcher = createWatcher((key, changed) => {
    watched.set(key, changed);
    return () => watched.delete(key);
  }, watchesMax);
  const calls: [string, number][] = [];
  const stop = watcher.watch((ticket, inMs) => calls.push([ticket, inMs]));
  return { watcher, watched, calls, stop };
}

const ticket = (id: string, waitsMs = 60_000) => ({ id, since: BigInt(id.length), waitsMs });
const kept = (id: string, since = 1n) => ({ id, since, until: 9_000 });

test("a key is watched while a ticket for it waits, once for all of them", () => {
  const { watcher, watched } = waiting();
  expect(watcher.ticketOf("k", ticket("1"))).toEqual({
    id: watcher.address("1"),
    since: 1n,
    waitsMs: 60_000,
  });
  expect([...watched.keys()]).toEqual([]);
  watcher.joined("k", ticket("1"));
  watcher.joined("k", ticket("2"));
  watcher.joined("other", ticket("3"));
  expect([...watched.keys()]).toEqual(["k", "other"]);
  watcher.left("1");
  expect([...watched.keys()]).toEqual(["k", "other"]);
  watcher.left("2");
  expect([...watched.keys()]).toEqual(["other"]);
  watcher.close();
  expect([...watched.keys()]).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test("who does not say that it waits no more is forgotten when its wait is over", () => {
  const { watcher, watched } = waiting();
  watcher.joined("k", ticket("1", 20_000));
  vi.advanceTimersByTime(19_000);
  expect(watched.size).toBe(1);
  vi.advanceTimersByTime(10_000);
  expect(watched.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("many who ask at once are no more watches than allowed", () => {
  const { watcher, watched } = waiting(2);
  const asked = ["1", "2", "3", "4"].map((id) => watcher.ticketOf(id, ticket(id)));
  expect(asked.filter((each) => each !== undefined).length).toBeGreaterThanOrEqual(2);
  for (const id of ["1", "2", "3", "4"]) watcher.joined(id, ticket(id));
  expect([...watched.keys()]).toEqual(["1", "2"]);
  watcher.left("1");
  watcher.joined("3", ticket("3"));
  expect([...watched.keys()]).toEqual(["2", "3"]);
  watcher.close();
  expect(vi.getTimerCount()).toBe(0);
});

test("nobody stands in line who would not hear of it: no listener, too many keys, a name too long", () => {
  const { watcher, stop } = waiting(1);
  watcher.joined("k", ticket("1"));
  expect(watcher.ticketOf("k", ticket("2"))).toBeDefined();
  expect(watcher.ticketOf("other", ticket("3"))).toBeUndefined();
  expect(watcher.ticketOf("k", ticket("4".repeat(65)))).toBeUndefined();
  stop();
  expect(watcher.ticketOf("k", ticket("2"))).toBeUndefined();
});

test("the first in line is called at once, the second after the reservation, nobody twice, and nobody else", () => {
  const { watcher, watched, calls } = waiting();
  const [a, b, c] = ["1", "2", "3"].map((id) => {
    watcher.joined("k", ticket(id));
    return kept(watcher.address(id));
  });
  watched.get("k")?.({ line: { waiting: [a, b, c] as never, reserved: undefined }, isFree: false });
  // The first time ever, to show that calls arrive.
  expect(calls.splice(0)).toEqual([
    ["1", 0],
    ["2", 0],
    ["3", 0],
  ]);
  const freed = { line: { waiting: [b, c] as never, reserved: { id: a?.id ?? "", until: 5 } }, isFree: true };
  watched.get("k")?.(freed);
  watched.get("k")?.(freed);
  expect(calls.splice(0)).toEqual([
    ["1", 0],
    ["2", RESERVATION_MS],
  ]);
  watched.get("k")?.({ line: { waiting: [b, c] as never, reserved: undefined }, isFree: true });
  expect(calls.splice(0), "free, and kept for nobody").toEqual([
    ["1", 2 * RESERVATION_MS],
    ["2", 0],
  ]);
  watched.get("k")?.({ line: { waiting: [b, c] as never, reserved: undefined }, isFree: false });
  watched.get("k")?.({ line: { waiting: [kept("of another session")], reserved: undefined }, isFree: true });
  expect(calls.splice(0), "those who found no room, behind the others").toEqual([
    ["1", 2 * RESERVATION_MS],
    ["2", 2 * RESERVATION_MS],
    ["3", 2 * RESERVATION_MS],
  ]);
});

test("a reservation is over when it was seen for its whole time, whatever the clock of the store", () => {
  const { watcher } = waiting();
  const reserved = { id: "x", until: 99_999 };
  const line = { waiting: [], reserved };
  expect(watcher.over("k", line)).toBeUndefined();
  vi.advanceTimersByTime(RESERVATION_MS - 1);
  expect(watcher.over("k", line)).toBeUndefined();
  expect(watcher.over("k", { ...line, reserved: { ...reserved, id: "y" } }), "another one").toBeUndefined();
  expect(watcher.over("k", line), "and the first again").toBeUndefined();
  vi.advanceTimersByTime(RESERVATION_MS);
  expect(watcher.over("k", line)).toEqual(reserved);
  expect(watcher.over("k", undefined)).toBeUndefined();
  expect(watcher.over("k", line), "made anew").toBeUndefined();
});

test("a watch that broke is begun anew, later each time, until it is stopped", () => {
  const begun: number[] = [];
  const ended: number[] = [];
  let ends: Parameters<Parameters<typeof keepWatching>[0]>[0] | undefined;
  const stop = keepWatching((given) => {
    ends = given;
    const number = begun.push(Date.now());
    return () => ended.push(number);
  });
  expect(begun).toHaveLength(1);
  for (let i = 0; i < 12; i++) {
    ends?.gone();
    ends?.gone();
    vi.runOnlyPendingTimers();
  }
  const pauses = begun.slice(1).map((at, i) => at - (begun[i] ?? 0));
  expect(pauses[0]).toBe(50);
  expect(pauses[1]).toBe(100);
  expect(Math.max(...pauses)).toBe(5_000);
  expect(ended).toHaveLength(12);
  ends?.well();
  ends?.gone();
  vi.runOnlyPendingTimers();
  expect((begun.at(-1) ?? 0) - (begun.at(-2) ?? 0), "as at first, once it stood").toBe(50);
  ends?.gone();
  stop();
  stop();
  vi.runOnlyPendingTimers();
  expect(begun).toHaveLength(14);
});
