// A plain Redis or Valkey server, or several.
import { randomBytes } from "node:crypto";
import type { ServerName } from "../../scripts/servers.mjs";
import { quoted, startConfigured, type RunningRedis } from "./running-redis.ts";

export interface RedisOptions {
  /** Default `redis-7`. */
  server?: ServerName;
  /** Further arguments, such as `["--maxmemory", "1mb"]`; they win over what the harness sets. */
  args?: readonly string[];
  /** Keep data over a kill, with this `appendfsync`. Default: nothing is kept. */
  appendOnly?: "always" | "everysec" | undefined;
  /** Default: one that is free. A given port that is taken is an error. */
  port?: number;
  /** The password of the default user; part of `url`. */
  password?: string;
  /** Lines as in an ACL file, such as `user alice on >secret ~* +@all`. The harness then adds a user of its own for `cli`. */
  aclLines?: readonly string[];
  /** Laid over this process's environment, for instance `LD_PRELOAD`. */
  env?: Readonly<Record<string, string>>;
}

/** Rejects, with the way to get it, when the server is not to be had; see `needs.ts` for skipping. */
export function startRedis(options: RedisOptions = {}): Promise<RunningRedis> {
  const { password, aclLines = [] } = options;
  const harnessSecret = randomBytes(12).toString("hex");
  const access = [
    ...(password === undefined ? [] : [`requirepass ${quoted(password)}`]),
    ...aclLines,
    ...(aclLines.length === 0 ? [] : [`user harness on >${harnessSecret} ~* &* +@all`]),
  ];
  const keep =
    options.appendOnly === undefined
      ? ["appendonly no"]
      : ["appendonly yes", `appendfsync ${options.appendOnly}`];
  return startConfigured({
    server: options.server ?? "redis-7",
    confLines: ['save ""', ...keep, ...access],
    args: options.args ?? [],
    env: options.env ?? {},
    port: options.port,
    keepsData: options.appendOnly === "always",
    auth: aclLines.length > 0 ? ["harness", harnessSecret] : password === undefined ? undefined : [password],
    credentials: password === undefined ? "" : `:${encodeURIComponent(password)}@`,
  });
}

/** All or none: when one cannot be started, the others are stopped again. */
export async function startRedises(
  n: number,
  options: Omit<RedisOptions, "port"> = {},
): Promise<RunningRedis[]> {
  const starts = await Promise.allSettled(Array.from({ length: n }, () => startRedis(options)));
  const started = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const failed = starts.find((start) => start.status === "rejected");
  if (failed === undefined) return started;
  await Promise.all(started.map((redis) => redis.stop()));
  throw failed.reason;
}
