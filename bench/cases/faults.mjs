/** One of three servers slow, hung or dead: the median against the same library with all three healthy, in turns. */
import { fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { inTurns, measure, median, quantile } from "../measure.mjs";
import { createSubject, SUBJECTS } from "../subjects.mjs";

const SLOW_MS = 2.5;
/** What a peer is given as the bound of a command; without one, some of them wait for ever. */
const COMMAND_TIMEOUT_MS = 500;
const PEERS = SUBJECTS.filter((name) => name !== "bare fan-out");

/** What is done to the third server before the measurement, and undone after it. */
const FAULTS = {
  "slow by 5 ms": { slow: true, begin: async () => {}, end: async () => {} },
  hung: { begin: (server) => server.freeze(), end: (server) => server.thaw() },
  dead: { begin: (server) => server.kill(), end: (server) => server.revive() },
};

/** @param {import("../plan.mjs").Plan} plan @param {Awaited<ReturnType<import("../servers.mjs").startServers>>} servers */
export async function faults(plan, servers) {
  const [first, second, third] = servers.list;
  const proxy = await startProxy(third.port);
  const rows = [];
  try {
    for (const [fault, { slow = false, begin, end }] of Object.entries(FAULTS)) {
      const ports = [first.port, second.port, slow ? proxy.port : third.port];
      const healthyPorts = [first.port, second.port, third.port];
      const runs = await inTurns(PEERS, plan.faultRounds, async (name, round) => {
        const healthy = await oneAtATime(name, healthyPorts, `${fault}:h:${round}`, plan);
        const subject = await createSubject(name, ports, { commandTimeoutMs: COMMAND_TIMEOUT_MS });
        try {
          await begin(third);
          const faulty = await cycles(subject, `${fault}:f:${round}`, plan.faultCycles);
          return { ratio: faulty.p50 / healthy.p50, p50: faulty.p50, p99: faulty.p99, failed: faulty.failed };
        } finally {
          await end(third);
          await subject.close();
        }
      });
      for (const name of PEERS) {
        const of = (field) => median(runs[name].map((run) => run[field]));
        rows.push({ fault, name, p50: of("p50"), p99: of("p99"), ratio: of("ratio"), failed: of("failed") });
      }
      plan.tell(`one of three ${fault}: done`);
    }
  } finally {
    proxy.stop();
  }
  return rows;
}

async function oneAtATime(name, ports, prefix, plan) {
  const subject = await createSubject(name, ports);
  const run = await measure(subject, { cycles: plan.faultCycles, concurrency: 1, prefix });
  await subject.close();
  return run;
}

/** One at a time within a bound: a library that waits for a hung server may need seconds for each. */
async function cycles(subject, prefix, count) {
  const until = performance.now() + 8_000;
  const times = [];
  let failed = 0;
  for (let i = 0; i < count && performance.now() < until; i++) {
    const at = performance.now();
    try {
      const release = await bounded(subject.acquire(`${prefix}:${i}`));
      await bounded(release());
    } catch {
      failed++;
    }
    times.push((performance.now() - at) * 1000);
  }
  times.sort((a, b) => a - b);
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), failed: failed / times.length };
}

async function bounded(promise) {
  const outcome = await Promise.race([promise, sleep(6_000, "too late")]);
  if (outcome === "too late") throw new Error(outcome);
  return outcome;
}

function startProxy(port) {
  const child = fork(new URL("../slow-proxy.mjs", import.meta.url), [String(port), String(SLOW_MS)]);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("message", (message) => resolve({ port: message.port, stop: () => child.kill() }));
  });
}
