/** What a Consul agent says of itself, and what that means for a lock. */
import type { Examination, Finding } from "../../backend.js";
import { BackendError } from "../../errors.js";
import type { Agent } from "./agent.js";

const VERSION_MIN = [1, 8] as const;

/** Asks for what may be asked; what the token may not see is said, not failed for. */
export async function examine(agent: Agent): Promise<Examination> {
  const { body: leader, now } = await agent.read("/v1/status/leader");
  const self = await agent
    .read("/v1/agent/self")
    .then(({ body }) => body)
    .catch(deniedOnly);
  const peers = await agent
    .read("/v1/status/peers")
    .then(({ body }) => body)
    .catch(deniedOnly);
  const config = field(self, "Config");
  const debug = field(self, "DebugConfig");
  const version = field(config, "Version");
  return {
    server: typeof version === "string" ? `Consul ${version}` : "Consul",
    wallMs: now.atLeastMs,
    findings: [
      versionOf(version),
      roleOf(leader, peers),
      durabilityOf(field(debug, "DevMode"), self !== undefined),
      ...accessOf(field(debug, "ACLsEnabled")),
      { level: "good", topic: "clock", text: "shows whole seconds: a lock ends up to two seconds late" },
    ],
  };
}

function deniedOnly(error: unknown): undefined {
  if (error instanceof BackendError && error.code === "BACKEND_NO_PERMISSION") return undefined;
  throw error;
}

function field(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;
}

function versionOf(version: unknown): Finding {
  const topic = "version";
  if (typeof version !== "string") {
    return {
      level: "warning",
      topic,
      text: "its version could not be read",
      remedy: 'allow `agent_prefix "" { policy = "read" }` to the token, if you want to see it',
    };
  }
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [majorMin, minorMin] = VERSION_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) {
    return { level: "good", topic, text: `Consul ${version}` };
  }
  return {
    level: "warning",
    topic,
    text: `Consul ${version} is older than what was tested`,
    remedy: `use ${VERSION_MIN.join(".")} or later`,
  };
}

function roleOf(leader: unknown, peers: unknown): Finding {
  const topic = "role";
  if (typeof leader !== "string" || leader === "") {
    return {
      level: "problem",
      topic,
      text: "its cluster has no leader, and refuses everything",
      remedy: "start a majority of its servers",
    };
  }
  const count = Array.isArray(peers) ? peers.length : undefined;
  const servers = count === undefined ? "" : ` of ${count} ${count === 1 ? "server" : "servers"}`;
  return { level: "good", topic, text: `a cluster${servers} with the leader ${leader}` };
}

function durabilityOf(devMode: unknown, known: boolean): Finding {
  const topic = "durability";
  if (devMode === true) {
    return {
      level: "warning",
      topic,
      text: "runs in -dev mode, which keeps nothing on disk: it is quarantined after every restart",
      remedy: "run it with a data directory",
    };
  }
  return known
    ? { level: "good", topic, text: "keeps what it acknowledged: its log is synced to disk" }
    : {
        level: "warning",
        topic,
        text: "whether it runs in -dev mode could not be read",
        remedy: "make sure that it has a data directory",
      };
}

function accessOf(aclsEnabled: unknown): readonly Finding[] {
  if (aclsEnabled === undefined) return [];
  if (aclsEnabled === true) return [{ level: "good", topic: "access", text: "its access rules are on" }];
  return [
    {
      level: "warning",
      topic: "access",
      text: "its access rules are off: whoever reaches it may delete locks and the mark",
      remedy: "switch ACLs on, and give the lock a token for its prefix",
    },
  ];
}
