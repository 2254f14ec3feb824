/** What PostgreSQL says of itself, and what it means for a lock. */
import type { Examination, Finding } from "../../backend.js";
import type { Row } from "./connection.js";
import { addLine } from "./statements.js";

const VERSION_MIN = 12;

/** `row`: the answer to the statement `examine`. */
export function examination(row: Row, table: string): Examination {
  const [version, nowMs, standby, readOnly, fsync, fullPageWrites, syncCommit, persistence, allowed, lined] =
    row;
  const server = `PostgreSQL ${version ?? "?"}`;
  return {
    server,
    wallMs: Number(nowMs),
    findings: [
      age(server, version ?? ""),
      role(standby === "1", readOnly === "on"),
      disk(fsync ?? "", fullPageWrites ?? ""),
      commit(syncCommit ?? ""),
      storage(persistence ?? undefined, table),
      access(allowed ?? undefined, table),
      ...(lined === "0" ? [noLine(table)] : []),
    ],
  };
}

function age(server: string, version: string): Finding {
  if (Number.parseInt(version, 10) >= VERSION_MIN) return { level: "good", topic: "version", text: server };
  return {
    level: "problem",
    topic: "version",
    text: `${server} is too old`,
    remedy: `PostgreSQL ${VERSION_MIN} is needed`,
  };
}

function role(standby: boolean, readOnly: boolean): Finding {
  const topic = "role";
  if (standby) {
    return {
      level: "problem",
      topic,
      text: "standby, which refuses writes and has no vote of its own",
      remedy: "name a primary instead; a standby adds nothing to a quorum",
    };
  }
  if (readOnly) {
    return {
      level: "problem",
      topic,
      text: "transactions are read-only (default_transaction_read_only)",
      remedy: "set it to off for the user of the lock",
    };
  }
  return { level: "good", topic, text: "primary" };
}

function disk(fsync: string, fullPageWrites: string): Finding {
  const topic = "durability";
  if (fsync !== "on") {
    return {
      level: "problem",
      topic,
      text: "fsync is off: a crash of the machine loses locks, and nobody notices",
      remedy: "set fsync = on",
    };
  }
  if (fullPageWrites !== "on") {
    return {
      level: "warning",
      topic,
      text: "full_page_writes is off: a crash of the machine may break pages, unless the file system never tears them",
      remedy: "set full_page_writes = on",
    };
  }
  return { level: "good", topic, text: "durable: fsync and full_page_writes are on" };
}

function commit(syncCommit: string): Finding {
  const topic = "durability";
  if (syncCommit === "off" || syncCommit === "local") {
    const text = `synchronous_commit is ${syncCommit}; the lock's own connections set it to on`;
    return { level: "good", topic, text };
  }
  return { level: "good", topic, text: `synchronous_commit is ${syncCommit}` };
}

function storage(persistence: string | undefined, table: string): Finding {
  const topic = "storage";
  switch (persistence) {
    case undefined:
      return { level: "good", topic, text: `the table ${table} will be made at the first use` };
    case "p":
      return { level: "good", topic, text: `the table ${table} is logged` };
    default:
      return {
        level: "warning",
        topic,
        text: `the table ${table} is unlogged: a crash empties it, and the backend is quarantined afterwards`,
        remedy: `ALTER TABLE ${table} SET LOGGED`,
      };
  }
}

function access(allowed: string | undefined, table: string): Finding {
  const topic = "access";
  if (allowed !== "0") return { level: "good", topic, text: "its user may do what the lock needs" };
  return {
    level: "problem",
    topic,
    text: `its user may not do all that the lock needs on the table ${table}`,
    remedy: `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} to it`,
  };
}

function noLine(table: string): Finding {
  return {
    level: "warning",
    topic: "storage",
    text: `the table ${table} has no column for those who wait, so that they are not called and ask now and then`,
    remedy: `${addLine(table)}, and start clients anew`,
  };
}
