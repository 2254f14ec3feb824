/** What goes wrong between a locker and a real ZooKeeper: each is a coded error that names backend and cause, in time. */
import { createServer, type AddressInfo, type Server } from "node:net";
import { expect } from "vitest";
import { zookeeper } from "../../src/adapters/zookeeper.js";
import type { BackendSession } from "../../src/backend.js";
import {
  acquire,
  ALICE,
  BOB,
  checkFault,
  DEPLOYMENT,
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
import { ACL, backendOn, connected, createClient, heldUp, recordsOf, test, textOf } from "./kit.ts";

const REQUEST_TIMEOUT_MS = 1_000;
const RECOVERY_MS = 1_000;

async function recovers(what: string, session: BackendSession): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
  figure(`ZooKeeper: recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

await describeWithServer("zookeeper", "a ZooKeeper that cannot be reached", () => {
  test("nobody listens: refused at once, and found when it comes", async ({ zooServer, session }) => {
    const port = await freePort();
    const opened = session(backendOn({ port }));
    for (const call of [
      () => acquire(opened, "k"),
      () => opened.release("k", ALICE),
      () => opened.status(),
    ]) {
      const { ms, error } = await timed<unknown>(call());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(500);
    }
    await zooServer({ port });
    await recovers("a late start", opened);
  });

  test("one of two servers is not there: the other one is used, however the client begins", async ({
    zooServer,
    session,
  }) => {
    const { port } = await zooServer();
    const dead = await freePort();
    for (let i = 0; i < 6; i++) {
      const opened = session(zookeeper(createClient(`127.0.0.1:${dead},127.0.0.1:${port}`)));
      await opened.status();
      await opened.close();
    }
  });

  test("a host name that does not exist", async ({ session }) => {
    const opened = session(zookeeper(createClient("no-such-host.invalid:2181")));
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN/);
  });

  test("SIGSTOP: given up in time, works within a second of SIGCONT", async ({ zooServer, session }) => {
    const server = await zooServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    await grant(opened, "mine", { ttlMs: 60_000 });
    await server.freeze();
    const pending = await Promise.all([
      timed(acquire(opened, "k")),
      timed(opened.release("mine", ALICE)),
      timed(opened.status()),
    ]);
    for (const { ms, error } of pending) {
      expect(error).toMatchObject({
        code: expect.stringMatching(/^BACKEND_(TIMEOUT|DISCONNECTED)$/) as unknown,
        effect: "unknown",
      });
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
    }
    // A connection that is accepted by the kernel alone is no connection.
    const again = await timed(acquire(opened, "k"));
    checkFault(again.error, "BACKEND_NOT_CONNECTED", /no answer to the handshake within 1000 ms/);
    expect(again.ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
    await server.thaw();
    await recovers("SIGCONT", opened);
    expect((await opened.inspect("mine")).lock?.owner, "only looks were sent").toBe(ALICE);
    expect((await opened.inspect("k")).lock).toBeUndefined();
  });

  test("SIGSTOP before the write: effect unknown, and a release afterwards leaves nothing", async ({
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const late = session(zookeeper(heldUp(`127.0.0.1:${server.port}`, () => server.freeze())));
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
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const opened = session(backendOn(server));
    await putInService(opened);
    const before = await opened.status();
    const fence = await grant(opened, "kept", { ttlMs: 60_000 });
    await server.freeze();
    const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(opened, `k${i}`)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.kill();
    for (const { error, ms } of await Promise.all(pending)) {
      checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS);
    }
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ECONNREFUSED/);
    await server.restart("kept");
    await recovers("kill -9 and a restart", opened);
    expect(await opened.status()).toEqual(before);
    expect((await opened.inspect("kept")).lock).toMatchObject({ owner: ALICE, fence });
    expect((await acquire(opened, "kept", { owner: BOB })).kind).toBe("held");
  });

  test("half-open: given up in time, works within a second of the heal", async ({
    place,
    session,
    after,
  }) => {
    const proxy = await startTcpProxy({ targetPort: place.port });
    after(() => proxy.close());
    const opened = session(backendOn({ ...place, port: proxy.port }));
    await putInService(opened);
    for (const direction of ["both", "to-client", "to-server"] as const) {
      proxy.cut(direction);
      const { ms, error } = await timed(acquire(opened, direction));
      checkFault(error, "BACKEND_TIMEOUT", /may still act/);
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
      await expectFault(acquire(opened, direction), "BACKEND_NOT_CONNECTED", /handshake/);
      proxy.heal();
      await recovers(`a half-open connection (${direction})`, opened);
    }
    proxy.drop();
    await recovers("a reset", opened);
  });

  test("a request that is under way when the session is closed is given up, and none comes after it", async ({
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const opened = session(backendOn(server, { requestTimeoutMs: 20_000 }));
    await putInService(opened);
    await server.freeze();
    const pending = timed(acquire(opened, "k"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closing = await timed(opened.close());
    expect(closing.ms).toBeLessThan(500);
    const { ms, error } = await pending;
    checkFault(error, "BACKEND_DISCONNECTED");
    expect(ms).toBeLessThan(1_000);
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /closed/);
  });
});

await describeWithServer("zookeeper", "what ZooKeeper refuses", () => {
  test("credentials: the client's are used, and without them the znodes are closed", async ({
    zooServer,
    session,
  }) => {
    const server = await zooServer();
    const address = `127.0.0.1:${server.port}`;
    const withCredentials = createClient(address);
    withCredentials.addAuthInfo("digest", Buffer.from("locks:secret"));
    const opened = session(zookeeper(withCredentials, { acl: ACL.CREATOR_ALL_ACL }));
    await putInService(opened);
    await grant(opened, "k");
    const { server: product, findings, wallMs } = await opened.examine();
    expect(product).toBe("ZooKeeper 3.8.0");
    expect(findings.map(({ level }) => level)).toEqual(findings.map(() => "good"));
    expect(Math.abs((wallMs ?? 0) - Date.now())).toBeLessThan(5_000);
    const stranger = session(backendOn(server));
    const fault = await expectFault(acquire(stranger, "k"), "BACKEND_NO_PERMISSION", /access lists.*NO_AUTH/);
    expect(fault.effect).toBe("none");
    const open = session(backendOn(server, { prefix: "open" }));
    await putInService(open);
    expect((await open.examine()).findings).toContainEqual(
      expect.objectContaining({ level: "warning", topic: "access" }),
    );
    const status = await open.status();
    expect(status.identity.serverId, "the name of the server is not open to it").toBe(
      status.identity.incarnation,
    );
  });

  test("a chroot that is not there is said, and one that is there is used", async ({
    place,
    session,
    witness,
  }) => {
    const client = await witness(place);
    const address = `127.0.0.1:${place.port}/${place.prefix}`;
    await expectFault(session(zookeeper(createClient(address))).status(), "BACKEND_REFUSED", /NO_NODE/);
    await new Promise<void>((resolve) =>
      client.create(`/${place.prefix}`, Buffer.alloc(0), undefined, () => resolve()),
    );
    const opened = session(zookeeper(createClient(address)));
    await putInService(opened);
    await grant(opened, "k");
    expect(await recordsOf(client, `${place.prefix}/quorum-lock`)).toHaveLength(1);
    expect(await textOf(client, `/${place.prefix}/quorum-lock/mark`)).toMatch(/^ql1 d\./);
  });

  test("an error that the client does not know ends the connection, not the process", async ({
    session,
    after,
  }) => {
    const { port } = await listening(strange(), after);
    const opened = session(backendOn({ port }));
    await expectFault(acquire(opened, "k"), "BACKEND_DISCONNECTED", /Unknown code: -127/);
  });

  test("it accepts and never says anything, or is no ZooKeeper: an error in time", async ({
    session,
    after,
  }) => {
    const deaf = await listening(
      createServer(() => undefined),
      after,
    );
    const { ms, error } = await timed(acquire(session(backendOn(deaf)), "k"));
    checkFault(error, "BACKEND_NOT_CONNECTED", /handshake/);
    expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
    const other = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    const web = await listening(other, after);
    const second = await timed(acquire(session(backendOn(web)), "k"));
    checkFault(second.error, "BACKEND_NOT_CONNECTED");
    expect(second.ms).toBeLessThan(REQUEST_TIMEOUT_MS + 300);
  });
});

await describeWithServer("zookeeper", "the caller's client", () => {
  test("is neither used, closed nor listened to, and works beside the backend", async ({ place, after }) => {
    const client = await connected(`127.0.0.1:${place.port}`);
    after(() => client.close());
    const listeners = client.listenerCount("state");
    const sessionId = (Reflect.get(client, "getSessionId") as () => Buffer).call(client).toString("hex");
    const backend = zookeeper(client, { prefix: place.prefix });
    const one = backend.open({ ...DEPLOYMENT });
    const two = backend.open({ ...DEPLOYMENT });
    await putInService(one);
    const reads = Array.from({ length: 50 }, () => textOf(client, "/zookeeper"));
    const grants = await Promise.all(
      Array.from({ length: 50 }, (_, i) => acquire(i % 2 === 0 ? one : two, `k${i}`)),
    );
    await Promise.all(reads);
    expect(new Set(grants.map(({ kind }) => kind))).toEqual(new Set(["granted"]));
    await one.close();
    await grant(two, "still");
    await two.close();
    expect(client.listenerCount("state")).toBe(listeners);
    expect(await textOf(client, "/zookeeper")).toBe("");
    expect((Reflect.get(client, "getSessionId") as () => Buffer).call(client).toString("hex")).toBe(
      sessionId,
    );
  });
});

/** Agrees to every session, and answers every request with an error number of a newer ZooKeeper. */
function strange(): Server {
  return createServer((socket) => {
    let greeted = false;
    let left = Buffer.alloc(0);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      left = Buffer.concat([left, bytes]);
      while (left.length >= 4 && left.length >= 4 + left.readInt32BE()) {
        const size = left.readInt32BE();
        const reply = greeted ? Buffer.alloc(16) : Buffer.alloc(36);
        if (greeted) {
          left.copy(reply, 0, 4, 8);
          reply.writeInt32BE(-127, 12);
        } else {
          reply.writeInt32BE(10_000, 4);
          reply.writeInt32BE(16, 16);
        }
        greeted = true;
        left = left.subarray(4 + size);
        const head = Buffer.alloc(4);
        head.writeInt32BE(reply.length);
        socket.write(Buffer.concat([head, reply]));
      }
    });
  });
}

async function listening(
  server: Server,
  after: (close: () => unknown) => void,
): Promise<{ readonly port: number }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => server.close());
  return { port: (server.address() as AddressInfo).port };
}
