/** What the statistics of a memcached mean for a lock. */
import type { Examination, Finding } from "../../backend.js";

type Stats = Readonly<Record<string, string>>;

/** Sorts them by what an operator can do about it. */
export function examination(stats: Stats, settings: Stats): Examination {
  const server = `memcached ${stats["version"] ?? "?"}`;
  return {
    server,
    wallMs: Number(stats["time"]) * 1_000,
    findings: [
      version(server, stats["version"]),
      {
        level: "good",
        topic: "durability",
        text: "counts as volatile: it is quarantined after every restart",
      },
      evictions(stats, settings),
      compares(settings),
      flushes(settings),
      memory(stats),
    ],
  };
}

function version(server: string, text = ""): Finding {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  if (major > 1 || (major === 1 && minor >= 6)) return { level: "good", topic: "version", text: server };
  return {
    level: "problem",
    topic: "version",
    text: `${server} is too old`,
    remedy: "memcached 1.6 is needed",
  };
}

function evictions(stats: Stats, settings: Stats): Finding {
  const evicted = Number(stats["evictions"] ?? 0) + Number(stats["slab_reassign_evictions_nomem"] ?? 0);
  if (evicted > 0) {
    return {
      level: "problem",
      topic: "eviction",
      text: `has evicted ${evicted} items that had not ended; locks and counters may have been among them`,
      remedy: "start it with -M, with more memory (-m), and for locks only",
    };
  }
  if (settings["evictions"] === "off") {
    return { level: "good", topic: "eviction", text: "evicts nothing (-M)" };
  }
  return {
    level: "problem",
    topic: "eviction",
    text: "evicts locks and counters when its memory is used up",
    remedy: "start it with -M, so that it refuses writes instead",
  };
}

function compares(settings: Stats): Finding {
  if (settings["cas_enabled"] !== "no") {
    return { level: "good", topic: "storage", text: "its items have versions" };
  }
  return {
    level: "problem",
    topic: "storage",
    text: "its items have no versions (-C): the lock cannot use it",
    remedy: "start it without -C",
  };
}

function flushes(settings: Stats): Finding {
  if (settings["flush_enabled"] === "no") {
    return { level: "good", topic: "access", text: "flush_all is forbidden (-F)" };
  }
  return {
    level: "warning",
    topic: "access",
    text: "anybody who reaches it may send flush_all, which forgets all locks (it is then quarantined)",
    remedy: "start it with -F",
  };
}

function memory(stats: Stats): Finding {
  const [used, limit] = [Number(stats["bytes"]), Number(stats["limit_maxbytes"])];
  const text = `${Math.ceil(used / 1024 ** 2)} of ${Math.ceil(limit / 1024 ** 2)} MiB in use`;
  if (used < 0.8 * limit) return { level: "good", topic: "storage", text };
  return {
    level: "warning",
    topic: "storage",
    text: `${text}; when all is used it refuses writes, releases among them`,
    remedy: "give it more memory (-m)",
  };
}
