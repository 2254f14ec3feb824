/** The shortest runs that the search found when a rule about tokens is missing, played with the rule. */
import { describe, expect, it } from "vitest";
import { dueRaises } from "../../src/engine/round.js";
import { layTable } from "./table.js";

describe("without the raise the same token was issued twice; with it", () => {
  it("the second holder leaves its number on both of its backends before it holds", async () => {
    const table = layTable();
    const [a, b, c] = [table.attempt("A"), table.attempt("B"), table.attempt("C")];
    await a.acquire(1);
    await b.acquire(2);
    await c.acquire(3);
    await table.gone(1);
    await b.acquire(1);
    expect(await table.show()).toEqual(["B 2", "B 1", "C 1"]);
    expect([b.round().token, b.verdict(), dueRaises(b.round())]).toEqual([2n, "pending", [1]]);
    expect(await b.raise(2)).toBe("raised");
    expect([b.verdict(), b.round().token]).toEqual(["won", 2n]);
    await table.gone(2);
    await c.acquire(2);
    expect(await c.raise(3)).toBe("raised");
    expect([c.verdict(), c.round().token]).toEqual(["won", 3n]);
  });

  it("a later holder never gets a lower token, which a tie-break by backend allowed", async () => {
    const table = layTable();
    const before = table.attempt("X");
    await before.acquire(3);
    await table.gone(3);
    const [a, b, c] = [table.attempt("A"), table.attempt("B"), table.attempt("C")];
    await a.acquire(1);
    await b.acquire(2);
    await c.acquire(3);
    await table.gone(3);
    await a.acquire(3);
    expect(await table.show()).toEqual(["A 1", "B 1", "A 3"]);
    expect(a.verdict()).toBe("pending");
    await a.raise(1);
    expect([a.verdict(), a.round().token]).toEqual(["won", 3n]);
    await table.gone(1);
    await b.acquire(1);
    await b.raise(2);
    expect([b.verdict(), b.round().token]).toEqual(["won", 4n]);
  });
});

describe("with broken clocks, where a lock may be gone at any moment, the same token was issued twice", () => {
  it("when a late grant above the token was counted: it is not", async () => {
    const table = layTable();
    const [x, a, b] = [table.attempt("X"), table.attempt("A"), table.attempt("B")];
    await a.acquire(1);
    await b.acquire(3);
    await table.gone(1);
    await b.acquire(1);
    expect(b.round().token).toBe(2n);
    await table.gone(3);
    await a.acquire(3);
    expect(await b.raise(3)).toBe("refused");
    await x.acquire(2);
    await table.gone(2);
    const again = table.attempt("Y");
    await again.acquire(2);
    await table.gone(2);
    await b.acquire(2);
    expect(await table.show()).toEqual(["B 2", "B 3", "A 2"]);
    expect([b.round().seats[1], b.verdict()]).toEqual(["ahead", "lost"]);
  });

  it("when a raise did not look at the owner: neither of the two gets it where the other took over", async () => {
    const table = layTable();
    const [a, b] = [table.attempt("A"), table.attempt("B")];
    await a.acquire(1);
    await b.acquire(2);
    await table.gone(2);
    await a.acquire(2);
    await table.gone(1);
    await b.acquire(1);
    expect(await table.show()).toEqual(["B 2", "A 2", "- 0"]);
    expect([a.round().token, b.round().token]).toEqual([2n, 2n]);
    expect([await a.raise(1), await b.raise(2)]).toEqual(["refused", "refused"]);
    expect([a.verdict(), b.verdict()]).toEqual(["pending", "pending"]);
    await a.acquire(3);
    await b.acquire(3);
    expect(await a.raise(3)).toBe("raised");
    expect([a.verdict(), b.verdict()]).toEqual(["won", "lost"]);
  });

  it("when a raise looked at the owner only: a duplicate acquire made the lock anew, and the old fence fits no more", async () => {
    const table = layTable();
    const [x, a, b] = [table.attempt("X"), table.attempt("A"), table.attempt("B")];
    await x.acquire(3);
    await table.gone(3);
    await a.acquire(1);
    await a.acquire(3);
    expect([a.round().token, dueRaises(a.round())]).toEqual([2n, [0]]);
    await table.gone(1);
    await b.acquire(2);
    await b.acquire(1);
    await b.raise(2);
    expect([b.verdict(), b.round().token]).toEqual(["won", 2n]);
    await table.gone(1);
    expect(await a.acquire(1)).toBe("granted");
    expect((await table.show())[0]).toBe("A 3");
    expect(await a.raise(1)).toBe("refused");
    await a.acquire(2);
    expect(a.verdict()).toBe("lost");
  });

  it("when the latest grant of a backend counted: the first is final, also for the raise", async () => {
    const table = layTable();
    const [x, a] = [table.attempt("X"), table.attempt("A")];
    await x.acquire(3);
    await table.gone(3);
    await a.acquire(1);
    await table.gone(1);
    expect(await a.acquire(1)).toBe("granted");
    await a.acquire(3);
    expect(await table.show()).toEqual(["A 2", "- 0", "A 2"]);
    expect([a.round().token, a.round().seats]).toEqual([2n, ["behind", "waiting", "known"]]);
    expect(await a.raise(1)).toBe("refused");
    expect(a.verdict()).toBe("pending");
  });
});

describe("one owner value for two attempts let the old release free the new lock; with a fresh one", () => {
  it("the late release of the first attempt finds nothing of its own", async () => {
    const table = layTable();
    const [first, second, other] = [table.attempt("A1"), table.attempt("A2"), table.attempt("C")];
    await second.acquire(1);
    await second.acquire(2);
    expect(second.verdict()).toBe("won");
    expect([await first.release(1), await first.release(2)]).toEqual(["not-owner", "not-owner"]);
    expect([await other.acquire(1), await other.acquire(2)]).toEqual(["held", "held"]);
    expect(other.verdict()).toBe("lost");
  });
});
