/**
 * Screens of the command line for the docs, drawn by the program's own code from made-up answers of servers, so that
 * they change with it.
 */
import { reportText } from "../dist/cli/key-report.js";
import { judge } from "../dist/cli/verdict.js";
import { verdictText } from "../dist/cli/verdict-text.js";
import { accessQuestions } from "../dist/adapters/redis/access.js";
import { examination } from "../dist/adapters/redis/examination.js";
import { resolveOptions } from "../dist/options.js";
import { memory } from "../dist/adapters/memory.js";

const TOKEN = 1796000000000000n;
const fence = (text) => `\`\`\`\n${text}\n\`\`\``;

/** A Redis that says this of itself. */
function redis({ role = "master", policy = "noeviction" }) {
  const info = [
    "redis_version:7.0.15",
    `role:${role}`,
    "master_host:b.example",
    "master_port:6379",
    `maxmemory:${policy === "noeviction" ? 0 : 10_485_760}`,
    `maxmemory_policy:${policy}`,
    "aof_enabled:0",
  ].join("\n");
  const stored = { prefix: "ql", keyPrefix: "" };
  // As a user with the least rights: what every lock needs, and no more.
  const rights = accessQuestions(stored)
    .map((question) => (/^(flushall|config set|del quorum-lock-somebody)/.test(question) ? "0" : "1"))
    .join("");
  return examination({
    info,
    serverMs: 0,
    mark: "ql1",
    stored,
    user: "locks",
    rights,
    appendfsync: "no",
    durable: false,
  });
}

function examined(backend, { offsetMs = 1, of = {}, status }) {
  const identity = { serverId: backend, incarnation: backend };
  return {
    backend,
    kind: "redis",
    status: { kind: "reply", reply: status ?? { kind: "in-service", identity } },
    latencyMs: 0.4,
    examination: { kind: "reply", reply: redis(of) },
    clock: { offsetMs, uncertaintyMs: 1 },
    sameServerAs: [],
  };
}

/** `quorum-lock check` on three servers, of which two have a problem. */
export function checkScreen() {
  const { deployment } = resolveOptions({ backends: [memory(), memory(), memory()] });
  const trial = { kept: 63, broken: [] };
  return fence(
    verdictText(
      judge(
        [
          examined("a.example:6379", {}),
          examined("b.example:6379", { of: { policy: "allkeys-lru" } }),
          examined("c.example:6379", { offsetMs: -3_004 }),
        ],
        deployment,
        new Map([["a.example:6379", trial]]),
      ),
    ),
  );
}

function view(backend, more) {
  return { backend, kind: "free", counter: TOKEN, quarantinedMs: undefined, ...more };
}

const locked = (role, ownerHash, remainingMs) => ({
  kind: "locked",
  ownerHash,
  fence: TOKEN,
  remainingMs,
  role,
});

function inspectScreen(report) {
  const whole = {
    key: "nightly",
    token: undefined,
    counter: TOKEN,
    quorum: 2,
    ownerHash: "2ddcd1f0",
    ...report,
  };
  return reportText(whole);
}

/** `quorum-lock inspect` of one key in four states. */
export function inspectScreens() {
  const left = 24_600;
  return fence(
    [
      inspectScreen({
        state: "held",
        token: TOKEN,
        remainingMs: left,
        views: [
          view("a", locked("holder", "2ddcd1f0", left)),
          view("b", locked("holder", "2ddcd1f0", left)),
          view("c", locked("ghost", "97e01c55", 8_100)),
        ],
      }),
      inspectScreen({
        state: "orphan",
        remainingMs: left,
        views: [view("a", locked("orphan", "2ddcd1f0", left)), view("b", {}), view("c", {})],
      }),
      inspectScreen({
        state: "unknown",
        views: [
          view("a", locked("possible-holder", "2ddcd1f0", left)),
          view("b", {}),
          view("c", { quarantinedMs: 41_000 }),
        ],
      }),
      inspectScreen({ state: "free", views: [view("a", {}), view("b", {}), view("c", {})] }),
    ].join("\n\n"),
  );
}
