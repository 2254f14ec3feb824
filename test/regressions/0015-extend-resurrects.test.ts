// An extend re-creates a lost lock although another owner held it in between (redsync option, RedLock.net).
import { expect, it } from "vitest";
import { ANY_DEPLOYMENT, createStage, failOnUnhandledRejections, startedClient } from "../lock/stage.js";

failOnUnhandledRejections();

it("a lease whose validity ended is never brought back, though its backends are free again", async () => {
  const stage = createStage();
  const { locker, links } = await startedClient(stage);
  const lease = await stage.wait(locker.acquire("key"));
  for (const link of links) link.hang();
  const extending = lease.extend();
  extending.catch(() => undefined);
  await stage.time.advance(1_500);
  const other = await startedClient(stage);
  await stage.wait((await stage.wait(other.locker.acquire("key"))).release());
  for (const link of links) link.resume();
  expect((await stage.error(lease.extend())).code).toBe("LEASE_LOST");
  await stage.time.advance(10);
  expect(lease.remainingMs).toBe(0);
  expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
});

it("a lock that was taken away is re-created only where this lease was never confirmed or memory was lost", async () => {
  const stage = createStage();
  const { locker } = await startedClient(stage);
  const lease = await stage.wait(locker.acquire("key"));
  for (const backend of stage.memories) await backend.open(ANY_DEPLOYMENT).forceRelease("key");
  expect((await stage.error(lease.extend())).code).toBe("LEASE_LOST");
  expect(await stage.owners("key")).toEqual([undefined, undefined, undefined]);
});
