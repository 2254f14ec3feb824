/** What MySQL or MariaDB says of itself, and what it means for a lock. */
import type { Examination, Finding } from "../../backend.js";

/** `row`: the answer to the statement `examine`. */
export function examination(row: readonly (string | undefined)[], table: string): Examination {
  const [version = "?", nowMs, readOnly, flush, syncBinlog, logBin, engine] = row;
  const maria = /mariadb/i.test(version);
  const server = `${maria ? "MariaDB" : "MySQL"} ${version.replace(/-.*$/, "")}`;
  return {
    server,
    wallMs: Number(nowMs),
    findings: [
      age(server, maria, version),
      role(readOnly),
      disk(flush),
      ...binlog(logBin, syncBinlog),
      storage(engine, table),
    ],
  };
}

function age(server: string, maria: boolean, version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const enough = maria ? major > 10 || (major === 10 && minor >= 5) : major >= 8;
  if (enough) return { level: "good", topic: "version", text: server };
  return {
    level: "problem",
    topic: "version",
    text: `${server} is too old`,
    remedy: "MariaDB 10.5 or MySQL 8.0 is needed",
  };
}

function role(readOnly: string | undefined): Finding {
  // "0" and "OFF", by the version.
  if (readOnly === undefined || /^(0|OFF)$/i.test(readOnly)) {
    return { level: "good", topic: "role", text: "takes writes" };
  }
  return {
    level: "problem",
    topic: "role",
    text: "read_only is on, as on a replica, which has no vote of its own",
    remedy: "name a primary instead; a replica adds nothing to a quorum",
  };
}

function disk(flush: string | undefined): Finding {
  const topic = "durability";
  if (flush === "1" || flush === "3") {
    return { level: "good", topic, text: `durable: innodb_flush_log_at_trx_commit is ${flush}` };
  }
  return {
    level: "problem",
    topic,
    text: `innodb_flush_log_at_trx_commit is ${flush ?? "unknown"}: a crash ${flush === "2" ? "of the machine " : ""}loses about a second of locks, and nobody notices`,
    remedy: "set innodb_flush_log_at_trx_commit = 1",
  };
}

function binlog(logBin: string | undefined, syncBinlog: string | undefined): readonly Finding[] {
  if (logBin === undefined || /^(0|OFF)$/i.test(logBin) || syncBinlog === "1") return [];
  const text = `sync_binlog is ${syncBinlog ?? "unknown"}: a replica may lack what this server had acknowledged before a crash`;
  return [{ level: "warning", topic: "durability", text, remedy: "set sync_binlog = 1" }];
}

function storage(engine: string | undefined, table: string): Finding {
  const topic = "storage";
  if (engine === undefined) {
    return { level: "good", topic, text: `the table ${table} will be made at the first use` };
  }
  if (/^innodb$/i.test(engine)) return { level: "good", topic, text: `the table ${table} is InnoDB` };
  return {
    level: "problem",
    topic,
    text: `the table ${table} is ${engine}, which keeps no promise over a crash`,
    remedy: `ALTER TABLE ${table} ENGINE = InnoDB`,
  };
}
