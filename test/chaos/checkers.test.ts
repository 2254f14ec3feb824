/** The checkers of chaos, each on histories with and without what it must see. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { violationsOf } from "./checkers/all.js";
import { overlaps } from "./checkers/exclusion.js";
import { readHistory, type History, type Line, type LeaseRecord, type WriteRecord } from "./history.js";

interface Changes {
  readonly first?: Partial<LeaseRecord>;
  readonly second?: Partial<LeaseRecord>;
  readonly write?: Partial<WriteRecord>;
  readonly took?: readonly bigint[];
  readonly exclusion?: boolean;
  readonly stalls?: readonly { readonly fromMs: number; readonly toMs: number }[];
}

/** Two leases one after the other, the first of which expired, and a write of each. */
function history(changes: Changes = {}): History {
  const first: LeaseRecord = {
    lease: "a/1",
    client: "a",
    key: "key",
    token: 10n,
    attemptMs: 90,
    acquiredMs: 100,
    validUntilMs: 1_000,
    heldUntilMs: 970,
    extensions: [],
    signal: { atMs: 970, reason: "expired" },
    releasingMs: undefined,
    ...changes.first,
  };
  const second: LeaseRecord = {
    ...first,
    lease: "b/1",
    client: "b",
    token: 20n,
    attemptMs: 95,
    acquiredMs: 1_010,
    validUntilMs: 2_000,
    heldUntilMs: 1_500,
    signal: undefined,
    releasingMs: 1_500,
    ...changes.second,
  };
  const write: WriteRecord = {
    lease: "a/1",
    client: "a",
    key: "key",
    token: first.token,
    resource: "postgres",
    atMs: 200,
    answeredMs: 201,
    outcome: "accepted",
    why: undefined,
    ...changes.write,
  };
  return {
    judged: { exclusion: changes.exclusion ?? true },
    leases: [first, second],
    writes: [write],
    logs: [{ resource: "postgres", key: "key", tokens: changes.took ?? [first.token, second.token] }],
    stalls: new Map([["a", changes.stalls ?? []]]),
    ends: new Map([
      ["a", 5_000],
      ["b", 5_000],
    ]),
    refusals: new Map(),
  };
}

function seen(changes: Changes): readonly string[] {
  return violationsOf(history(changes)).map(({ checker, what }) => `${checker}: ${what}`);
}

describe("the checkers", () => {
  it("see nothing wrong where nothing is", () => {
    expect(seen({})).toEqual([]);
  });

  it("see two leases held at once", () => {
    const changes: Changes = { second: { acquiredMs: 960 } };
    expect(seen(changes)).toEqual([expect.stringMatching(/^exclusion: key was held twice for 10\.000 ms/)]);
  });

  it("see a lease inside another one, and one that overlaps the longer of two", () => {
    const both = history({ first: { heldUntilMs: 3_000, validUntilMs: 3_000 } });
    const third = {
      ...(both.leases[1] as LeaseRecord),
      lease: "c/1",
      token: 30n,
      attemptMs: 1_900,
      acquiredMs: 2_000,
    };
    const all = { ...both, leases: [...both.leases, { ...third, heldUntilMs: 2_100 }] };
    expect(overlaps(all).map(({ what }) => what)).toEqual([
      expect.stringContaining("held twice for 490.000 ms: lease a/1"),
      expect.stringContaining("held twice for 100.000 ms: lease a/1"),
    ]);
  });

  it("only count that where exclusion is not promised", () => {
    const changes: Changes = { second: { acquiredMs: 960 }, exclusion: false };
    expect(seen(changes)).toEqual([]);
    expect(overlaps(history(changes))).toHaveLength(1);
  });

  it("do not take a lease for held that was over when it came", () => {
    expect(seen({ second: { acquiredMs: 960, heldUntilMs: 950 } })).toEqual([]);
  });

  it("see a token twice", () => {
    expect(seen({ second: { token: 10n }, took: [10n, 10n] })).toEqual([
      expect.stringMatching(/^tokens: key: the same token twice: lease a\/1/),
    ]);
  });

  it("see a lower token of a lease that was acquired later", () => {
    expect(seen({ second: { token: 5n }, took: [10n] })).toEqual([
      expect.stringMatching(/^tokens: key: a lower token, though it was acquired later/),
    ]);
  });

  it("see a lower token of a later attempt, whatever is promised about exclusion", () => {
    expect(seen({ second: { token: 5n, attemptMs: 101 }, took: [10n], exclusion: false })).toEqual([
      expect.stringMatching(/^tokens: key: a lower token, though its attempt began after/),
    ]);
    expect(seen({ second: { token: 5n }, took: [10n], exclusion: false })).toEqual([]);
  });

  it("see a stale write that a resource took", () => {
    expect(seen({ took: [10n, 20n, 10n] })).toEqual([
      "stale writes: postgres took a write of key with token 10 after one with 20",
    ]);
  });

  it("see a write with a token of no lease", () => {
    expect(seen({ took: [10n, 15n, 20n] })).toEqual([
      "stale writes: postgres took a write of key with token 15 of no lease",
    ]);
  });

  it("see an accepted write that is not there", () => {
    expect(seen({ took: [20n] })).toEqual([
      "stale writes: postgres does not have a write of key with token 10 that it accepted",
    ]);
  });

  it("see a write refused as stale that was not", () => {
    expect(seen({ write: { outcome: "stale" } })).toEqual([]);
    expect(seen({ write: { outcome: "stale", token: 20n } })).toEqual([
      expect.stringContaining("refused a write of key with token 20 at 200.000 ms as stale"),
    ]);
  });

  it("see a loss signal that comes too early or too late, unless the process was stopped", () => {
    expect(seen({ first: { signal: { atMs: 940, reason: "expired" } } })).toEqual([
      expect.stringContaining("came 60.000 ms before the end of its validity"),
    ]);
    const late: Partial<LeaseRecord> = { signal: { atMs: 1_200, reason: "expired" } };
    expect(seen({ first: late })).toEqual([
      expect.stringContaining("came 200.000 ms after the end of its validity"),
    ]);
    expect(seen({ first: late, stalls: [{ fromMs: 900, toMs: 1_190 }] })).toEqual([]);
    expect(seen({ first: late, stalls: [{ fromMs: 500, toMs: 980 }] })).toHaveLength(1);
  });

  it("see a loss signal that never comes, unless the process was stopped", () => {
    const silent: Partial<LeaseRecord> = { signal: undefined };
    expect(seen({ first: silent })).toEqual(["loss signal: no signal of lease a/1 came in 4000 ms"]);
    expect(seen({ first: silent, stalls: [{ fromMs: 900, toMs: 4_900 }] })).toEqual([]);
  });
});

describe("a history", () => {
  it("is read from what clients wrote, up to the last whole line", () => {
    const folder = mkdtempSync(join(tmpdir(), "quorum-lock-history-"));
    try {
      const lines: readonly Line[] = [
        { kind: "attempt", atMs: 1, lease: "a/1", key: "key" },
        { kind: "acquired", atMs: 2, lease: "a/1", token: "10", validUntilMs: 500 },
        { kind: "extended", atMs: 300, lease: "a/1", validUntilMs: 800 },
        { kind: "write", atMs: 4, answeredMs: 5, lease: "a/1", resource: "redis", outcome: "accepted" },
        { kind: "stall", fromMs: 10, atMs: 60 },
        { kind: "attempt", atMs: 400, lease: "a/2", key: "key" },
        { kind: "refused", atMs: 450, lease: "a/2", code: "LOCK_HELD" },
      ];
      const path = join(folder, "a.jsonl");
      writeFileSync(path, `${lines.map((line) => JSON.stringify(line)).join("\n")}\n{"kind":"relea`);
      const files = [{ client: "a", path, endedMs: 700 }];
      const read = readHistory(files, { judged: { exclusion: true }, logs: [] });
      expect(read.leases).toMatchObject([{ token: 10n, validUntilMs: 800, heldUntilMs: 700, key: "key" }]);
      expect(read.writes).toMatchObject([{ token: 10n, client: "a", resource: "redis" }]);
      expect(read.stalls.get("a")).toEqual([{ fromMs: 10, toMs: 60 }]);
      expect([...read.refusals]).toEqual([["LOCK_HELD", 1]]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
