/** What goes wrong between a client and a real memcached: each is a coded error that names backend and cause, in time. */
import { createServer } from "node:net";
import { Client } from "memjs";
import { expect } from "vitest";
import { memcached } from "../../src/adapters/memcached.js";
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
import { textCall } from "../servers/text-call.ts";
import { MEMCACHEDS, test, TTL_MS } from "./kit.ts";

const REQUEST_TIMEOUT_MS = 1_000;
const RECOVERY_MS = 1_000;
const MORE = { ttlMs: TTL_MS };

async function recovers(what: string, session: BackendSession): Promise<void> {
  const ms = await eventually(`recovery after ${what}`, RECOVERY_MS, () => session.status());
  figure(`memcached: recovery after ${what}`, `${ms.toFixed(0)} ms`);
}

const say = ({ port }: { readonly port: number }, question: string, end: string): Promise<string> =>
  textCall({ port, timeoutMs: 1_000, end }, question);

async function statOf(server: { readonly port: number }, stat: string): Promise<number> {
  const [, value] = new RegExp(`STAT ${stat} (\\d+)`).exec(await say(server, "stats\r\n", "END\r\n")) ?? [];
  return Number(value);
}

for (const name of MEMCACHEDS) {
  await describeWithServer(name, "a memcached that hangs, dies or forgets", () => {
    test("a user's test that replaces nextTick, as Jest does: asked and answered all the same", async ({
      server,
      inService,
    }) => {
      const session = await inService(await server(name));
      await grant(session, "before", MORE);
      const { nextTick } = process;
      process.nextTick = () => undefined;
      const asked = timed(acquire(session, "k", MORE));
      // Node's own must work, which Jest leaves alone.
      process.nextTick = nextTick;
      expect((await asked).error).toBeUndefined();
    });

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
        expect(checkFault(error, "BACKEND_TIMEOUT", /may still act/).effect).toBe("unknown");
        expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 500);
      }
      await running.thaw();
      await recovers("SIGCONT", session);
      expect((await acquire(session, "before", { ...MORE, owner: BOB })).kind).toBe("held");
    });

    test("kill -9 with requests in flight: each is told at once, none is sent again", async ({
      server,
      client,
      session,
    }) => {
      const running = await server(name);
      // As careless as memjs can be told to be: the adapter's own connection is not.
      const opened = session(memcached(client(running, { retries: 5, retry_delay: 0.05, failover: true })));
      await putInService(opened);
      await running.freeze();
      const pending = Array.from({ length: 5 }, (_, i) => timed(acquire(opened, `k${i}`, MORE)));
      await new Promise((resolve) => setTimeout(resolve, 50));
      await running.kill();
      for (const { error, ms } of await Promise.all(pending)) {
        checkFault(error, "BACKEND_DISCONNECTED", /may still act/);
        expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS);
      }
      const { error } = await timed(acquire(opened, "k", MORE));
      expect(checkFault(error, "BACKEND_NOT_CONNECTED", /ECONNREFUSED/).effect).toBe("none");
      await running.restart("lost");
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await statOf(running, "cmd_get"), "nothing was asked again").toBe(0);
      expect(await statOf(running, "cmd_set"), "nor written").toBe(0);
      await recovers("kill -9 and a restart", opened);
      expect((await opened.status()).kind).toBe("quarantined");
    });

    test("flush_all under an open session: another memory, quarantined", async ({ server, inService }) => {
      const running = await server(name);
      const session = await inService(running);
      const before = await session.status();
      await grant(session, "k", MORE);
      await say(running, "flush_all\r\n", "OK\r\n");
      const reply = await acquire(session, "k", { ...MORE, owner: BOB });
      expect(reply.kind).toBe("quarantined");
      expect((await session.status()).identity.incarnation).not.toBe(before.identity.incarnation);
    });

    test("flush_all between the look and the write: nothing is granted, and nothing stays", async ({
      server,
      client,
      session,
    }) => {
      const running = await server(name);
      const opened = session(
        memcached(spied(client(running), () => say(running, "flush_all\r\n", "OK\r\n"))),
      );
      await putInService(opened);
      flushAtWrite = 1;
      expect((await acquire(opened, "k", MORE)).kind).toBe("quarantined");
      expect(flushAtWrite, "it was flushed in between").toBe(0);
      expect(await opened.inspect("k")).toEqual({ lock: undefined, counter: 0n });
    });

    test("flush_all in the middle of what one turn writes: nothing is granted, and nothing stays", async ({
      server,
      client,
      session,
    }) => {
      const running = await server(name);
      const opened = session(
        memcached(spied(client(running), () => say(running, "flush_all\r\n", "OK\r\n"))),
      );
      await putInService(opened);
      const keys = Array.from({ length: 8 }, (_, i) => `k${i}`);
      flushAtWrite = 5;
      const replies = await Promise.all(keys.map((key) => acquire(opened, key, MORE)));
      expect(flushAtWrite, "it was flushed in between").toBe(0);
      expect(replies.map(({ kind }) => kind)).toEqual(keys.map(() => "quarantined"));
      for (const key of keys) expect(await opened.inspect(key)).toEqual({ lock: undefined, counter: 0n });
    });

    test("out of memory: nothing is granted or extended, and what is there stays there", async ({
      server,
      client,
      inService,
    }) => {
      const running = await server(name, { args: ["--memory-limit=8"] });
      const session = await inService(running);
      const token = await grant(session, "k", { ttlMs: 10_000 });
      const filler = client(running);
      for (const size of [4_000, 600, 400, 300, 250, 200, 150, 100, 60, 30]) {
        for (let i = 0; ; i++) {
          const wrote = await Promise.allSettled(
            Array.from({ length: 100 }, (_, j) => filler.set(`filler:${size}:${i}:${j}`, "x".repeat(size))),
          );
          if (wrote.some(({ status }) => status === "rejected")) break;
        }
      }
      expect(await statOf(running, "evictions")).toBe(0);
      const outOfMemory = async (): Promise<boolean> => {
        const { error } = await timed(acquire(session, `other-${performance.now()}`, MORE));
        return error !== undefined && checkFault(error, "BACKEND_OUT_OF_MEMORY") !== undefined;
      };
      await eventually("nothing more is granted", 5_000, outOfMemory);
      const extend = { key: "k", owner: ALICE, ttlMs: 10_000, token: token + 1n, mayHeal: false };
      await expectFault(session.extend(extend), "BACKEND_OUT_OF_MEMORY", /out of memory/);
      expect(await session.inspect("k"), "a write that failed deletes nothing").toMatchObject({
        lock: { owner: ALICE, fence: token },
        counter: token,
      });
      await filler.delete("filler:200:0:0");
    });
  });
}

/** Which write of a lock from now on it is done before; 0 for none. */
let flushAtWrite = 0;

/** A client whose copies, which the adapter makes, do something before a lock is written; the order is kept. */
function spied(client: Client, meanwhile: () => Promise<unknown>): Client {
  class Spied extends Client {
    #before: Promise<unknown> | undefined;
    override perform(...args: Parameters<Client["perform"]>): void {
      const [, request] = args;
      // The opcodes of add and replace, of an item that holds a lock.
      const isWrite = [2, 3].includes(request[1] ?? 0) && request.includes("ql:k:");
      if (isWrite && flushAtWrite > 0 && --flushAtWrite === 0) {
        this.#before = meanwhile().finally(() => (this.#before = undefined));
      }
      if (this.#before === undefined) super.perform(...args);
      else void this.#before.then(() => super.perform(...args));
    }
  }
  return new Spied(client.servers, client.options);
}

await describeWithServer("memcached-1.6.38", "a memcached that cannot be reached or used", () => {
  test("nobody listens: refused at once, and found when it comes", async ({ server, client, session }) => {
    const port = await freePort();
    const opened = session(memcached(client({ port })));
    for (const ask of [() => acquire(opened, "k"), () => opened.release("k", ALICE), () => opened.status()]) {
      const { ms, error } = await timed<unknown>(ask());
      const fault = checkFault(error, "BACKEND_NOT_CONNECTED", /not connected: .*ECONNREFUSED/);
      expect(fault.effect).toBe("none");
      expect(ms).toBeLessThan(500);
    }
    await server("memcached-1.6.38", { port });
    await recovers("a late start", opened);
  });

  test("a host name that does not exist", async ({ session }) => {
    const opened = session(memcached(Client.create("no-such-host.invalid:11211")));
    await expectFault(acquire(opened, "k"), "BACKEND_NOT_CONNECTED", /ENOTFOUND|EAI_AGAIN|no answer in time/);
  });

  test("it accepts and never says anything, or something else: an error in time", async ({
    client,
    session,
    after,
  }) => {
    for (const words of [undefined, "HTTP/1.1 400 Bad Request\r\n\r\n", "x".repeat(5_000)]) {
      const other = createServer((socket) => {
        socket.on("error", () => undefined);
        if (words !== undefined) socket.write(words);
      });
      const port = await freePort();
      await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
      after(() => other.close());
      const { ms, error } = await timed(acquire(session(memcached(client({ port }))), "k"));
      checkFault(error, "BACKEND_TIMEOUT");
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 500);
    }
  });

  test("it hangs up without an answer: told at once", async ({ client, session, after }) => {
    const rude = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end());
    });
    const port = await freePort();
    await new Promise<void>((resolve) => rude.listen(port, "127.0.0.1", resolve));
    after(() => rude.close());
    const { ms, error } = await timed(acquire(session(memcached(client({ port }))), "k"));
    expect(checkFault(error, "BACKEND_DISCONNECTED", /closed by the server/).effect).toBe("unknown");
    expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS - 200);
  });

  test("half-open: given up after a second, works within a second of the heal", async ({
    server,
    proxyTo,
    inService,
  }) => {
    const proxy = await proxyTo(await server("memcached-1.6.38"));
    const session = await inService(proxy);
    for (const direction of ["both", "to-client", "to-server"] as const) {
      proxy.cut(direction);
      const { ms, error } = await timed(acquire(session, direction, MORE));
      checkFault(error, "BACKEND_TIMEOUT", /may still act/);
      expect(ms).toBeLessThan(REQUEST_TIMEOUT_MS + 500);
      proxy.heal();
      await recovers(`a half-open connection (${direction})`, session);
    }
  });

  test("a reset in the middle of an answer does not confuse what comes after", async ({
    server,
    proxyTo,
    inService,
  }) => {
    const proxy = await proxyTo(await server("memcached-1.6.38"));
    const session = await inService(proxy);
    for (let i = 0; i < 20; i++) {
      const pending = Array.from({ length: 8 }, (_, j) => timed(acquire(session, `k${i}-${j}`, MORE)));
      await new Promise((resolve) => setTimeout(resolve, i % 5));
      proxy.drop();
      for (const { error } of await Promise.all(pending)) {
        if (error !== undefined) {
          expect((error as { code: string }).code).toMatch(/^BACKEND_(DISCONNECTED|NOT_CONNECTED)$/);
        }
      }
      await recovers("a reset", session);
    }
    expect((await acquire(session, "after", MORE)).kind).toBe("granted");
  });

  test("without versions of items (-C), or in text only (-B ascii): refused, and why", async ({
    server,
    client,
    session,
  }) => {
    const without = session(memcached(client(await server("memcached-1.6.38", { args: ["-C"] }))));
    await expectFault(putInService(without), "BACKEND_UNSUPPORTED", /-C/);
    const text = session(memcached(client(await server("memcached-1.6.38", { args: ["-B", "ascii"] }))));
    const { error } = await timed(acquire(text, "k"));
    expect((error as { code: string }).code).toMatch(/^BACKEND_(TIMEOUT|DISCONNECTED)$/);
  });

  test("no password, or a wrong one: refused, and nothing was done", async ({ client, session, after }) => {
    // Debian's server cannot be started with -S without SASL plugins; this one refuses as memcached does.
    const guarded = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (request) => {
        const refusal = Buffer.alloc(24);
        refusal.writeUInt8(0x81, 0);
        request.copy(refusal, 1, 1, 2);
        refusal.writeUInt16BE(0x20, 6);
        request.copy(refusal, 12, 12, 16);
        socket.write(refusal);
      });
    });
    const port = await freePort();
    await new Promise<void>((resolve) => guarded.listen(port, "127.0.0.1", resolve));
    after(() => guarded.close());
    for (const who of [{}, { username: "locks", password: "wrong" }]) {
      const refused = acquire(session(memcached(client({ port }, who))), "k");
      const error = await expectFault(refused, "BACKEND_AUTH", /user name or password/);
      expect(error.effect).toBe("none");
    }
  });

  test("listing is refused, and says so", async ({ server, inService }) => {
    const session = await inService(await server("memcached-1.6.38"));
    const list = session.list({ prefix: "", cursor: undefined, pageSize: 10 });
    await expectFault(list, "BACKEND_UNSUPPORTED", /cannot be listed/);
  });

  test("examine: as it should be, and what is wrong", async ({ server, inService }) => {
    const good = await inService(await server("memcached-1.6.38", { args: ["-F"] }));
    const { server: version, findings, wallMs } = await good.examine();
    expect(version).toBe("memcached 1.6.38");
    expect(findings.map(({ level }) => level)).toEqual(findings.map(() => "good"));
    expect(Math.abs((wallMs ?? 0) - Date.now())).toBeLessThan(5_000);
  });
});

await describeWithServer("memcached-1.6.38", "what memcached is known to do", () => {
  test("a set that finds no memory deletes what it was to replace: why the adapter never uses it", async ({
    server,
    client,
  }) => {
    const running = await server("memcached-1.6.38", { args: ["--memory-limit=8"] });
    const filler = client(running);
    await filler.set("victim", "v".repeat(300));
    for (let i = 0; ; i++) {
      const wrote = await Promise.allSettled(
        Array.from({ length: 100 }, (_, j) => filler.set(`f${i}-${j}`, "x".repeat(4_000))),
      );
      if (wrote.some(({ status }) => status === "rejected")) break;
    }
    await expect(filler.set("victim", "w".repeat(4_000))).rejects.toThrow(/Out of memory/);
    expect((await filler.get("victim")).value).toBeNull();
  });
});
