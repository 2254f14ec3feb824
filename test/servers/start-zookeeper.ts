// A ZooKeeper that is alone.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ResolvedServer } from "../../scripts/servers.mjs";
import { startKind, type RunningServer, type Seat } from "./running-server.ts";
import { probeTimeoutMs, type StartOptions } from "./start-options.ts";
import { textCall } from "./text-call.ts";

export async function startZookeeper(options: StartOptions = {}): Promise<RunningServer> {
  const { running } = await startKind({
    server: "zookeeper",
    port: options.port,
    keepsData: true,
    portTaken: /Address already in use/,
    url: ({ port }) => `zookeeper://127.0.0.1:${port}`,
    args: (seat) => [...programOf(seat.found), confOf(seat), ...(options.args ?? [])],
    env: (seat) => ({ ZOO_LOG_DIR: seat.dir, ...options.env }),
    wipe,
    answers,
  });
  return running;
}

/** Packages bring Java and jars, an image a script. */
function programOf(found: ResolvedServer): string[] {
  if (found.origin !== "debian-packages") return ["start-foreground"];
  const jars = join(found.command.slice(0, found.command.indexOf(join("lib", "jvm"))), "share", "java", "*");
  // Quick to start and small, because a test has several of them and throws them away.
  const frugal = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];
  const logging = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dzookeeper.jmx.log4j.disable=true"];
  return [...frugal, ...logging, "-cp", jars, "org.apache.zookeeper.server.ZooKeeperServerMain"];
}

async function wipe(seat: Seat): Promise<void> {
  const data = join(seat.dir, "data");
  await rm(data, { recursive: true, force: true });
  await mkdir(data);
  const conf = {
    // Sessions last from two to twenty of these.
    tickTime: 500,
    dataDir: data,
    clientPort: seat.port,
    clientPortAddress: "127.0.0.1",
    maxClientCnxns: 0,
    "admin.enableServer": false,
    "4lw.commands.whitelist": "*",
    extendedTypesEnabled: true,
  };
  const lines = Object.entries(conf).map(([name, value]) => `${name}=${value}`);
  await writeFile(confOf(seat), `${lines.join("\n")}\n`);
}

function confOf(seat: Seat): string {
  return join(seat.dir, "zoo.cfg");
}

async function answers(seat: Seat): Promise<boolean> {
  const conf = await ask(seat.port, "conf");
  return conf.includes(`dataDir=${seat.dir}`) && /^Mode: standalone$/m.test(await ask(seat.port, "srvr"));
}

function ask(port: number, word: string): Promise<string> {
  return textCall({ port, timeoutMs: probeTimeoutMs }, word);
}
