// A Redis whose wall clock is wrong, by Debian's libfaketime; its monotonic clock goes on.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCi, resolveServer } from "../../scripts/servers.mjs";
import { faketimeEnv, resolveFaketime, setClock, sweepFaketime } from "../../scripts/servers/faketime.mjs";
import { startRedis, type RunningRedis } from "./redis-server.ts";

/** Why there can be none here, in one line; undefined where there can. In CI that is an error. */
export async function whyNoFakedClock(): Promise<string | undefined> {
  const [server, faketime] = await Promise.all([resolveServer("redis-7"), resolveFaketime()]);
  const why =
    "missing" in server
      ? server.missing
      : "missing" in faketime
        ? faketime.missing
        : server.origin === "debian-packages"
          ? undefined
          : "a faked clock needs the Redis of Debian's packages";
  if (why !== undefined && isCi()) throw new Error(`in CI a missing server is a failure: ${why}`);
  return why;
}

/** Starts one that is so many milliseconds ahead of the true time; negative for behind. */
export async function startWithClock(offsetMs: number): Promise<RunningRedis> {
  const [server, faketime] = await Promise.all([resolveServer("redis-7"), resolveFaketime()]);
  if ("missing" in server) throw new Error(server.missing);
  if ("missing" in faketime) throw new Error(faketime.missing);
  const folder = await mkdtemp(join(tmpdir(), "quorum-lock-clock-"));
  const file = join(folder, "offset");
  try {
    await setClock(file, offsetMs);
    const redis = await startRedis({ env: faketimeEnv(faketime, { command: server.command, file }) });
    const { pid } = redis;
    return {
      ...redis,
      async stop(): Promise<void> {
        await redis.stop();
        await sweepFaketime(pid);
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}
