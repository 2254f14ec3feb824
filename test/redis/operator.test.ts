/** What an operator sees and does on real servers, with the faults that an operator is called for. */
import { expect } from "vitest";
import type { KeyReport, LeaseLostError, LockerOptions } from "../../src/index.js";
import { redis } from "../../src/adapters/redis.js";
import { describeWithServer } from "../servers/needs.ts";
import { ALICE, acquire, backendsOn, DEPLOYMENT, eventually, test, timed } from "./kit.ts";

const SHORT: Omit<LockerOptions, "backends"> = {
  ttlMs: 1_500,
  maxTtlMs: 2_000,
  clockSkewMs: 500,
  waitMs: 2_000,
};

for (const name of ["redis-7", "redis-8", "valkey-8"] as const) {
  await describeWithServer(name, "an operator's locker", (serverName) => {
    test("sees a held lock, an orphan and a hung server, lists them all, and takes a lock away", async ({
      servers,
      client,
      locker,
      session,
    }) => {
      const three = await servers(3, { server: serverName });
      const holder = locker({ ...SHORT, backends: backendsOn(three, client) });
      const operator = locker({ ...SHORT, backends: backendsOn(three, client) });
      const lease = await holder.acquire("job:1", { keepAlive: true });
      const [, , last] = three;
      if (last === undefined) throw new Error("no third server");
      const died = session(redis(client(last)), { ...DEPLOYMENT, tokenRetentionMs: 604_800_000 });
      await acquire(died, "job:2", { owner: ALICE });
      const report = await operator.inspect("job:1");
      expect(report).toMatchObject({ state: "held", token: lease.token, counter: lease.token });
      expect(report.remainingMs).toBeGreaterThan(700);
      expect(report.remainingMs).toBeLessThanOrEqual(1_500);
      expect(await operator.inspect("job:2")).toMatchObject({ state: "orphan" });

      const listing = operator.list({ prefix: "job:" });
      const found: KeyReport[] = [];
      for await (const each of listing) found.push(each);
      expect(found.map(({ key, state }) => `${key} ${state}`).sort()).toEqual(["job:1 held", "job:2 orphan"]);
      expect(listing.coverage).toMatchObject({ keys: 2, cutOff: false, complete: true });

      await three[0]?.freeze();
      const asked = await timed(operator.inspect("job:1"));
      expect(asked.ms).toBeLessThan(300 + 150);
      expect(asked.value).toMatchObject({ state: "held" });
      expect(asked.value?.views.map(({ kind }) => kind)).toEqual(["fault", "locked", "locked"]);
      const forced = await operator.forceRelease("job:1");
      expect(forced.backends.map(({ outcome }) => outcome)).toEqual(["fault", "released", "released"]);
      await eventually("the holder knows", 3_000, async () => lease.signal.aborted);
      expect((lease.signal.reason as LeaseLostError).code).toBe("LEASE_LOST");
      await three[0]?.thaw();
      const next = await holder.acquire("job:1", { waitMs: 5_000 });
      expect(next.token).toBeGreaterThan(lease.token);
    });

    test("lifts a counter, so that the next token is above it, and quarantines a server", async ({
      servers,
      client,
      locker,
    }) => {
      const three = await servers(3, { server: serverName });
      const one = locker({ ...SHORT, backends: backendsOn(three, client) });
      const first = await one.acquire("k");
      await first.release();
      const token = first.token + 1_000_000_000_000n;
      const { backends } = await one.lift("k", token);
      expect(backends).toMatchObject([{ counter: token }, { counter: token }, { counter: token }]);
      expect((await one.acquire("k")).token).toBe(token + 1n);
      const [, second] = three;
      const name = `127.0.0.1:${second?.port}`;
      const began = await one.quarantine(name);
      expect(began).toMatchObject({ backend: name });
      expect(began.remainingMs).toBeGreaterThan(2_500);
      const [, view] = (await one.inspect("k")).views;
      expect(view).toMatchObject({ backend: name, kind: "locked", role: "holder" });
      expect(view?.kind === "locked" && view.quarantinedMs).toBeGreaterThan(1_000);
    });

    test("examines: latency, server, role, clock and one server under two addresses", async ({
      servers,
      proxyTo,
      client,
      stockClient,
      locker,
    }) => {
      const two = await servers(2, { server: serverName });
      const [first, second] = two;
      if (first === undefined || second === undefined) throw new Error("no servers");
      const again = await proxyTo(first);
      await stockClient(second).replicaof("127.0.0.1", first.port);
      const one = locker({ ...SHORT, backends: backendsOn([first, again, second], client) });
      const [a, b, c] = await one.examine();
      expect(a?.examination).toMatchObject({
        kind: "reply",
        reply: { server: expect.stringMatching(/\d+\.\d+/) as string },
      });
      expect(a?.sameServerAs).toEqual([b?.backend]);
      expect(b?.sameServerAs).toEqual([a?.backend]);
      expect(b?.status).toMatchObject({ error: { code: "BACKEND_SAME_SERVER" } });
      expect(a?.latencyMs).toBeGreaterThan(0);
      expect(Math.abs(a?.clock?.offsetMs ?? Number.NaN)).toBeLessThanOrEqual(a?.clock?.uncertaintyMs ?? 0);
      expect(c?.status).toMatchObject({ error: { code: "BACKEND_READONLY" } });
      expect(c?.examination.kind === "reply" && c.examination.reply.findings).toContainEqual(
        expect.objectContaining({ topic: "role", level: "problem" }),
      );
    });
  });
}
