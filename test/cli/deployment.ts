// Three servers that a whole test file shares, with holders and leftovers on them.
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll } from "vitest";
import type { ServerName } from "../../scripts/servers.mjs";
import { startRedises, type RunningRedis } from "../servers/redis-server.ts";
import { waitUntil } from "../servers/wait-until.ts";
import { MAIN, type RunningCli } from "./running-cli.ts";

export interface Deployment {
  readonly servers: readonly RunningRedis[];
  /** `--backend` for each, named a, b and c. */
  readonly backends: readonly string[];
  /** A holder that goes on until it is told to end; resolves when it holds the lock. */
  hold(cli: (args: readonly string[]) => RunningCli, key: string, ttl?: string): Promise<RunningCli>;
  /** A lock as a process that died has left it, on these servers. */
  leave(key: string, on: readonly number[], owner?: string): Promise<void>;
}

/** Of locks that nobody holds any more. */
export const OTHER = "0123456789abcdef0123456789abcdef";

/** Three in service. Started before the tests of the block that calls it, and stopped after them. */
export function useDeployment(server: ServerName): Deployment {
  const servers: RunningRedis[] = [];
  const backends: string[] = [];
  beforeAll(async () => {
    servers.push(...(await startRedises(3, { server })));
    backends.push(...servers.flatMap(({ url }, i) => ["--backend", `${url}?name=${"abc"[i]}`]));
    execFileSync(process.execPath, [MAIN, "init", ...backends], { timeout: 30_000 });
  });
  afterAll(() => Promise.all(servers.map((each) => each.stop())));
  return {
    servers,
    backends,
    async hold(cli, key, ttl = "20s"): Promise<RunningCli> {
      const job = ["sh", "-c", "echo held; exec sleep 60"];
      const run = cli(["run", ...backends, "--key", key, "--ttl", ttl, "--", ...job]);
      await waitUntil(
        { what: "a holder", timeoutMs: 15_000, detail: run.stderr },
        async () => run.stdout() === "held\n",
      );
      return run;
    },
    async leave(key, on, owner = OTHER): Promise<void> {
      for (const i of on) {
        await servers[i]?.cli("SET", `{ql:${key}}:l`, `${owner}|1795500000000000`, "PX", 60_000);
      }
    },
  };
}
