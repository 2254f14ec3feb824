/** What INFO of a Redis or Valkey server means for a lock. */
import type { Examination, Finding } from "../../backend.js";

/** What was read of a server. */
export interface Observed {
  /** The text of INFO. */
  readonly info: string;
  readonly serverMs: number;
  /** The setting; undefined where CONFIG may not be read. */
  readonly appendfsync: string | undefined;
  /** What the backend's options claim. */
  readonly durable: boolean;
}

/** Sorts it by what an operator can do about it. */
export function examination(observed: Observed): Examination {
  const { info, serverMs } = observed;
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  const valkey = field("valkey_version");
  const server = valkey === undefined ? `Redis ${field("redis_version") ?? "?"}` : `Valkey ${valkey}`;
  return {
    server,
    wallMs: serverMs,
    findings: [version(server, field), role(field), eviction(field), durability(field, observed)],
  };
}

type Field = (name: string) => string | undefined;

function version(server: string, field: Field): Finding {
  const major = Number.parseInt(field("redis_version") ?? "", 10);
  if (major >= 7) return { level: "good", topic: "version", text: server };
  return {
    level: "problem",
    topic: "version",
    text: `${server} is too old`,
    remedy: "Redis 7 or Valkey 8 is needed",
  };
}

function role(field: Field): Finding {
  if (field("role") !== "slave") return { level: "good", topic: "role", text: "primary" };
  const of = `${field("master_host") ?? "?"}:${field("master_port") ?? "?"}`;
  return {
    level: "problem",
    topic: "role",
    text: `replica of ${of}, which refuses writes and has no vote of its own`,
    remedy: "name an independent primary instead; a replica adds nothing to a quorum",
  };
}

function eviction(field: Field): Finding {
  const policy = field("maxmemory_policy");
  const limited = field("maxmemory") !== "0";
  if (policy === "noeviction") return { level: "good", topic: "eviction", text: "evicts nothing" };
  return {
    level: limited ? "problem" : "warning",
    topic: "eviction",
    text: `maxmemory-policy ${policy ?? "unknown"} ${limited ? "evicts locks and counters under memory pressure" : "would evict locks once maxmemory is set"}`,
    remedy: "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
  };
}

function durability(field: Field, { appendfsync, durable }: Observed): Finding {
  const topic = "durability";
  const appendOnly = field("aof_enabled") === "1";
  if (!durable) {
    const text = `counts as volatile: it is quarantined after every restart${appendOnly ? ", though it keeps an append-only file" : ""}`;
    return { level: "good", topic, text };
  }
  if (!appendOnly) {
    return {
      level: "problem",
      topic,
      text: "is said to be durable, but keeps no append-only file: a restart forgets locks and nobody notices",
      remedy: "leave durable away, or set appendonly yes and appendfsync always",
    };
  }
  if (appendfsync === "always") return { level: "good", topic, text: "durable: appendfsync always" };
  if (appendfsync === undefined) {
    return {
      level: "warning",
      topic,
      text: "is said to be durable; appendfsync could not be read (no permission for CONFIG GET)",
      remedy: "make sure that appendfsync is always",
    };
  }
  return {
    level: "problem",
    topic,
    text: `is said to be durable, but appendfsync is ${appendfsync}: a crash may lose what was acknowledged`,
    remedy: "set appendfsync always, or leave durable away",
  };
}
