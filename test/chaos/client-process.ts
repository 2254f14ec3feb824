/** A client process from outside: started, stopped in the signal's sense, killed, told to end. */
import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { signal, startGuarded } from "../servers/guarded-process.mjs";
import { waitUntil } from "../servers/wait-until.ts";
import type { ClientOrders, ClientTask } from "./client-task.ts";
import type { ClientFile } from "./history.js";

export interface ClientProcess {
  readonly name: string;
  readonly index: number;
  /** SIGSTOP. */
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
  order(order: ClientOrders): void;
  /** Asks it to end, and kills it when it does not. */
  end(): Promise<void>;
  file(): ClientFile;
}

const START_MS_MAX = 30_000;
const END_MS_MAX = 12_000;
const PROGRAM = fileURLToPath(new URL("client.js", import.meta.url));

/** Resolves when it is connected and about to work. */
export async function startClient(task: Omit<ClientTask, "control">): Promise<ClientProcess> {
  const folder = await mkdtemp(join(tmpdir(), "quorum-lock-client-"));
  const control = await startControl();
  const log = `${task.history}.log`;
  const output = openSync(log, "a");
  const full: ClientTask = { ...task, control: control.port };
  const child = startGuarded(
    { command: process.execPath, args: [PROGRAM, JSON.stringify(full)] },
    { folder, output },
  );
  closeSync(output);
  let endedMs = Number.POSITIVE_INFINITY;
  const gone = async (): Promise<void> => {
    await waitUntil({ what: `client ${task.name} gone`, timeoutMs: 10_000 }, async () => !child.running());
    endedMs = Math.min(endedMs, Number(process.hrtime.bigint()) / 1e6);
    control.close();
    await rm(folder, { recursive: true, force: true });
  };
  const kill = async (): Promise<void> => {
    if (child.running()) signal(child.pid, "SIGKILL");
    await gone();
  };
  try {
    const what = `client ${task.name} ready`;
    await waitUntil({ what, timeoutMs: START_MS_MAX }, async () => {
      if (!child.running()) throw new Error(`it has ended: ${await readFile(log, "utf8")}`);
      return control.heard().includes("ready\n");
    });
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    name: task.name,
    index: task.index,
    pause: () => void signal(child.pid, "SIGSTOP"),
    resume: () => void signal(child.pid, "SIGCONT"),
    kill,
    order: (order) => control.send(order),
    async end() {
      signal(child.pid, "SIGCONT");
      control.send({ stop: true });
      const what = `client ${task.name} done`;
      await waitUntil({ what, timeoutMs: END_MS_MAX }, async () => !child.running()).catch(() => undefined);
      await kill();
    },
    file: () => ({ client: task.name, path: task.history, endedMs }),
  };
}

interface Control {
  readonly port: number;
  heard(): string;
  send(order: ClientOrders): void;
  close(): void;
}

/** A socket and not IPC, so that a client that is stopped can be killed when this process dies. */
function startControl(): Promise<Control> {
  let socket: Socket | undefined;
  let heard = "";
  return new Promise((resolve, reject) => {
    const server: Server = createServer((connection) => {
      socket = connection;
      connection.on("error", () => undefined);
      connection.on("data", (bytes) => (heard += bytes.toString()));
    });
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : 0,
        heard: () => heard,
        send: (order) => void socket?.write(`${JSON.stringify(order)}\n`),
        close: () => {
          socket?.destroy();
          server.close();
        },
      });
    });
  });
}
