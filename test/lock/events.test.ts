import { describe, expect, it } from "vitest";
import type { LockerEventName, Logger } from "../../src/index.js";
import { createStage, failOnUnhandledRejections, startedClient } from "./stage.js";

failOnUnhandledRejections();

interface Line {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function loggerOf(lines: Line[]): Logger {
  const at =
    (level: string) =>
    (fields: object, text: string): void => {
      lines.push({ level, fields: { ...fields }, text });
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

describe("events", () => {
  it("come with the documented fields", async () => {
    const stage = createStage();
    const first = stage.client();
    const lease = await stage.wait(first.locker.acquire("key"));
    const { ownerHash } = lease.toJSON();
    const ofLease = { key: "key", token: lease.token, ownerHash };
    expect(first.events("backendBootstrapped")[0]).toEqual({ backend: "b1" });
    expect(first.events("acquired")).toEqual([
      {
        ...ofLease,
        validityMs: expect.closeTo(989.05, 1) as number,
        waitedMs: 0,
        attempts: 3,
        votes: expect.arrayContaining([{ backend: "b1", vote: "granted", elapsedMs: 0 }]) as unknown,
      },
    ]);
    const second = await startedClient(stage);
    await stage.wait(second.locker.tryAcquire("key"));
    expect(second.events("refused")).toEqual([
      {
        key: "key",
        reason: "held",
        waitedMs: 0,
        attempts: 1,
        votes: expect.arrayContaining([
          { backend: "b1", vote: "held", elapsedMs: 0, remainingMs: expect.any(Number) as number },
        ]) as unknown,
      },
    ]);
    await stage.wait(lease.extend());
    expect(first.events("extended")).toEqual([
      { ...ofLease, remainingMs: expect.any(Number) as number, votes: expect.any(Array) as unknown },
    ]);
    for (const link of first.links) link.kill();
    await stage.error(lease.extend());
    expect(first.events("atRisk")).toEqual([
      { ...ofLease, remainingMs: expect.any(Number) as number, votes: expect.any(Array) as unknown },
    ]);
    expect(first.events("backendFault")).toMatchObject([
      { backend: "b1", error: { code: "BACKEND_NOT_CONNECTED" } },
      { backend: "b2" },
      { backend: "b3" },
    ]);
    for (const link of first.links) link.revive();
    await stage.wait(lease.extend());
    expect(first.events("backendRecovered").map(({ backend }) => backend)).toEqual(["b1", "b2", "b3"]);
    await stage.wait(lease.release());
    expect(first.events("released")).toEqual([
      { ...ofLease, outcome: "released", heldMs: expect.any(Number) as number },
    ]);
    const lost = await stage.wait(first.locker.acquire("lost"));
    await stage.time.advance(2_000);
    expect(first.events("lost")).toEqual([
      {
        key: "lost",
        token: lost.token,
        ownerHash: lost.toJSON().ownerHash,
        reason: "expired",
        heldMs: Math.ceil(989.05 - 25),
      },
    ]);
  });

  it("tell a backend's fault once until it recovers", async () => {
    const stage = createStage();
    const { locker, links, events } = await startedClient(stage);
    links[0]?.kill();
    for (const key of ["a", "b", "c"]) await stage.wait(locker.acquire(key));
    expect(events("backendFault")).toHaveLength(1);
    links[0]?.revive();
    await stage.wait(locker.acquire("d"));
    links[0]?.kill();
    await stage.wait(locker.acquire("e"));
    expect(events("backendFault")).toHaveLength(2);
  });

  it("reach a listener until it stops listening", async () => {
    const stage = createStage();
    const { locker } = await startedClient(stage);
    const heard: bigint[] = [];
    const stop = locker.on("acquired", ({ token }) => heard.push(token));
    const lease = await stage.wait(locker.acquire("a"));
    stop();
    await stage.wait(locker.acquire("b"));
    expect(heard).toEqual([lease.token]);
  });

  it("break nothing when a listener or the logger throws, or an async one rejects", async () => {
    const stage = createStage();
    const thrown = new Error("mine");
    const bad = (): never => {
      throw thrown;
    };
    const { locker, events } = await startedClient(stage, {
      logger: { debug: bad, info: bad, warn: bad, error: bad },
    });
    for (const name of ["acquired", "released", "extended", "lost"] as const) {
      locker.on(name, bad);
      locker.on(name, async () => Promise.reject(thrown));
    }
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(lease.extend());
    expect(await stage.wait(lease.release())).toBe("released");
    await stage.wait(locker.acquire("lost"));
    await stage.time.advance(2_000);
    expect(events("lost")).toHaveLength(1);
  });

  it("of another name are refused", () => {
    const { locker } = createStage().client();
    expect(() => locker.on("aquired" as LockerEventName, () => undefined)).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTION",
        message: expect.stringMatching(/acquired, refused/) as string,
      }),
    );
    expect(() => locker.on("lost", 5 as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });
});

describe("the logger", () => {
  it("gets one line per event, which JSON can hold, and never the owner", async () => {
    const stage = createStage();
    const lines: Line[] = [];
    const { locker, links, heard } = stage.client({ logger: loggerOf(lines) });
    const lease = await stage.wait(locker.acquire("key"));
    const owners = new Set((await stage.owners("key")).filter((owner) => owner !== undefined));
    expect(owners.size).toBe(1);
    await stage.wait(lease.extend());
    for (const link of links) link.kill();
    await stage.error(lease.extend());
    await stage.wait(locker.tryAcquire("other"));
    for (const link of links) link.revive();
    await stage.time.advance(5_000);
    await stage.wait(lease.release());
    expect(lines.map(({ fields }) => fields["event"])).toEqual(heard.map(({ name }) => name));
    const text = lines.map((line) => JSON.stringify(line)).join("\n");
    for (const owner of owners) expect(text).not.toContain(owner);
    expect(text).toContain(lease.toJSON().ownerHash);
    expect(text).toContain(`"token":"${lease.token}"`);
    const nested = lines
      .flatMap(({ fields }) => Object.values(fields))
      .filter((value) => typeof value === "object");
    expect(nested.every(Array.isArray)).toBe(true);
    expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(["debug", "info", "warn", "error"]));
  });

  it("is left out by default", async () => {
    const stage = createStage();
    const { locker } = stage.client();
    await stage.wait(locker.acquire("key"));
  });
});

describe("an error", () => {
  it("can be written as JSON, tokens included", async () => {
    const stage = createStage();
    const { locker, links } = await startedClient(stage);
    const lease = await stage.wait(locker.acquire("key"));
    await stage.wait(lease.release());
    const lost = await stage.error(lease.extend());
    expect(JSON.parse(JSON.stringify(lost))).toMatchObject({
      name: "LeaseLostError",
      code: "LEASE_LOST",
      message: lost.message,
      token: `${lease.token}`,
    });
    for (const link of links) link.kill();
    const refused = await stage.error(locker.acquire("key", { waitMs: 0 }));
    expect(JSON.parse(JSON.stringify(refused))).toMatchObject({
      code: "NO_QUORUM",
      votes: [{ backend: "b1", code: "BACKEND_NOT_CONNECTED" }, {}, {}],
    });
  });
});
