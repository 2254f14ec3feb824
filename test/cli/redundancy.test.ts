// What a run says when its lock hangs on fewer backends than before: soon, seldom, and never too late.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BackendError, type BackendErrorCode, NoQuorumError } from "../../src/errors.ts";
import type { LockerEventName, LockerEvents } from "../../src/lock/events.ts";
import type { Locker } from "../../src/lock/locker.ts";
import type { LockerOptions } from "../../src/options.ts";
import { watchRedundancy, type Redundancy } from "../../src/cli/redundancy.ts";

const told = vi.hoisted(() => [] as string[]);
vi.mock("../../src/cli/terminal.ts", () => ({ tell: (line: string) => told.push(line) }));

beforeEach(() => {
  told.length = 0;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

interface Stage {
  readonly redundancy: Redundancy;
  emit<Name extends LockerEventName>(name: Name, event: LockerEvents[Name]): void;
  fail(backend: string, code?: BackendErrorCode): void;
  recover(backend: string): void;
}

/** Five backends, named a to e, of which three decide. */
function stage(): Stage {
  const listeners = new Map<string, (event: never) => void>();
  const locker = {
    on(name: string, listener: (event: never) => void): () => void {
      listeners.set(name, listener);
      return () => listeners.delete(name);
    },
  } as unknown as Locker;
  const backends = ["a", "b", "c", "d", "e"].map((name) => ({ name }));
  const redundancy = watchRedundancy(locker, { backends } as unknown as LockerOptions, "k");
  const emit: Stage["emit"] = (name, event) => listeners.get(name)?.(event as never);
  return {
    redundancy,
    emit,
    fail: (backend, code = "BACKEND_NOT_CONNECTED") =>
      emit("backendFault", { backend, error: new BackendError(code, { backend, what: "not connected" }) }),
    recover: (backend) => emit("backendRecovered", { backend }),
  };
}

test("says which backend failed, why, and how many are left, a moment later", () => {
  const { redundancy, fail } = stage();
  redundancy.start();
  fail("b");
  vi.advanceTimersByTime(299);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(["backend b failed (not connected); 4 of 5 left, 3 needed"]);
});

test("says at the start what failed before the lock was granted, and nothing when nothing did", () => {
  const { redundancy, fail } = stage();
  fail("e");
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  redundancy.start();
  vi.advanceTimersByTime(300);
  expect(told).toEqual(["backend e failed (not connected); 4 of 5 left, 3 needed"]);
  const quiet = stage();
  quiet.redundancy.start();
  quiet.redundancy.stop();
  expect(told).toHaveLength(1);
});

test("says several failures of one moment in one line, and when the next one loses the lock", () => {
  const { redundancy, fail } = stage();
  redundancy.start();
  fail("a");
  vi.advanceTimersByTime(200);
  fail("c");
  vi.advanceTimersByTime(100);
  expect(told).toEqual([
    "backend a failed (not connected); backend c failed (not connected); 3 of 5 left, 3 needed: one more failure loses the lock",
  ]);
});

test("says that a backend is back, but not more often than every ten seconds", () => {
  const { redundancy, fail, recover } = stage();
  redundancy.start();
  fail("a");
  vi.advanceTimersByTime(300);
  for (let second = 0; second < 9; second++) {
    recover("a");
    vi.advanceTimersByTime(500);
    fail("a");
    vi.advanceTimersByTime(500);
  }
  recover("a");
  expect(told).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  expect(told.slice(1)).toEqual(["backend a is back; all 5 hold the lock again"]);
});

test("says at once when too few are left, however little time has passed since the last line", () => {
  const { redundancy, fail } = stage();
  redundancy.start();
  fail("a");
  vi.advanceTimersByTime(300);
  fail("b");
  vi.advanceTimersByTime(1_000);
  expect(told).toHaveLength(1);
  fail("c");
  vi.advanceTimersByTime(300);
  expect(told.slice(1)).toEqual([
    "backend b failed (not connected); backend c failed (not connected); 2 of 5 left, 3 needed: " +
      "the lock cannot be extended, and is lost unless they come back",
  ]);
});

test("counts a backend that does not vote after a restart as missing, until its quarantine is over", () => {
  const { redundancy, emit, fail, recover } = stage();
  redundancy.start();
  fail("d");
  recover("d");
  emit("backendQuarantined", { backend: "d", remainingMs: 60_000, joined: true });
  vi.advanceTimersByTime(300);
  expect(told).toEqual(["backend d has a new memory and does not vote for a while; 4 of 5 left, 3 needed"]);
  vi.advanceTimersByTime(60_000);
  expect(told.slice(1)).toEqual(["backend d is back; all 5 hold the lock again"]);
});

test("says at the end of a short job what there was no time to say", () => {
  const { redundancy, fail } = stage();
  redundancy.start();
  fail("a");
  redundancy.stop();
  expect(told).toEqual(["backend a failed (not connected); 4 of 5 left, 3 needed"]);
  fail("b");
  vi.advanceTimersByTime(60_000);
  expect(told).toHaveLength(1);
});

test("gives up the wait when so many refuse the password that no quorum is left, and names them all", () => {
  const { redundancy, fail } = stage();
  fail("a", "BACKEND_AUTH");
  fail("b", "BACKEND_AUTH");
  fail("c", "BACKEND_NOT_CONNECTED");
  vi.advanceTimersByTime(10_000);
  expect(redundancy.hopeless.aborted).toBe(false);
  fail("c", "BACKEND_AUTH");
  fail("d", "BACKEND_AUTH");
  vi.advanceTimersByTime(300);
  expect(redundancy.hopeless.aborted).toBe(true);
  const error: unknown = redundancy.hopeless.reason;
  expect(error).toBeInstanceOf(NoQuorumError);
  expect((error as NoQuorumError).votes.map(({ backend, vote }) => `${backend} ${vote}`)).toEqual([
    "a fault",
    "b fault",
    "c fault",
    "d fault",
    "e no-answer",
  ]);
});
