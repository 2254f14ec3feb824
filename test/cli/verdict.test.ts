// What `check` concludes, where real servers would have to be made so with much effort.
import { expect, test } from "vitest";
import type { Deployment, Finding, StatusReply } from "../../src/backend.ts";
import { judge, notesOf, type Note, type Verdict } from "../../src/cli/verdict.ts";
import type { Trial } from "../../src/cli/trial.ts";
import type { BackendExamination } from "../../src/lock/examine.ts";

const DEPLOYMENT: Deployment = {
  backends: 3,
  quorum: 2,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  quarantineMs: 62_600,
  tokenRetentionMs: 604_800_000,
  restartGuard: "auto",
};
const IN_SERVICE: StatusReply = { kind: "in-service", identity: { serverId: "s", incarnation: "i" } };

interface How {
  readonly offsetMs?: number;
  readonly uncertaintyMs?: number;
  readonly latencyMs?: number;
  readonly status?: StatusReply;
  readonly findings?: readonly Finding[];
}

function seen(backend: string, how: How = {}): BackendExamination {
  const { offsetMs = 0, uncertaintyMs = 1, latencyMs = 1, status = IN_SERVICE, findings = [] } = how;
  return {
    backend,
    kind: "redis",
    capabilities: {} as BackendExamination["capabilities"],
    status: { kind: "reply", reply: status },
    latencyMs,
    examination: { kind: "reply", reply: { server: "Redis 7.0.15", wallMs: 0, findings } },
    clock: { offsetMs, uncertaintyMs },
    sameServerAs: [],
  };
}

function judged(...examined: readonly BackendExamination[]): Verdict {
  return judge(examined, DEPLOYMENT, new Map());
}

/** As "LEVEL TOPIC about: text". */
function bad(verdict: Verdict): readonly string[] {
  return notesOf(verdict)
    .filter(({ note }) => note.level !== "good")
    .map(
      ({ about, note }: { about: string; note: Note }) =>
        `${note.level} ${note.topic} ${about}: ${note.text}`,
    );
}

test("clocks that are each near enough to ours may be too far from each other", () => {
  expect(bad(judged(seen("a", { offsetMs: -800 }), seen("b"), seen("c", { offsetMs: 700 })))).toEqual([
    "warning clock a: its clock is 800ms behind this host's; 1s is allowed (--clock-skew)",
    "warning clock c: its clock is 700ms ahead of this host's; 1s is allowed (--clock-skew)",
    "problem clock all: the clocks of a and c are 1.5s apart; 1s is allowed (--clock-skew)",
  ]);
});

test("a clock is not blamed for what a slow answer cannot tell", () => {
  const slow = { offsetMs: 1_400, uncertaintyMs: 1_000, latencyMs: 2_000 };
  expect(bad(judged(seen("a"), seen("b"), seen("c", slow)))).toEqual([
    "warning answer c: takes 2s to answer; where a quorum is that slow, every lock is",
  ]);
});

test("this host is blamed when all others agree, and nobody is twice", () => {
  expect(
    bad(
      judged(
        seen("a", { offsetMs: -5_000 }),
        seen("b", { offsetMs: -5_010 }),
        seen("c", { offsetMs: -5_020 }),
      ),
    ),
  ).toEqual([
    "problem clock all: the clock of this host is at least 5s ahead of those of all backends; 1s is allowed (--clock-skew)",
  ]);
});

test("a promise that was broken is told with what came, and the others are not called kept", () => {
  const trial: Trial = {
    kept: 62,
    broken: [{ promise: "an extend never shortens the lock", what: "it ended" }],
  };
  const verdict = judge([seen("a"), seen("b"), seen("c")], DEPLOYMENT, new Map([["b", trial]]));
  expect(bad(verdict)).toEqual([
    "problem trial b: broke a promise: an extend never shortens the lock (it ended)",
  ]);
});

test("a set that still votes, but cannot lose another one, is a warning", () => {
  const status: StatusReply = {
    kind: "quarantined",
    remainingMs: 41_000,
    joined: true,
    identity: IN_SERVICE.identity,
  };
  const verdict = judged(seen("a"), seen("b"), seen("c", { status }));
  expect([verdict.votes, verdict.quorum]).toEqual([2, 2]);
  expect(bad(verdict)).toEqual([
    "warning service c: does not vote for another 41s: its memory is new (a restart, a restore, or the first use)",
    "warning number all: 2 of 3 vote, 2 are needed: the next failure stops all locks",
  ]);
});

test("what an adapter finds is told as it says it", () => {
  const findings: readonly Finding[] = [
    { level: "problem", topic: "storage", text: "disk is full", remedy: "make room" },
    { level: "good", topic: "version", text: "Redis 7.0.15" },
  ];
  const verdict = judged(seen("a", { findings }), seen("b"), seen("c"));
  expect(verdict.backends[0]?.notes[0]).toEqual({
    level: "problem",
    topic: "storage",
    text: "disk is full",
    remedy: "make room",
  });
  expect(verdict.backends[0]?.notes.some(({ topic }) => topic === "version")).toBe(false);
});
