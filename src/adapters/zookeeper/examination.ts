/** What a ZooKeeper server says of itself, and what that means for a lock. */
import { connect } from "node:net";
import type { Examination, Finding } from "../../backend.js";
import type { ClockReading } from "../../engine/record.js";

/** What was read over the session. */
export interface Observed {
  readonly peer: { readonly host: string; readonly port: number } | undefined;
  readonly now: ClockReading;
  /** The access list of the mark. */
  readonly acl: readonly unknown[];
}

const ASK_TIMEOUT_MS = 500;
const VERSION_MIN = [3, 5] as const;
const WORLD = "world";

/** Asks the server by its word `srvr`, which is allowed by default. */
export async function examine({ peer, now, acl }: Observed): Promise<Examination> {
  const said = peer === undefined ? "" : await srvr(peer);
  const version = /^Zookeeper version: (\d+\.\d+\.\d+)/m.exec(said)?.[1];
  const mode = /^Mode: (\S+)/m.exec(said)?.[1];
  return {
    server: version === undefined ? "ZooKeeper" : `ZooKeeper ${version}`,
    wallMs: now.atLeastMs,
    findings: [
      versionOf(version),
      ...(mode === undefined ? [] : [roleOf(mode)]),
      {
        level: "good",
        topic: "durability",
        text: "keeps what it acknowledged: its log is synced to disk, unless zookeeper.forceSync is no, which it does not show",
      },
      accessOf(acl),
      { level: "good", topic: "clock", text: "locks end by the wall clock of the server that leads" },
    ],
  };
}

function versionOf(version: string | undefined): Finding {
  const topic = "version";
  if (version === undefined) {
    return {
      level: "warning",
      topic,
      text: "its version could not be read",
      remedy: "allow the word srvr in 4lw.commands.whitelist, if you want to see it",
    };
  }
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [majorMin, minorMin] = VERSION_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) {
    return { level: "good", topic, text: `ZooKeeper ${version}` };
  }
  return {
    level: "warning",
    topic,
    text: `ZooKeeper ${version} is older than what was tested`,
    remedy: `use ${VERSION_MIN.join(".")} or later`,
  };
}

function roleOf(mode: string): Finding {
  if (mode !== "read-only") return { level: "good", topic: "role", text: mode };
  return {
    level: "problem",
    topic: "role",
    text: "read-only: it has lost its ensemble",
    remedy: "start a majority of its servers",
  };
}

function accessOf(acl: readonly unknown[]): Finding {
  const open = acl.some((each) => Reflect.get(Object(Reflect.get(Object(each), "id")), "scheme") === WORLD);
  if (!open) return { level: "good", topic: "access", text: "its znodes are not open to everybody" };
  return {
    level: "warning",
    topic: "access",
    text: "its znodes are open to everybody: whoever reaches the server may delete locks and the mark",
    remedy: "give the client credentials, and the backend the option acl",
  };
}

/** What the server answers; "" where it says nothing in time. */
function srvr(peer: { readonly host: string; readonly port: number }): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const socket = connect(peer);
    const timer = setTimeout(() => socket.destroy(), ASK_TIMEOUT_MS);
    socket.on("connect", () => socket.write("srvr"));
    socket.on("data", (bytes) => {
      said += bytes.toString("utf8");
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(said);
    });
  });
}
