/** Several processes on one key over three servers: who gets it, after how long, and what a hand-over costs. */
import { fork } from "node:child_process";
import { inTurns, median, quantile } from "../measure.mjs";
import { request } from "../processes.mjs";
import { startServers } from "../servers.mjs";
import { createSubject, SUBJECTS } from "../subjects.mjs";

const PEERS = SUBJECTS.filter((name) => name !== "bare fan-out");
const THINK_MS = 50;

/** @param {import("../plan.mjs").Plan} plan @param {Awaited<ReturnType<import("../servers.mjs").startServers>>} servers */
export async function contention(plan, servers) {
  const trio = servers.list.slice(0, 3);
  const rows = [];
  for (const { contenders, holdMs } of plan.contentions) {
    // The processes are new every time, and warm up by themselves.
    const runs = await inTurns(PEERS, plan.contentionRounds, async (name, round) =>
      round === 0 ? undefined : contend(plan, { name, contenders, holdMs, trio }),
    );
    for (const name of PEERS) {
      const of = (field) => median(runs[name].map((run) => run[field]));
      rows.push({
        contenders,
        holdMs,
        name,
        holdsPerSecond: of("holdsPerSecond"),
        betweenHoldsMs: of("betweenHoldsMs"),
        waitP50: of("waitP50"),
        waitP99: of("waitP99"),
        unfairness: of("unfairness"),
        handOverP50: of("handOverP50"),
        handOverP99: of("handOverP99"),
        commands: of("commands"),
        cpuMs: of("cpuMs"),
        starved: of("starved"),
      });
    }
    plan.tell(`${contenders} processes on one key, holds of ${holdMs} ms: done`);
  }
  return rows;
}

/** What may be wrong with the third of three servers, so that both others must agree on every hold. */
const ABSENT = {
  "all vote": async () => undefined,
  "one down": (third) => third.kill(),
  "one hangs": async (third) => third.freeze(),
  "one in quarantine": async (third) => {
    await third.kill();
    await third.revive();
  },
};

/** This library alone, beside itself with three that vote. On servers of its own: what was killed does not vote for a minute. */
export async function outvoted(plan) {
  const hows = Object.keys(ABSENT);
  const rows = [];
  for (const { contenders, holdMs } of plan.outvoted) {
    const runs = await inTurns(hows, plan.outvotedRounds, async (how, round) =>
      round === 0 ? undefined : outvote(how, plan, { contenders, holdMs }),
    );
    for (const how of hows) {
      const of = (field) => median(runs[how].map((run) => run[field]));
      const fields = ["holdsPerSecond", "waitP50", "unfairness", "handOverP50", "handOverP99", "commands"];
      const figures = Object.fromEntries(fields.map((field) => [field, of(field)]));
      rows.push({ contenders, holdMs, how, ...figures });
    }
    plan.tell(`${contenders} processes on one key while one of three does not vote: done`);
  }
  return rows;
}

async function outvote(how, plan, what) {
  const servers = await startServers(3);
  const [, , third] = servers.list;
  const ports = servers.list.map(({ port }) => port);
  // A new deployment starts when all three answer.
  const first = await createSubject("quorum-lock", ports, { waitMs: 5_000 });
  try {
    await ABSENT[how](third);
    const silent = { ...third, commands: async () => 0 };
    const trio = [...servers.list.slice(0, 2), how === "all vote" ? third : silent];
    return await contend(plan, { ...what, name: "quorum-lock", trio });
  } finally {
    third.thaw();
    await first.close();
    await servers.stop();
  }
}

async function contend(plan, { name, contenders, holdMs, trio }) {
  const { contentionSeconds: seconds, contentionWarmCycles: warmCycles } = plan;
  const ports = trio.map(({ port }) => port);
  const children = Array.from({ length: contenders }, () =>
    fork(new URL("../contender.mjs", import.meta.url)),
  );
  try {
    await Promise.all(
      children.map((child) =>
        request(child, { name, ports, holdMs, thinkMs: THINK_MS, seconds, warmCycles }),
      ),
    );
    const before = await commands(trio);
    const results = await Promise.all(children.map((child) => request(child, "go")));
    const after = await commands(trio);
    return summary(results, { seconds, commands: (after - before) / trio.length });
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}

function summary(results, { seconds, commands: sent }) {
  const holds = results.flatMap(({ holds: own }) => own).sort((a, b) => a[1] - b[1]);
  const waits = holds.map(([asked, got]) => got - asked).sort((a, b) => a - b);
  // From when the key is given back, or is asked for, whichever is later, until the next one has it.
  const handOvers = holds
    .slice(1)
    .map(([asked, got], i) => got - Math.max(holds[i][2], asked))
    .sort((a, b) => a - b);
  // Everybody who still waits at the end gets the key once more: those holds are no part of the time that is counted.
  const end = Math.min(...results.map(({ until }) => until));
  const timely = holds.filter(([, got]) => got < end);
  const between = timely.slice(1).map(([, got], i) => got - timely[i][2]);
  const cpu = results.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  return {
    holdsPerSecond: timely.length / seconds,
    betweenHoldsMs: between.reduce((sum, ms) => sum + ms, 0) / between.length,
    waitP50: quantile(waits, 0.5),
    waitP99: quantile(waits, 0.99),
    unfairness: (waits.at(-1) ?? Number.NaN) / quantile(waits, 0.5),
    handOverP50: quantile(handOvers, 0.5),
    handOverP99: quantile(handOvers, 0.99),
    commands: sent / holds.length,
    cpuMs: cpu / holds.length,
    starved: results.filter(({ holds: own }) => own.length === 0).length,
  };
}

async function commands(trio) {
  const counts = await Promise.all(trio.map((server) => server.commands()));
  return counts.reduce((a, b) => a + b, 0);
}
