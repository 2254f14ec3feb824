/** What a MongoDB server says of itself, and what that means for a lock. */
import type { Examination, Finding } from "../../backend.js";
import { BackendError } from "../../errors.js";

type Fields = Readonly<Record<string, unknown>>;
/** Runs a command on a database. */
type Ask = (database: string, command: object) => Promise<Fields>;

const MAJOR_MIN = 6;

/** Asks for what may be asked; what the user may not see is said, not failed for. */
export async function examine(ask: Ask): Promise<Examination> {
  const hello = await ask("admin", { hello: 1 });
  const [build, status, connection] = await Promise.all([
    ask("admin", { buildInfo: 1 }).catch(deniedOnly),
    ask("admin", { serverStatus: 1 }).catch(deniedOnly),
    ask("admin", { connectionStatus: 1 }).catch(deniedOnly),
  ]);
  const version = build?.["version"];
  const localTime = hello["localTime"];
  return {
    server: typeof version === "string" ? `MongoDB ${version}` : "MongoDB",
    wallMs: localTime instanceof Date ? localTime.getTime() : undefined,
    findings: [
      versionOf(version),
      roleOf(hello),
      durabilityOf(status),
      ...accessOf(connection),
      { level: "good", topic: "clock", text: "locks end by the wall clock of the primary" },
    ],
  };
}

function deniedOnly(error: unknown): undefined {
  if (error instanceof BackendError && ["BACKEND_NO_PERMISSION", "BACKEND_REFUSED"].includes(error.code)) {
    return undefined;
  }
  throw error;
}

function versionOf(version: unknown): Finding {
  const topic = "version";
  if (typeof version !== "string") return { level: "warning", topic, text: "its version could not be read" };
  if (Number.parseInt(version, 10) >= MAJOR_MIN) return { level: "good", topic, text: `MongoDB ${version}` };
  return {
    level: "problem",
    topic,
    text: `MongoDB ${version} is too old`,
    remedy: `MongoDB ${MAJOR_MIN} is needed`,
  };
}

function roleOf(hello: Fields): Finding {
  const topic = "role";
  const set = hello["setName"];
  const where = typeof set === "string" ? `the replica set ${set}` : "a server by itself";
  if (hello["isWritablePrimary"] === true && hello["readOnly"] !== true) {
    return { level: "good", topic, text: `primary of ${where}`.replace("primary of a server", "a server") };
  }
  return {
    level: "problem",
    topic,
    text: `a member of ${where} that takes no writes, and has no vote of its own`,
    remedy: "name the replica set in the client's URL, so that it finds the primary",
  };
}

function durabilityOf(status: Fields | undefined): Finding {
  const topic = "durability";
  const engine = status?.["storageEngine"];
  const persistent: unknown = Reflect.get(Object(engine), "persistent");
  if (persistent === true) {
    return {
      level: "good",
      topic,
      text: "keeps what it acknowledged: writes wait for the journal of a majority",
    };
  }
  if (persistent === false) {
    return {
      level: "warning",
      topic,
      text: "keeps nothing on disk: it is quarantined after every restart",
      remedy: "use the storage engine wiredTiger",
    };
  }
  return {
    level: "warning",
    topic,
    text: "its storage engine could not be read",
    remedy: "allow serverStatus (role clusterMonitor), if you want to see it",
  };
}

function accessOf(connection: Fields | undefined): readonly Finding[] {
  const users: unknown = Reflect.get(Object(connection?.["authInfo"]), "authenticatedUsers");
  if (!Array.isArray(users)) return [];
  if (users.length > 0) return [{ level: "good", topic: "access", text: "the client has logged in" }];
  return [
    {
      level: "warning",
      topic: "access",
      text: "the client has not logged in: whoever reaches it may delete locks and the mark",
      remedy: "switch authorization on, and give the lock a user with readWrite on its database",
    },
  ];
}
