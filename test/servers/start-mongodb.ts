// A MongoDB that is alone: the product where Docker has it or PATH does, and otherwise the server that stands in for it, which recipes.mjs
// describes.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { startKind, type RunningServer, type Seat } from "./running-server.ts";
import { probeTimeoutMs, type StartOptions } from "./start-options.ts";

export async function startMongodb(options: StartOptions = {}): Promise<RunningServer> {
  const { running } = await startKind({
    server: "mongodb",
    port: options.port,
    keepsData: true,
    portTaken: /Address already in use/,
    url: ({ port }) => `mongodb://127.0.0.1:${port}`,
    args: (seat) => [...argsOf(seat), ...(options.args ?? [])],
    env: (seat) => ({ ...envOf(seat), ...options.env }),
    wipe,
    answers: async (seat, body) => {
      const pid = await pidAt(seat.port);
      // In a container it has a number of its own.
      return seat.found.origin === "docker" || pid === body.pid;
    },
  });
  return running;
}

function isStandIn(seat: Seat): boolean {
  return seat.found.origin === "debian-packages";
}

function argsOf(seat: Seat): string[] {
  const port = ["--port", String(seat.port)];
  if (!isStandIn(seat)) return [...port, "--bind_ip", "127.0.0.1", "--dbpath", dataOf(seat), "--quiet"];
  const where = ["--config", confOf(seat), "--host", "127.0.0.1", "--storage-path", dataOf(seat)];
  // It calls itself a replica set otherwise, and keeps confirmed writes for later.
  return ["-m", "secantus", ...port, ...where, "--standalone", "--sync-on-commit", "--cache-size", "64M"];
}

function envOf(seat: Seat): Readonly<Record<string, string>> {
  if (!isStandIn(seat)) return {};
  const top = dirname(dirname(seat.found.command));
  // Nothing of the machine's own Python.
  return { PYTHONPATH: join(top, "lib", "python3", "server"), PYTHONHOME: "", PYTHONNOUSERSITE: "1" };
}

async function wipe(seat: Seat): Promise<void> {
  await rm(dataOf(seat), { recursive: true, force: true });
  await mkdir(dataOf(seat));
  // Without one it would look for one in the home folder.
  await writeFile(confOf(seat), "");
}

function dataOf(seat: Seat): string {
  return join(seat.dir, "data");
}

function confOf(seat: Seat): string {
  return join(seat.dir, "server.toml");
}

/** The number of the process that answers there. */
async function pidAt(port: number): Promise<number> {
  // Loaded only here: it takes a while, and most tests have no MongoDB.
  const { MongoClient } = await import("mongodb");
  const client = new MongoClient(`mongodb://127.0.0.1:${port}`, {
    serverSelectionTimeoutMS: probeTimeoutMs,
    connectTimeoutMS: probeTimeoutMs,
    socketTimeoutMS: probeTimeoutMs,
  });
  try {
    return Number((await client.db("admin").command({ serverStatus: 1 }))["pid"]);
  } finally {
    await client.close();
  }
}
