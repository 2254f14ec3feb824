/** What goes wrong between a client and a real etcd: each is a coded error that names backend and cause, in time. */
import { createServer } from "node:net";
import { expect } from "vitest";
import { etcd } from "../../src/adapters/etcd.js";
import type { BackendSession } from "../../src/backend.js";
import type { BackendErrorCode } from "../../src/errors.js";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  figure,
  grant,
  proposal,
  putInService,
  timed,
} from "../redis/kit.ts";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { ETCDS, keysOf, leasesOf, looking, test, TTL_MS } from "./kit.ts";

const CALL_TIMEOUT_MS = 1_000;
const RECOVERY_MS = 1_000;
const MORE = { ttlMs: TTL_MS };

async function recovers(what: string, session: BackendSession): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
  figure(`etcd: recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

for (const name of ETCDS) {
  await describeWithServer(name, "an etcd that hangs or dies", () => {
    test("SIGSTOP: given up after a second, works within a second of SIGCONT", async ({
      server,
      inService,
    }) => {
      const running = await server(name);
      const session = await inService(running);
      await grant(session, "before", MORE);
      await running.freeze();
      for (let i = 0; i < 3; i++) {
        const { ms, error } = await timed(acquire(session, `k${i}`, MORE));
        expect((error as { code: string }).code).toMatch(/^BACKEND_(TIMEOUT|NOT_CONNECTED|DISCONNECTED)$/);
        expect(ms).toBeLessThan(CALL_TIMEOUT_MS + 500);
      }
      await running.thaw();
      await recovers("SIGCONT", session);
      expect((await acquire(session, "before", { ...MORE, owner: BOB })).kind).toBe("held");
    });

    test("kill -9 with requests in flight: each is told, none is sent again", async ({
      server,
      inService,
    }) => {
      const running = await server(name);
      const session = await inService(running);
      const fence = await grant(session, "before", MORE);
      const leases = await leasesOf(running);
      await running.freeze();
      const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(session, `k${i}`, MORE)));
      // Into the socket before the kill.
      await new Promise((resolve) => setTimeout(resolve, 50));
      await running.kill();
      for (const { error, ms } of await Promise.all(pending)) {
        checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
        expect(ms).toBeLessThan(CALL_TIMEOUT_MS + 500);
      }
      const { ms, error } = await timed(acquire(session, "k", MORE));
      expect(checkFault(error, "BACKEND_NOT_CONNECTED", /ECONNREFUSED/).effect).toBe("none");
      expect(ms).toBeLessThan(500);
      await running.restart("kept");
      await recovers("kill -9 and a restart", session);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await keysOf(running, "ql/l/k"), "what was in flight came to nothing").toEqual([]);
      expect(await leasesOf(running), "nor was a lease made").toBe(leases);
      expect(await session.inspect("before")).toMatchObject({ lock: { owner: ALICE, fence } });
    });

    test("wiped data, though the cluster has the same id as before: another memory, in quarantine", async ({
      server,
      inService,
      client,
      session,
    }) => {
      const running = await server(name);
      const opened = await inService(running);
      const before = await opened.status();
      await grant(opened, "k", MORE);
      await running.restart("lost");
      await eventually("recovery after a loss", 2_000, () => opened.status());
      const after = await opened.status();
      expect(after.kind).toBe("quarantined");
      expect(after.identity.incarnation.split(".")[1], "the cluster id says nothing").toBe(
        before.identity.incarnation.split(".")[1],
      );
      expect(after.identity.incarnation).not.toBe(before.identity.incarnation);
      expect((await acquire(opened, "k", MORE)).kind).toBe("quarantined");
      expect((await session(etcd(client(running))).status()).kind).toBe("quarantined");
    });

    test("out of space: a release works, nothing is granted, and examine says why", async ({
      server,
      inService,
      after,
    }) => {
      const running = await server(name, { args: ["--quota-backend-bytes", String(200_000)] });
      const session = await inService(running);
      await grant(session, "k", MORE);
      await grant(session, "waited-for", MORE);
      session.watch?.(() => undefined);
      const ticket = { id: "t", since: 1n, waitsMs: 60_000 };
      const waits = { key: "waited-for", owner: BOB, ttlMs: TTL_MS, proposal: proposal(), ticket };
      expect((await session.acquire(waits)).kind).toBe("held");
      const filler = looking(running);
      after(() => filler.close());
      await eventually("the quota is used up", 5_000, async () =>
        filler
          .put("filler")
          .value("x".repeat(30_000))
          .then(
            () => false,
            (error: Error) => error.message.includes("space exceeded"),
          ),
      );
      await expectFault(acquire(session, "other", MORE), "BACKEND_OUT_OF_MEMORY", /storage quota is used up/);
      expect(await session.release("k", ALICE)).toBe("released");
      expect((await session.inspect("k")).lock).toBeUndefined();
      expect(await session.release("waited-for", ALICE), "though somebody waits").toBe("released");
      expect((await session.inspect("waited-for")).lock).toBeUndefined();
      const { findings } = await session.examine();
      expect(findings).toContainEqual(
        expect.objectContaining({
          level: "problem",
          topic: "storage",
          text: expect.stringMatching(/NOSPACE/),
        }),
      );
    });
  });
}

await describeWithServer("etcd-3.5", "an etcd that cannot be reached or refuses", () => {
  test("nobody listens: refused at once, and found when it comes", async ({ server, client, session }) => {
    const port = await freePort();
    const opened = session(etcd(client({ port })));
    for (const ask of [() => acquire(opened, "k"), () => opened.release("k", ALICE), () => opened.status()]) {
      const { ms, error } = await timed<unknown>(ask());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(700);
    }
    await server("etcd-3.5", { port });
    await recovers("a late start", opened);
  });

  test("it accepts and never says anything: an error in time", async ({ client, session, after }) => {
    const deaf = createServer((socket) => socket.on("error", () => undefined));
    const port = await freePort();
    await new Promise<void>((resolve) => deaf.listen(port, "127.0.0.1", resolve));
    after(() => deaf.close());
    const opened = session(etcd(client({ port })));
    const { ms, error } = await timed(acquire(opened, "k"));
    expect(checkFault(error, "BACKEND_NOT_CONNECTED").effect, "nothing was sent").toBe("none");
    expect(ms).toBeLessThan(CALL_TIMEOUT_MS + 500);
  });

  test("it is no etcd: an error in time", async ({ client, session, after }) => {
    const other = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    const port = await freePort();
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    after(() => other.close());
    const { ms, error } = await timed(acquire(session(etcd(client({ port }))), "k"));
    expect((error as { code: string }).code).toMatch(
      /^BACKEND_(NOT_CONNECTED|DISCONNECTED|TIMEOUT|REFUSED)$/,
    );
    expect(ms).toBeLessThan(CALL_TIMEOUT_MS + 500);
  });

  test("half-open: given up after a second, works within a second of the heal", async ({
    server,
    proxyTo,
    inService,
  }) => {
    const proxy = await proxyTo(await server("etcd-3.5"));
    const session = await inService(proxy);
    for (const direction of ["both", "to-client", "to-server"] as const) {
      proxy.cut(direction);
      const { ms, error } = await timed(acquire(session, direction, MORE));
      // Each service of etcd has a connection of its own; the one for leases may not have been made anew yet.
      expect((error as { code: string }).code).toMatch(/^BACKEND_(TIMEOUT|NOT_CONNECTED)$/);
      expect(ms).toBeLessThan(CALL_TIMEOUT_MS + 500);
      proxy.heal();
      await recovers(`a half-open connection (${direction})`, session);
    }
  });

  test("with users and roles: no password, a wrong one, too few rights, the least rights", async ({
    server,
    client,
    session,
    after,
  }) => {
    const running = await server("etcd-3.5", { args: ["--auth-token-ttl", "1"] });
    const admin = looking(running);
    after(() => admin.close());
    const { auth } = admin;
    await auth.userAdd({ name: "root", password: "root" });
    await auth.userGrantRole({ user: "root", role: "root" });
    for (const [user, prefix] of [
      ["locks", "ql/"],
      ["others", "others/"],
    ] as const) {
      await auth.userAdd({ name: user, password: "secret" });
      await auth.roleAdd({ name: user });
      const perm = {
        permType: "Readwrite",
        key: Buffer.from(prefix),
        range_end: Buffer.from(`${prefix.slice(0, -1)}0`),
      } as const;
      await auth.roleGrantPermission({ name: user, perm });
      await auth.userGrantRole({ user, role: user });
    }
    await auth.authEnable();
    const as = (username: string, password: string): BackendSession =>
      session(etcd(client(running, { auth: { username, password } }), { callTimeoutMs: 5_000 }));
    const refused = async (opened: BackendSession, code: BackendErrorCode, words: RegExp): Promise<void> => {
      await eventually(`${code} ${words.source}`, 10_000, async () => {
        const error = await expectFault(acquire(opened, "k", MORE), code, words);
        expect(error.effect).toBe("none");
      });
    };
    await refused(session(etcd(client(running))), "BACKEND_AUTH", /user name is empty/);
    await refused(as("locks", "wrong"), "BACKEND_AUTH", /password/);
    await refused(as("others", "secret"), "BACKEND_NO_PERMISSION", /roles forbid/);
    const locks = as("locks", "secret");
    // Passwords are slow to check, and not all of the time for that can be set.
    await eventually("its password is accepted", 10_000, () => locks.status());
    await putInService(locks);
    await grant(locks, "k", MORE);
    expect(await locks.release("k", ALICE)).toBe("released");
    // Its token ends when it was not used for a second, and another one is got.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await eventually("its password is accepted again", 10_000, () => grant(locks, "k", MORE));
  });
});
