// The token of the current holder can be read by a stale one; token keys are never removed (Redisson).
import { expect, it } from "vitest";
import { ANY_DEPLOYMENT, createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("a token belongs to its lease: a stale holder goes on presenting its own", async () => {
  const stage = createStage();
  const first = await startedClient(stage);
  const stale = await stage.wait(first.locker.acquire("key", { ttlMs: 100 }));
  const { token } = stale;
  await stage.time.advance(150);
  const second = await startedClient(stage);
  const current = await stage.wait(second.locker.acquire("key"));
  expect(stale.token).toBe(token);
  expect(current.token).toBeGreaterThan(token);
});

it("a counter is forgotten after its retention, and the next token is larger all the same", async () => {
  const stage = createStage();
  const figures = { maxTtlMs: 1_000, clockSkewMs: 100, tokenRetentionMs: 5_000 };
  const { locker } = await startedClient(stage, figures);
  const lease = await stage.wait(locker.acquire("key"));
  await stage.wait(lease.release());
  const counter = async (): Promise<bigint | undefined> =>
    (await stage.memories[0]?.open(ANY_DEPLOYMENT).inspect("key"))?.counter;
  expect(await counter()).toBe(lease.token);
  await stage.time.advance(5_001);
  expect(await counter()).toBe(0n);
  expect((await stage.wait(locker.acquire("key"))).token).toBeGreaterThan(lease.token);
});
