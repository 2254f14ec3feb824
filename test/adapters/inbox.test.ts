/** The connection on which a session of PostgreSQL hears of its turns, against a client that is made up. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { OwnClient, Server } from "../../src/adapters/postgres/client.js";
import { createInbox } from "../../src/adapters/postgres/inbox.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Says farewell in one piece with its answer to LISTEN. */
function leavingClient(asked: string[]): OwnClient {
  const ends: (() => void)[] = [];
  return {
    connection: { stream: { destroy: () => undefined } },
    connect: async () => undefined,
    async query(config) {
      const text = String(Reflect.get(config, "text"));
      asked.push(text);
      if (text.startsWith("LISTEN")) for (const end of ends) end();
      return { rows: [] };
    },
    end: async () => undefined,
    on(event: string, listener: (told: never) => void) {
      if (event === "end") ends.push(listener as () => void);
    },
  };
}

test("a connection that ended while it began to listen is not taken for one that hears", async () => {
  const asked: string[] = [];
  const server: Server = { make: () => leavingClient(asked), name: "h:1/d" };
  const inbox = createInbox(server);
  inbox.watch(() => undefined);
  inbox.joined({ id: "1", since: 1n, waitsMs: 60_000 });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(asked.filter((text) => text.startsWith("LISTEN")).length).toBeGreaterThan(2);
  inbox.close();
  const before = asked.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(before);
  expect(vi.getTimerCount()).toBe(0);
});
