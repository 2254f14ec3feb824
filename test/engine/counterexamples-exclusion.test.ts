/** The shortest runs that the search found when a rule about exclusion is missing, played with the rule. */
import { describe, expect, it } from "vitest";
import { mayHeal } from "../../src/engine/extension.js";
import { instant } from "../../src/engine/time.js";
import { layTable, type Player, type Table } from "./table.js";

/** A holds the lock on all backends but the last, where B has its vote. */
async function heldByA(table: Table, n = 3): Promise<readonly [a: Player, b: Player]> {
  const [a, b] = [table.attempt("A"), table.attempt("B")];
  await b.acquire(n);
  for (let backend = 1; backend < n; backend++) await a.acquire(backend);
  expect(a.verdict()).toBe("won");
  return [a, b];
}

describe("an extension", () => {
  it("does not count after the old validity ended: somebody else may have come and gone", async () => {
    const table = layTable();
    const [a] = await heldByA(table);
    table.pass(900);
    a.beginExtension();
    expect(await a.extend(1, false)).toBe("extended");
    table.pass(100);
    const c = table.attempt("C");
    await c.acquire(2);
    await c.acquire(3);
    expect(c.verdict()).toBe("won");
    await table.gone(2);
    expect(await a.extend(2, true)).toBe("recreated");
    expect(a.extension()).toBe("expired");
  });

  it("that is older and shorter does not shorten the lock", async () => {
    const table = layTable();
    const [a, b] = await heldByA(table);
    table.pass(500);
    a.beginExtension();
    await a.extend(1, false);
    await a.extend(2, false);
    expect(a.extension()).toBe("extended");
    const late = { key: "k", owner: "A", ttlMs: 100, token: 1n, mayHeal: false };
    await table.session(1).extend(late);
    table.pass(600);
    expect(await b.acquire(1)).toBe("held");
  });

  it("is not shortened by a duplicate of the first acquire either", async () => {
    const table = layTable();
    const [a, b] = await heldByA(table);
    table.pass(500);
    await a.extend(1, false);
    expect(await a.acquire(1)).toBe("granted");
    table.pass(600);
    expect(await b.acquire(1)).toBe("held");
  });

  it("does not undo a forced release: the backends deny it, and the lease is over", async () => {
    const table = layTable();
    const [a] = await heldByA(table);
    const confirmed = { at: table.now(), incarnation: "x" };
    table.pass(300);
    for (const backend of [1, 2, 3]) await table.gone(backend);
    a.beginExtension();
    const allowed = mayHeal(confirmed, "x", { now: table.now(), ttlMs: 1_000 });
    for (const backend of [1, 2]) expect(await a.extend(backend, allowed)).toBe("not-owner");
    expect(a.extension()).toBe("forced-out");
  });

  it("repairs a backend that was never confirmed, and counts it", async () => {
    const table = layTable();
    const [a] = await heldByA(table);
    await table.gone(3);
    a.beginExtension();
    expect(await a.extend(3, mayHeal(undefined, "x", { now: instant(0), ttlMs: 1_000 }))).toBe("recreated");
    await a.extend(1, false);
    expect(a.extension()).toBe("extended");
    expect(await table.show()).toEqual(["A 1", "A 1", "A 1"]);
  });
});

/** A table with a deployment at work. */
async function guarded(options: Parameters<typeof layTable>[0] = {}): Promise<Table> {
  const table = layTable({ ...options, restartGuard: "strict" });
  for (let backend = 1; backend <= (options.n ?? 3); backend++) {
    const { identity } = await table.session(backend).status();
    await table.session(backend).bootstrap(identity.incarnation);
  }
  return table;
}

describe("a backend that forgot", () => {
  it("does not vote at once, which made two holders", async () => {
    const table = await guarded();
    const [a, b] = await heldByA(table);
    table.restart(1);
    expect(await b.acquire(1)).toBe("quarantined");
    expect(await b.acquire(2)).toBe("held");
    expect([a.verdict(), b.verdict()]).toEqual(["won", "lost"]);
  });

  it("does not heal while it is quarantined, which made two holders", async () => {
    const table = await guarded();
    const [a] = await heldByA(table);
    table.restart(3);
    a.beginExtension();
    await a.extend(1, false);
    expect(await a.extend(3, true)).toBe("quarantined");
    expect(a.extension()).toBe("pending");
  });

  it("votes again only when no lease that it forgot can be valid", async () => {
    const table = await guarded();
    const [a] = await heldByA(table);
    table.restart(1);
    await table.session(1).status();
    let validForMs = 0;
    while (a.verdict() === "won") {
      const b = table.attempt(`B${validForMs}`);
      expect(await b.acquire(1)).toBe("quarantined");
      table.pass(1);
      validForMs++;
    }
    expect(validForMs).toBeGreaterThanOrEqual(1_000);
    table.pass(2);
    expect(await table.attempt("C").acquire(1)).toBe("granted");
  });

  it("gives larger tokens afterwards, by the proposals, when clocks agree within the skew", async () => {
    const skew = 100;
    for (const [ahead, behind] of [
      [0, 0],
      [skew, 0],
      [0, -skew],
      [skew, -skew],
    ] as const) {
      const table = await guarded({ clockSkewMs: skew });
      const a = table.attempt("A", ahead);
      await a.acquire(1);
      await a.acquire(2);
      expect(a.verdict()).toBe("won");
      table.restart(1);
      await table.session(1).status();
      table.pass(table.deployment.quarantineMs);
      const b = table.attempt("B", behind);
      await b.acquire(3);
      await b.acquire(1);
      expect(b.verdict()).toBe("won");
      expect((b.round().token ?? 0n) > (a.round().token ?? 0n)).toBe(true);
    }
  });
});

describe("a larger quorum, 3 of 4, without any quarantine", () => {
  it("survives one forgetful backend", async () => {
    const table = layTable({ n: 4, quorum: 3 });
    const [, b] = await heldByA(table, 4);
    table.restart(1);
    expect(await b.acquire(1)).toBe("granted");
    expect([await b.acquire(2), await b.acquire(3)]).toEqual(["held", "held"]);
    expect(b.verdict()).toBe("lost");
  });

  it("does not survive two, as documented", async () => {
    const table = layTable({ n: 4, quorum: 3 });
    const [a, b] = await heldByA(table, 4);
    for (const backend of [1, 2]) {
      table.restart(backend);
      await b.acquire(backend);
    }
    expect([a.verdict(), b.verdict()]).toEqual(["won", "won"]);
  });
});
