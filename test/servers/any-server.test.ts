import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { expect, test as plainTest } from "vitest";
import { serverNames } from "../../scripts/servers/recipes.mjs";
import { resolveServer } from "../../scripts/servers.mjs";
import { signal } from "./guarded-process.mjs";
import { describeWithServer } from "./needs.ts";
import { notebookOf } from "./notebook.ts";
import { lives } from "./process-tree.mjs";
import { startServer, type RunningServer, type StartOptions } from "./start-server.ts";
import { waitUntil } from "./wait-until.ts";

type Start = (options?: StartOptions) => Promise<RunningServer>;

const answerTimeoutMs = 5000;
const silenceMs = 300;

const test = plainTest.extend<{ started: RunningServer[] }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  started: async ({}, use) => {
    const started: RunningServer[] = [];
    await use(started);
    await Promise.all(started.map((server) => server.stop()));
  },
});

for (const name of serverNames) {
  await describeWithServer(name, "a server of any kind", () => {
    const starter =
      (started: RunningServer[]): Start =>
      async (options) => {
        const server = await startServer(name, options);
        started.push(server);
        return server;
      };

    test("answers, is silent while frozen, and goes on where it was when thawed", async ({ started }) => {
      const server = await starter(started)();
      const found = await resolveServer(name);
      expect(server).toMatchObject({ server: name, version: "missing" in found ? "" : found.version });
      expect(new URL(server.url)).toMatchObject({ hostname: "127.0.0.1", port: String(server.port) });
      const notebook = notebookOf(server, answerTimeoutMs);
      expect(await notebook.read()).toBe(undefined);
      await notebook.write("before");
      await server.freeze();
      await expect(notebookOf(server, silenceMs).read()).rejects.toThrow(/no reply|time-?d? ?out|ETIMEDOUT/i);
      expect(await accepts(server.port)).toBe(true);
      await server.thaw();
      expect(await notebook.read()).toBe("before");
      await notebook.write("after");
      expect(await notebook.read()).toBe("after");
    });

    test("comes back on its port: after a kill with the memory it keeps, and empty when that is taken", async ({
      started,
    }) => {
      const server = await starter(started)();
      const { pid, port } = server;
      const notebook = notebookOf(server, answerTimeoutMs);
      await notebook.write("one");
      await server.kill();
      await server.kill();
      expect(signal(pid, "SIGCONT")).toBe(false);
      expect(await accepts(port)).toBe(false);
      await server.restart("kept");
      expect(await notebook.read()).toBe(server.keepsData ? "one" : undefined);
      expect(server.pid).not.toBe(pid);
      expect(server.port).toBe(port);
      await notebook.write("two");
      await server.freeze();
      await server.restart("lost");
      expect(await notebook.read()).toBe(undefined);
      await notebook.write("three");
      expect(await notebook.read()).toBe("three");
    });

    test("shares nothing with others of its kind, and leaves nothing when stopped, frozen or not", async ({
      started,
    }) => {
      const start = starter(started);
      const [first, second] = await Promise.all([start(), start()]);
      await notebookOf(first, answerTimeoutMs).write("first");
      expect(await notebookOf(second, answerTimeoutMs).read()).toBe(undefined);
      await expect(start({ port: first.port })).rejects.toThrow(`port ${first.port} is taken`);
      expect(await notebookOf(first, answerTimeoutMs).read()).toBe("first");
      await second.freeze();
      await Promise.all([first.stop(), first.stop(), second.stop()]);
      for (const server of [first, second]) {
        expect(signal(server.pid, "SIGCONT")).toBe(false);
        expect(await accepts(server.port)).toBe(false);
        expect(existsSync(server.dir)).toBe(false);
        await expect(server.restart("kept")).rejects.toThrow("stopped for good");
      }
    });
  });
}

await describeWithServer("postgres", "a server of several processes", () => {
  test("is silent also on connections it already has, and answers there when thawed", async ({ started }) => {
    const server = await startServer("postgres");
    started.push(server);
    const client = new pg.Client(server.url);
    client.on("error", () => undefined);
    await client.connect();
    await server.freeze();
    let answered = false;
    const answer = client.query("SELECT 1 AS one").then(({ rows }) => {
      answered = true;
      return rows as unknown[];
    });
    await sleep(silenceMs);
    expect(answered).toBe(false);
    await server.thaw();
    expect(await answer).toEqual([{ one: 1 }]);
    await client.end();
  });

  plainTest("leaves none of them when its starter is killed with -9 while they are frozen", async () => {
    const script = fileURLToPath(new URL("orphan-processes.mjs", import.meta.url));
    const parent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    const said = String(await new Promise((resolve) => parent.stdout.once("data", resolve)));
    const { dir, pids } = JSON.parse(said) as { dir: string; pids: number[] };
    expect(pids.length).toBeGreaterThan(3);
    parent.kill("SIGKILL");
    await waitUntil({ what: "processes gone", timeoutMs: 10_000 }, async () => !pids.some(lives));
    await waitUntil({ what: "folder gone", timeoutMs: 10_000 }, async () => !existsSync(dir));
  });
});

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
