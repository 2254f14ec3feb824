/** What goes wrong between a locker and MongoDB: each is a coded error that names backend and cause, in time. */
import { createServer, type AddressInfo } from "node:net";
import { MongoClient } from "mongodb";
import { expect } from "vitest";
import { mongodb } from "../../src/adapters/mongodb.js";
import { faultOf } from "../../src/adapters/mongodb/faults.js";
import type { BackendSession } from "../../src/backend.js";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  eventually,
  expectFault,
  figure,
  grant,
  putInService,
  timed,
} from "../redis/kit.ts";
import { freePort } from "../servers/free-port.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startTcpProxy } from "../servers/tcp-proxy.ts";
import { backendOn, heldUp, test } from "./kit.ts";

const REQUEST_TIMEOUT_MS = 1_000;
/** The driver's own bound comes first; ours follows, and a busy machine has to notice. */
const GIVEN_UP_MS = REQUEST_TIMEOUT_MS + 600;
const RECOVERY_MS = 1_000;

async function recovers(what: string, session: BackendSession): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
  figure(`MongoDB: recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

await describeWithServer("mongodb", "a MongoDB that cannot be reached", () => {
  test("nobody listens: nothing is sent, and it is found when it comes", async ({
    mongoServer,
    client,
    session,
  }) => {
    const port = await freePort();
    const opened = session(backendOn(client({ port })));
    for (const call of [
      () => acquire(opened, "k"),
      () => opened.release("k", ALICE),
      () => opened.status(),
    ]) {
      const { ms, error } = await timed<unknown>(call());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(GIVEN_UP_MS);
    }
    await mongoServer({ port });
    await recovers("a late start", opened);
  });

  test("a host name that does not exist", async ({ session, after }) => {
    const lost = new MongoClient("mongodb://no-such-host.invalid:27017");
    after(() => lost.close());
    await expectFault(acquire(session(mongodb(lost)), "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN/);
  });

  test("SIGSTOP: given up in time, works within a second of SIGCONT", async ({
    mongoServer,
    client,
    session,
  }) => {
    const server = await mongoServer();
    const opened = session(backendOn(client(server)));
    await putInService(opened);
    await grant(opened, "mine", { ttlMs: 60_000 });
    await server.freeze();
    const pending = await Promise.all([
      timed(acquire(opened, "k")),
      timed(opened.release("mine", ALICE)),
      timed(opened.status()),
    ]);
    for (const { ms, error } of pending) {
      const { effect } = checkFault(error, "BACKEND_TIMEOUT", /may still act/);
      expect(effect).toBe("unknown");
      expect(ms).toBeLessThan(GIVEN_UP_MS);
    }
    await server.thaw();
    await recovers("SIGCONT", opened);
    expect((await opened.inspect("mine")).lock?.owner, "only looks were sent").toBe(ALICE);
    expect((await opened.inspect("k")).lock).toBeUndefined();
  });

  test("SIGSTOP before the write: effect unknown, and a release afterwards leaves nothing", async ({
    mongoServer,
    client,
    session,
  }) => {
    const server = await mongoServer();
    const late = session(mongodb(heldUp(client(server), () => server.freeze())));
    await putInService(late);
    const fault = await expectFault(
      acquire(late, "k", { ttlMs: 60_000 }),
      "BACKEND_TIMEOUT",
      /may still act/,
    );
    expect(fault.effect).toBe("unknown");
    await server.thaw();
    await recovers("SIGCONT with a write in its buffer", late);
    await late.release("k", ALICE);
    expect((await late.inspect("k")).lock).toBeUndefined();
    expect((await acquire(late, "k", { owner: BOB })).kind).toBe("granted");
  });

  test("kill -9 with requests in flight: each is told; what was acknowledged is there after a restart", async ({
    mongoServer,
    client,
    session,
  }) => {
    const server = await mongoServer();
    const opened = session(backendOn(client(server)));
    await putInService(opened);
    const before = await opened.status();
    const fence = await grant(opened, "kept", { ttlMs: 60_000 });
    await server.freeze();
    const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(opened, `k${i}`)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.kill();
    for (const { error, ms } of await Promise.all(pending)) {
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(DISCONNECTED|TIMEOUT|NOT_CONNECTED)$/) as unknown,
      });
      expect(ms).toBeLessThan(GIVEN_UP_MS);
    }
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    await server.restart("kept");
    await recovers("kill -9 and a restart", opened);
    expect((await opened.status()).identity.incarnation).toBe(before.identity.incarnation);
    expect((await opened.inspect("kept")).lock).toMatchObject({ owner: ALICE, fence });
    expect((await acquire(opened, "kept", { owner: BOB })).kind).toBe("held");
  });

  test("half-open: given up in time, works within a second of the heal", async ({
    place,
    client,
    session,
    after,
  }) => {
    const proxy = await startTcpProxy({ targetPort: place.port });
    after(() => proxy.close());
    const opened = session(backendOn(client({ port: proxy.port }), place));
    await putInService(opened);
    for (const direction of ["both", "to-client"] as const) {
      proxy.cut(direction);
      const { ms, error } = await timed(acquire(opened, direction));
      checkFault(error, "BACKEND_TIMEOUT", /may still act/);
      expect(ms).toBeLessThan(GIVEN_UP_MS);
      proxy.heal();
      await recovers(`a half-open connection (${direction})`, opened);
    }
    proxy.drop();
    await recovers("a reset", opened);
  });

  test("it accepts and never says anything: an error in time", async ({ client, session, after }) => {
    const deaf = createServer(() => undefined);
    await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
    after(() => deaf.close());
    const opened = session(backendOn(client(deaf.address() as AddressInfo)));
    const { ms, error } = await timed(acquire(opened, "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED");
    expect(ms).toBeLessThan(GIVEN_UP_MS);
  });
});

await describeWithServer("mongodb", "the caller's client", () => {
  test("is used as it is, whatever its settings, and neither closed nor listened to", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place, {
      promoteValues: false,
      promoteLongs: false,
      raw: true,
      ignoreUndefined: false,
      writeConcern: { w: 0 },
      readPreference: "secondaryPreferred",
      readConcern: { level: "local" },
      retryWrites: true,
      maxPoolSize: 3,
    });
    const names = ["commandStarted", "close", "error", "serverDescriptionChanged"] as const;
    const listeners = (): readonly number[] => names.map((name) => theirs.listenerCount(name));
    const before = listeners();
    const backend = backendOn(theirs, place);
    const one = session(backend);
    const two = session(backend);
    await putInService(one);
    const fence = await grant(one, "k");
    expect(await one.inspect("k")).toMatchObject({ lock: { owner: ALICE, fence } });
    const app = theirs.db(place.database).collection<{ _id: number }>("app");
    const inserts = Array.from({ length: 20 }, (_, i) =>
      app.insertOne({ _id: i }, { writeConcern: { w: 1 } }),
    );
    const grants = await Promise.all(
      Array.from({ length: 20 }, (_, i) => acquire(i % 2 === 0 ? one : two, `k${i}`, { ttlMs: 60_000 })),
    );
    await Promise.all(inserts);
    expect(new Set(grants.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
    expect(await one.list({ prefix: "k1", cursor: undefined, pageSize: 50 })).toMatchObject({
      keys: ["k1", "k10", "k11", "k12", "k13", "k14", "k15", "k16", "k17", "k18", "k19"],
    });
    await one.close();
    await grant(two, "still");
    await two.close();
    await expectFault(acquire(two, "k"), "BACKEND_NOT_CONNECTED", /closed/);
    expect(listeners()).toEqual(before);
    expect(await app.countDocuments({}, { promoteValues: true, raw: false })).toBe(20);
  });

  test("is told with each request what matters, whatever its settings", async ({
    place,
    client,
    session,
  }) => {
    const theirs = client(place, {
      monitorCommands: true,
      writeConcern: { w: 0 },
      readConcern: { level: "local" },
    });
    const sent: Readonly<Record<string, unknown>>[] = [];
    theirs.on("commandStarted", ({ command }) => sent.push(command as Readonly<Record<string, unknown>>));
    const opened = session(backendOn(theirs, place));
    await putInService(opened);
    await grant(opened, "k");
    await opened.release("k", ALICE);
    await opened.list({ prefix: "", cursor: undefined, pageSize: 9 });
    await opened.quarantine();
    const of = (...names: readonly string[]): readonly Readonly<Record<string, unknown>>[] =>
      sent.filter((command) => names.some((name) => name in command));
    expect(of("insert", "update").length).toBeGreaterThanOrEqual(5);
    for (const command of of("insert", "update")) {
      expect(command["writeConcern"]).toEqual({ w: "majority", j: true });
    }
    expect(of("aggregate").length).toBeGreaterThanOrEqual(5);
    for (const command of of("aggregate")) {
      expect(command["readConcern"]).toEqual({ level: "majority" });
    }
  });

  test("examine says what the server is, and changes nothing", async ({ place, client, session }) => {
    const opened = session(backendOn(client(place), place));
    const { server, wallMs, findings } = await opened.examine();
    expect(server).toMatch(/^MongoDB \d+\./);
    expect(Math.abs((wallMs ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(findings.map(({ topic, level }) => `${topic}: ${level}`)).toEqual([
      "version: good",
      "role: good",
      "durability: good",
      "access: warning",
      "clock: good",
    ]);
    expect(await client(place).db(place.database).listCollections().toArray()).toEqual([]);
  });
});

await describeWithServer("mongodb", "errors of the driver and the server", () => {
  test.for([
    [{ name: "MongoServerError", code: 18, message: "Authentication failed." }, "BACKEND_AUTH", "none"],
    [{ name: "MongoServerError", code: 13, message: "not authorized" }, "BACKEND_NO_PERMISSION", "none"],
    [{ name: "MongoServerError", code: 10_107, message: "not primary" }, "BACKEND_READONLY", "none"],
    [{ name: "MongoServerError", code: 189, message: "stepped down" }, "BACKEND_REFUSED", "unknown"],
    [{ name: "MongoWriteConcernError", code: 64, message: "waiting" }, "BACKEND_TIMEOUT", "unknown"],
    [{ name: "MongoNetworkError", message: "reset" }, "BACKEND_DISCONNECTED", "unknown"],
    [{ name: "MongoNetworkTimeoutError", message: "late" }, "BACKEND_DISCONNECTED", "unknown"],
    [{ name: "MongoOperationTimeoutError", message: "late" }, "BACKEND_TIMEOUT", "unknown"],
    [{ name: "MongoServerSelectionError", message: "none" }, "BACKEND_NOT_CONNECTED", "none"],
    [{ name: "MongoServerSelectionError", cause: { code: 18 }, message: "none" }, "BACKEND_AUTH", "none"],
    [{ name: "TypeError", message: "x" }, "BACKEND_REFUSED", "unknown"],
  ] as const)("%o is %s", ([{ name, message, ...fields }, code, effect]) => {
    const error = Object.assign(new Error(message), { name, ...fields });
    expect(faultOf("b", error)).toMatchObject({ code, effect, backend: "b", cause: error });
  });
});
