/** Acquire and release of free keys: so many at once, over so many servers. */
import { inTurns, measure, median, ratio } from "../measure.mjs";
import { createSubject, SUBJECTS } from "../subjects.mjs";

/** @param {import("../plan.mjs").Plan} plan @param {Awaited<ReturnType<import("../servers.mjs").startServers>>} servers */
export async function uncontended(plan, servers) {
  const rows = [];
  for (const n of plan.sizes) {
    const ports = servers.list.slice(0, n).map(({ port }) => port);
    const subjects = Object.fromEntries(
      await Promise.all(SUBJECTS.map(async (name) => [name, await createSubject(name, ports)])),
    );
    // The code is the same for all sizes.
    if (n === plan.sizes[0]) await warmUp(Object.values(subjects), plan);
    for (const concurrency of plan.concurrencies) {
      const cycles = plan.cyclesAt(concurrency);
      const runs = await inTurns(SUBJECTS, plan.rounds, (name, round) =>
        measure(subjects[name], { cycles, concurrency, prefix: `${name}:${n}:${concurrency}:${round}` }),
      );
      for (const name of SUBJECTS) {
        const own = runs[name];
        rows.push({
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
        });
      }
      plan.tell(`uncontended, N = ${n}, ${concurrency} at once: done`);
    }
    for (const subject of Object.values(subjects)) await subject.close();
  }
  return rows;
}

async function warmUp(subjects, { concurrencies, warmCycles: cycles }) {
  for (const concurrency of concurrencies) {
    for (const subject of subjects) {
      await measure(subject, { cycles, concurrency, prefix: `${subject.name}:warm:${concurrency}` });
    }
  }
}
