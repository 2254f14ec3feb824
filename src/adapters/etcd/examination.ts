/** What an etcd cluster says of itself, and what it means for a lock. */
import type { Examination, Finding } from "../../backend.js";
import { safeDuplicate, type EtcdLike, type EtcdStatus } from "./client.js";
import type { Call } from "./leases.js";

/** etcd's own default, beyond which it refuses writes. */
const QUOTA_BYTES = 2 * 1024 ** 3;
const MIB = 1024 ** 2;

/** Asks it; changes nothing. */
export async function examine(client: EtcdLike, call: Call): Promise<Examination> {
  const [status, alarms, members] = await Promise.all([
    call((options) => client.maintenance.status(options)),
    call((options) => client.maintenance.alarm({ action: "Get" }, options)),
    call((options) => client.cluster.memberList(options)),
  ]);
  const silent = await silentOf(
    client,
    members.members.flatMap(({ clientURLs }) => clientURLs.slice(0, 1)),
    call,
  );
  return {
    server: `etcd ${status.version}`,
    wallMs: undefined,
    findings: [
      version(status),
      role(status),
      membership(members.members.length, silent),
      ...(alarms.alarms ?? []).map(alarm),
      storage(status),
      {
        level: "good",
        topic: "durability",
        text: "durable: it acknowledges what is on the disks of a majority (unless it runs with --unsafe-no-fsync)",
      },
    ],
  };
}

/** Those members, of several, that do not answer here. */
async function silentOf(client: EtcdLike, urls: readonly string[], call: Call): Promise<readonly string[]> {
  if (urls.length < 2) return [];
  const asked = urls.map(async (url) => {
    const one = safeDuplicate(client, url);
    try {
      await call((options) => one.maintenance.status(options));
      return [];
    } catch {
      return [url];
    } finally {
      one.close();
    }
  });
  return (await Promise.all(asked)).flat();
}

function version({ version: text }: EtcdStatus): Finding {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  if (major > 3 || (major === 3 && minor >= 4)) {
    return { level: "good", topic: "version", text: `etcd ${text}` };
  }
  return {
    level: "problem",
    topic: "version",
    text: `etcd ${text} is too old`,
    remedy: "etcd 3.4 or newer is needed",
  };
}

function role({ leader, header }: EtcdStatus): Finding {
  if (leader !== "0") {
    return {
      level: "good",
      topic: "role",
      text: leader === header.member_id ? "leader of its cluster" : "its cluster has a leader",
    };
  }
  return {
    level: "problem",
    topic: "role",
    text: "its cluster has no leader: it grants nothing",
    remedy: "bring a majority of its members back",
  };
}

function membership(members: number, silent: readonly string[]): Finding {
  if (silent.length > 0) {
    return {
      level: "warning",
      topic: "role",
      text: `${silent.length} of ${members} members did not answer: ${silent.join(", ")}`,
      remedy: "see whether they run, and whether their client URLs can be reached from here",
    };
  }
  return members === 1
    ? { level: "good", topic: "role", text: "one member: down while its machine is" }
    : { level: "good", topic: "role", text: `all ${members} members answer` };
}

function alarm({ alarm: kind, memberID }: { readonly alarm: string; readonly memberID: string }): Finding {
  const text = `alarm ${kind.toUpperCase()} of member ${BigInt(memberID).toString(16)}`;
  return kind.toUpperCase() === "NOSPACE"
    ? {
        level: "problem",
        topic: "storage",
        text: `${text}: it refuses writes, so that nothing is granted or extended`,
        remedy: "compact, defragment, then `etcdctl alarm disarm`; and set --auto-compaction-retention",
      }
    : {
        level: "problem",
        topic: "storage",
        text: `${text}: its data are damaged`,
        remedy: "replace that member",
      };
}

function storage({ dbSize }: EtcdStatus): Finding {
  const size = Number(dbSize);
  const text = `${Math.ceil(size / MIB)} MiB of data`;
  if (size < QUOTA_BYTES * 0.8) return { level: "good", topic: "storage", text };
  return {
    level: "warning",
    topic: "storage",
    text: `${text}; by default it refuses writes from 2048 MiB on`,
    remedy: "set --auto-compaction-retention, defragment, or raise --quota-backend-bytes",
  };
}
