import { describe, expect, it } from "vitest";
import type { Listener } from "../../src/backend.js";
import { Told } from "../../src/adapters/shared/told.js";

/** What a listener was told, in order. */
function listener(): {
  readonly heard: string[];
  answered(answer: string): void;
  failed(error: unknown): void;
} {
  const heard: string[] = [];
  return {
    heard,
    answered: (answer) => void heard.push(answer),
    failed: (error) => void heard.push(String(error)),
  };
}

describe("an answer that is told", () => {
  it("is told in the very step in which it comes, once", () => {
    const told = new Told<string>();
    const one = listener();
    told.tell(one);
    told.answered("yes");
    expect(one.heard).toEqual(["yes"]);
  });

  it("so is a fault", () => {
    const told = new Told<string>();
    const one = listener();
    told.tell(one);
    told.failed(new Error("no"));
    expect(one.heard).toEqual(["Error: no"]);
  });

  it("is a promise to those who wait for it, before and after, and to several", async () => {
    const told = new Told<string>();
    const before = Promise.all([told, told.finally(() => undefined)]);
    told.answered("yes");
    expect(await before).toEqual(["yes", "yes"]);
    expect(await told).toBe("yes");
  });

  it("and a fault is a promise that rejects, before and after", async () => {
    const told = new Told<string>();
    const before = told.catch(String);
    told.failed(new Error("no"));
    expect(await before).toBe("Error: no");
    await expect(told).rejects.toThrow("no");
  });

  it("tells a second listener, and whoever awaits besides", async () => {
    const told = new Told<string>();
    const [one, other] = [listener(), listener()];
    told.tell(one);
    told.tell(other);
    const awaited = told.then((answer) => `${answer}!`);
    told.answered("yes");
    expect(await awaited).toBe("yes!");
    expect([one.heard, other.heard]).toEqual([["yes"], ["yes"]]);
  });

  it("tells those, too, who listen when it is there already", async () => {
    const told = new Told<string>();
    told.tell(listener());
    told.answered("yes");
    const late = listener();
    told.tell(late);
    expect(await told).toBe("yes");
    expect(late.heard).toEqual(["yes"]);
  });

  it("is not kept from others by a listener that throws, which is an unhandled rejection", async () => {
    const told = new Told<string>();
    const careless: Listener<string> = {
      answered() {
        throw new Error("careless");
      },
      failed: () => undefined,
    };
    told.tell(careless);
    const awaited = told.then((answer) => answer);
    // Those of the test runner count it as a failure.
    const others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection");
    const unhandled = new Promise((resolve) => process.once("unhandledRejection", resolve));
    try {
      expect(() => told.answered("yes")).not.toThrow();
      expect(await awaited).toBe("yes");
      expect(String(await unhandled)).toBe("Error: careless");
    } finally {
      for (const other of others) process.on("unhandledRejection", other);
    }
  });

  it("follows a promise", async () => {
    const [right, wrong] = [new Told<string>(), new Told<string>()];
    right.follow(Promise.resolve("yes"));
    wrong.follow(Promise.reject(new Error("no")));
    expect(await right).toBe("yes");
    await expect(wrong).rejects.toThrow("no");
  });
});
