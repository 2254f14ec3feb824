/** What a database file is, and what that means for a lock. */
import { dirname } from "node:path";
import type { Examination, Finding } from "../../backend.js";
import type { Synchronous, Table } from "./file.js";
import type { Host } from "./host.js";

/** What is known beside the file. */
export interface Examined {
  readonly path: string;
  readonly host: Host;
  readonly synchronous: Synchronous;
}

/** Kinds of file systems that may be shared with other hosts or machines, and may not. */
const PERHAPS_SHARED: ReadonlyMap<number, string> = new Map([
  [0x65_73_55_46, "FUSE"],
  [0x01_02_19_97, "9P"],
]);

/** Asks the open file. */
export function examination(on: Table, examined: Examined): Examination {
  const [found] = on
    .prepare("SELECT sqlite_version() AS version, journal_mode FROM pragma_journal_mode WHERE ? = ?")
    .all(1, 1) as { version?: string; journal_mode?: string }[];
  const server = `SQLite ${found?.version ?? "?"}`;
  return {
    server,
    wallMs: examined.host.wallMs(),
    findings: [
      { level: "good", topic: "version", text: server },
      ...storage(examined),
      durability(examined, found?.journal_mode ?? "?"),
      clock(examined),
    ],
  };
}

function storage({ path, host }: Examined): readonly Finding[] {
  const topic = "storage";
  const one: Finding = {
    level: "warning",
    topic,
    text: "a file of this host: a lock between its processes only, and gone with its disk",
    remedy: "for a lock between hosts use independent servers",
  };
  const kind = PERHAPS_SHARED.get(host.fileSystem(dirname(path)) ?? 0);
  if (kind === undefined) return [one];
  return [
    one,
    {
      level: "warning",
      topic,
      text: `the file lies on ${kind}, which another host may share: their clocks and locks would not fit`,
      remedy: "put it on a disk of the host",
    },
  ];
}

function durability({ synchronous }: Examined, journal: string): Finding {
  const topic = "durability";
  const mode = `journal_mode ${journal}, synchronous ${synchronous}`;
  if (synchronous === "full")
    return { level: "good", topic, text: `${mode}: keeps what it granted over a power cut` };
  return {
    level: "good",
    topic,
    text: `${mode}: keeps what it granted over a crash of processes; a power cut may lose the last counters, which the wall clock then replaces`,
  };
}

function clock({ host }: Examined): Finding {
  const topic = "clock";
  if (host.expiryClock === "monotonic")
    return { level: "good", topic, text: "locks end by the monotonic clock" };
  return {
    level: "warning",
    topic,
    text: "locks end by the wall clock, since this system shows no clock that its processes share",
    remedy: "do not set the clock while locks are held",
  };
}
