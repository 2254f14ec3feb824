import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { row, unexpected, type Bench, type Look } from "./kit.ts";
import type { Library } from "./table.ts";

/** A process of its own holds the lock with default settings; then the lock's key is deleted on every server. */
const PROGRAM = fileURLToPath(new URL("lose-by-default.mjs", import.meta.url));
const SIGNAL = "signal";

interface Ended {
  readonly code: unknown;
  readonly printed: string;
  readonly complained: string;
}

async function lose(bench: Bench, how: Library | "redis-semaphore told", key: string): Promise<Ended> {
  const servers = await bench.servers(3);
  const ports = servers.map(({ port }) => String(port));
  const child = spawn(process.execPath, [PROGRAM, how, ...ports], { stdio: ["ignore", "pipe", "pipe"] });
  bench.after(() => child.kill("SIGKILL"));
  let printed = "";
  let complained = "";
  const ended = once(child, "close");
  child.stderr.on("data", (text) => (complained += String(text)));
  const held = new Promise<void>((resolve) => {
    child.stdout.on("data", (text) => {
      printed += String(text);
      if (printed.includes("held\n")) resolve();
    });
  });
  await Promise.race([held, ended]);
  for (const server of servers) await server.cli("DEL", key);
  const [code] = await ended;
  return { code: code as unknown, printed: printed.trim().replace("\n", ", "), complained };
}

function signals(library: Library, key: string): Look {
  return async (bench) => {
    const seen = await lose(bench, library, key);
    return seen.code === 0 && seen.printed === "held, signal" ? SIGNAL : unexpected("process", seen);
  };
}

await row("lock lost, nothing configured", {
  "quorum-lock": signals("quorum-lock", "{ql:job}:l"),
  redlock: signals("redlock", "job"),
  "@sesamecare-oss/redlock": signals("@sesamecare-oss/redlock", "job"),
  "redlock-universal": signals("redlock-universal", "job"),
  // Documented: "default onLockLost throws unhandled LostLockError".
  "redis-semaphore": async (bench) => {
    const [seen, told] = await Promise.all([
      lose(bench, "redis-semaphore", "mutex:job"),
      lose(bench, "redis-semaphore told", "mutex:job"),
    ]);
    const complaint = "Lost redlock-mutex for key mutex:job";
    const ends = seen.code === 1 && seen.printed === "held" && seen.complained.includes(complaint);
    return ends && told.code === 0 && told.printed === "held, signal"
      ? "ends the process, unless `onLockLost` is given"
      : unexpected("processes", { seen, told });
  },
});
