import { describe, expect, it } from "vitest";
import { memory } from "../../src/adapters/memory.js";
import { redis } from "../../src/adapters/redis.js";
import { createLocker, DEFAULTS, LIMITS, type Backend, type InvalidOptionError } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

const three = (): readonly Backend[] => [memory(), memory(), memory()];

function thrownBy(run: () => unknown): InvalidOptionError {
  try {
    run();
  } catch (error) {
    return error as InvalidOptionError;
  }
  return expect.fail("it did not throw");
}

const NO_NUMBERS = [Number.NaN, 1.5, -1, Number.POSITIVE_INFINITY, "100", null, true, {}, 5n];

/** Every bad value of every option of createLocker. */
const BAD: readonly (readonly [option: string, value: unknown])[] = [
  ...[...NO_NUMBERS, 0, 49, 60_001].map((value) => ["ttlMs", value] as const),
  ...[...NO_NUMBERS, 2_147_483_648].map((value) => ["waitMs", value] as const),
  ...[...NO_NUMBERS, 0, 1, 4].map((value) => ["quorum", value] as const),
  ...[...NO_NUMBERS, 0, 49, 86_400_001].map((value) => ["maxTtlMs", value] as const),
  ...[...NO_NUMBERS, 3_600_001, 60_000].map((value) => ["clockSkewMs", value] as const),
  ...[...NO_NUMBERS, 100_001].map((value) => ["driftPpm", value] as const),
  ...["always", "", 1, null, true].map((value) => ["restartGuard", value] as const),
  ...[...NO_NUMBERS, 1_000, 31_536_000_001].map((value) => ["tokenRetentionMs", value] as const),
  ...[...NO_NUMBERS, 0, 60_001].map((value) => ["retryDelayMsMin", value] as const),
  ...[...NO_NUMBERS, 0, 60_001, 5].map((value) => ["retryDelayMsMax", value] as const),
  ...[null, 5, {}, { debug() {}, info() {}, warn() {} }].map((value) => ["logger", value] as const),
  ...[null, 5, [], "redis://a", undefined, Array.from({ length: 32 }, () => memory())].map(
    (value) => ["backends", value] as const,
  ),
  ["backends[1]", [memory(), "redis://a", memory()]],
  ["backends[0]", [undefined]],
  ["ttlms", 5_000],
  ["retries", 0],
  ["attempts", 0],
];

describe("createLocker refuses, naming option, rule and value,", () => {
  it.each(BAD.map(([option, value]) => ({ option, value })))("$option: $value", ({ option, value }) => {
    const name = option.replace(/\[.*/, "");
    const error = thrownBy(() => createLocker({ backends: three(), [name]: value }));
    expect(error.code).toBe("INVALID_OPTION");
    expect(error.option).toBe(option);
    expect(error.rule.length).toBeGreaterThan(5);
    expect(error.message).toBe(
      `option ${option} must be ${error.rule}; got ${error.message.split("; got ").at(-1)}`,
    );
  });

  it.each([undefined, null, 5, "redis://a"])("no object at all: %o", (options) => {
    expect(thrownBy(() => createLocker(options as never)).code).toBe("INVALID_OPTION");
  });

  it("the same backend twice, the same client twice, and the same name twice", () => {
    const one = memory();
    const client = { evalsha() {}, duplicate() {}, options: {}, on() {}, status: "ready" };
    for (const backends of [
      [one, memory(), one],
      [redis(client as never, { name: "a" }), redis(client as never, { name: "b" })],
      [memory({ name: "a" }), memory({ name: "b" }), memory({ name: "a" })],
    ]) {
      expect(thrownBy(() => createLocker({ backends })).code).toBe("SAME_BACKEND");
    }
  });

  it("a ttlMs that leaves no validity with these backends, for a locker and for one acquire", async () => {
    const stage = createStage();
    const coarse = stage.memories.map((backend) => ({
      ...backend,
      capabilities: { ...backend.capabilities, earlyByMs: 1_000 },
    }));
    const base = { backends: coarse, system: stage.time.process(), restartGuard: "off" as const };
    expect(thrownBy(() => createLocker({ ...base, ttlMs: 1_000 })).option).toBe("ttlMs");
    const locker = createLocker({ ...base, ttlMs: 5_000 });
    const error = (await stage.error(locker.acquire("key", { ttlMs: 1_000 }))) as InvalidOptionError;
    expect(error.code).toBe("INVALID_OPTION");
    expect(error.option).toBe("ttlMs");
  });

  it("nothing of what the documentation calls allowed", () => {
    for (const options of [
      {},
      { ttlMs: LIMITS.ttlMsMin, waitMs: 0 },
      { ttlMs: 60_000, maxTtlMs: 60_000 },
      { maxTtlMs: 50 },
      { maxTtlMs: LIMITS.maxTtlMsMax, tokenRetentionMs: LIMITS.tokenRetentionMsMax },
      { quorum: 3, clockSkewMs: 0, driftPpm: 0 },
      { retryDelayMsMin: 1_000 },
      { waitMs: LIMITS.waitMsMax, driftPpm: LIMITS.driftPpmMax },
      { ttlMs: undefined, logger: undefined },
    ]) {
      expect(() => createLocker({ backends: three(), ...options } as never)).not.toThrow();
    }
    expect(DEFAULTS.restartGuard).toBe("auto");
  });
});

describe("acquire, tryAcquire and withLock refuse", () => {
  it.each([
    ["", "at least one character"],
    ["x".repeat(513), "512 bytes"],
    ["ü".repeat(257), "512 bytes"],
    ["a\ud800b", "surrogate"],
    ["\udc00", "surrogate"],
    [5, "a string"],
    [undefined, "a string"],
    [null, "a string"],
    [{}, "a string"],
  ])("the key %o", async (key, rule) => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const before = links[0]?.calls.acquire;
    for (const call of [
      () => locker.acquire(key as string),
      () => locker.tryAcquire(key as string),
      () => locker.withLock(key as string, () => 1),
    ]) {
      const error = await stage.error(call());
      expect(error.code).toBe("INVALID_KEY");
      expect(error.message).toContain(rule);
      expect(error.message.length).toBeLessThan(250);
    }
    expect(links[0]?.calls.acquire).toBe(before);
  });

  it.each(["x".repeat(512), "😀", "a b\n\0", "{tag}:f", "ü".repeat(256), "constructor", "__proto__"])(
    "not the key %o",
    async (key) => {
      const stage = createStage();
      const { locker } = await startedClient(stage);
      const lease = await stage.wait(locker.acquire(key));
      expect(lease.key).toBe(key);
      expect((await stage.wait(locker.tryAcquire(key))).acquired).toBe(false);
      await stage.wait(lease.release());
    },
  );

  it.each([
    ...[0, 49, 1.5, Number.NaN, -1, 60_001, "5s", null].map((ttlMs) => ["ttlMs", { ttlMs }] as const),
    ...[-1, 0.5, Number.NaN, "1m", null].map((waitMs) => ["waitMs", { waitMs }] as const),
    ...[{}, "stop", null, new AbortController()].map((signal) => ["signal", { signal }] as const),
    ...[1, "yes", null].map((keepAlive) => ["keepAlive", { keepAlive }] as const),
    ["ttl", { ttl: 5 }] as const,
    ["options", null] as const,
    ["options", 5] as const,
  ])("%s: %o", async (option, options) => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    for (const call of [
      () => locker.acquire("key", options as never),
      () => locker.tryAcquire("key", options as never),
      () => locker.withLock("key", options as never, () => 1),
    ]) {
      const error = (await stage.error(call())) as InvalidOptionError;
      expect(error.code).toBe("INVALID_OPTION");
      expect(error.option).toBe(option);
    }
  });

  it("a wait in tryAcquire, and a withLock without a job", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    expect((await stage.error(locker.tryAcquire("key", { waitMs: 5 } as never))).message).toContain(
      "use acquire",
    );
    expect((await stage.error(locker.withLock("key", {}, undefined as never))).message).toContain(
      "job must be",
    );
  });
});
