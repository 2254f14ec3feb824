/** Acquire and release of free keys: so many at once, over so many servers. Every library has a process of its own. */
import { fork } from "node:child_process";
import { inTurns, median, ratio } from "../measure.mjs";
import { request } from "../processes.mjs";
import { SUBJECTS } from "../subjects.mjs";

/** @param {import("../plan.mjs").Plan} plan @param {Awaited<ReturnType<import("../servers.mjs").startServers>>} servers */
export async function uncontended(plan, servers) {
  const children = Object.fromEntries(
    SUBJECTS.map((name) => [name, fork(new URL("../subject-process.mjs", import.meta.url))]),
  );
  try {
    const rows = [];
    for (const n of plan.sizes) {
      const ports = servers.list.slice(0, n).map(({ port }) => port);
      for (const name of SUBJECTS) await ask(children[name], "open", { name, ports });
      // The code is the same for all sizes.
      if (n === plan.sizes[0]) await warmUp(children, plan);
      for (const concurrency of plan.concurrencies) {
        rows.push(...(await measured(children, plan, { n, concurrency })));
        plan.tell(`uncontended, N = ${n}, ${concurrency} at once: done`);
      }
    }
    return rows;
  } finally {
    for (const child of Object.values(children)) child.kill("SIGKILL");
  }
}

async function measured(children, plan, { n, concurrency }) {
  const cycles = plan.cyclesAt(concurrency);
  const runs = await inTurns(SUBJECTS, plan.rounds, (name, round) =>
    ask(children[name], "measure", { cycles, concurrency, prefix: `${name}:${n}:${concurrency}:${round}` }),
  );
  return SUBJECTS.map((name) => {
    const own = runs[name];
    return {
      n,
      concurrency,
      name,
      p50: median(own.map((run) => run.p50)),
      p99: median(own.map((run) => run.p99)),
      perSecond: median(own.map((run) => run.perSecond)),
      cpu: median(own.map((run) => run.cpu)),
      p50Ratio: ratio(own, runs["bare fan-out"], "p50"),
      throughputRatio: ratio(own, runs["bare fan-out"], "perSecond"),
      cpuRatio: ratio(own, runs["bare fan-out"], "cpu"),
      times: own.flatMap(({ times }) => times),
    };
  });
}

async function warmUp(children, { concurrencies, warmCycles: cycles }) {
  for (const concurrency of concurrencies) {
    for (const name of SUBJECTS) {
      await ask(children[name], "measure", { cycles, concurrency, prefix: `${name}:warm:${concurrency}` });
    }
  }
}

async function ask(child, call, argument) {
  const { result, error } = await request(child, { call, argument });
  if (error !== undefined) throw new Error(error);
  return result;
}
