/** The redis-servers that a benchmark starts for itself, on free loopback ports; gone when the process is. */
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { resolveServer } from "../scripts/servers.mjs";
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
    const running = startGuarded(
      { command: server.command, args: [...server.args, ...args], env: server.env },
      { folder: dir, output: openSync(join(dir, "log"), "a") },
    );
    await answering(port);
    started.push({
      port,
      pid: running.pid,
      freeze: () => process.kill(running.pid, "SIGSTOP"),
      thaw: () => process.kill(running.pid, "SIGCONT"),
      stop: async () => {
        process.kill(running.pid, "SIGKILL");
        // Its handle does not keep this process alive; a timer does.
        for (let tries = 0; running.running() && tries < 500; tries++) await sleep(10);
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

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
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
