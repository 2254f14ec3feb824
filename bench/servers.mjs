/** The redis-servers that a benchmark starts for itself, on free loopback ports; gone when the process is. */
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { resolveServer } from "../scripts/servers.mjs";
import { Redis } from "ioredis";
import { freePort } from "../test/servers/free-port.mjs";
import { startGuarded } from "../test/servers/guarded-process.mjs";

/** Starts `n` servers without persistence. */
export async function startServers(n) {
  const server = await resolveServer("redis-7");
  if (server.command === undefined)
    throw new Error(server.missing ?? "the benchmark needs a redis-server of its own");
  const started = [];
  for (let i = 0; i < n; i++) {
    const dir = mkdtempSync(join(tmpdir(), "quorum-lock-bench-"));
    const port = await freePort();
    const args = [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      dir,
      "--save",
      "",
      "--appendonly",
      "no",
    ];
    let running = await start();
    const observer = new Redis({ host: "127.0.0.1", port, lazyConnect: true });
    observer.on("error", () => undefined);
    const info = async (section, field) =>
      Number(new RegExp(`${field}:(\\d+)`).exec(await observer.info(section))?.[1] ?? Number.NaN);
    async function start() {
      const made = startGuarded(
        { command: server.command, args: [...server.args, ...args], env: server.env },
        { folder: dir, output: openSync(join(dir, "log"), "a") },
      );
      await answering(port);
      return made;
    }
    const kill = async () => {
      if (!running.running()) return;
      process.kill(running.pid, "SIGKILL");
      // Its handle does not keep this process alive; a timer does.
      for (let tries = 0; running.running() && tries < 500; tries++) await sleep(10);
    };
    started.push({
      port,
      freeze: () => process.kill(running.pid, "SIGSTOP"),
      thaw: () => running.running() && process.kill(running.pid, "SIGCONT"),
      kill,
      /** With an empty memory, as it has no persistence. */
      revive: async () => {
        running = await start();
      },
      /** Commands that it has executed, those within scripts included. */
      commands: () => info("stats", "total_commands_processed"),
      usedMemory: () => info("memory", "used_memory"),
      /** Microseconds of processor time. */
      cpu: async () => {
        const text = await observer.info("cpu");
        const seconds = (field) => Number(new RegExp(`${field}:([\\d.]+)`).exec(text)?.[1]);
        return (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1e6;
      },
      flush: () => observer.flushall(),
      stop: async () => {
        observer.disconnect();
        await kill();
        rmSync(dir, { recursive: true, force: true });
      },
    });
  }
  return {
    version: server.version,
    list: started,
    stop: () => Promise.all(started.map((each) => each.stop())),
  };
}

async function answering(port) {
  for (let tries = 0; tries < 500; tries++) {
    const answered = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
      socket.once("data", () => resolve(true)).once("error", () => resolve(false));
      socket.once("data", () => socket.destroy());
    });
    if (answered) return;
    await sleep(10);
  }
  throw new Error(`the redis-server on port ${port} does not answer`);
}
