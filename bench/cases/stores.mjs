/** Acquire and release on one server of every other kind, beside the same store without a lock library. */
import { compileHarness } from "../../scripts/compile-harness.mjs";
import { resolveServer } from "../../scripts/servers.mjs";
import { createLocker } from "../../dist/index.js";
import { inTurns, measure, median, ratio } from "../measure.mjs";
import { rawSubject, STORES } from "../other-stores.mjs";

const RAW = "raw";
const OURS = "quorum-lock";

/** @param {import("../plan.mjs").Plan} plan */
export async function stores(plan) {
  const { startServer } = await import(new URL("start-server.js", compileHarness("test/servers")).href);
  const rows = [];
  const missing = [];
  for (const store of STORES) {
    const found = store.server && (await resolveServer(store.server));
    if (found?.missing !== undefined) {
      missing.push(`${store.name} was not measured: ${found.missing}`);
      continue;
    }
    const server = store.server && (await startServer(store.server));
    try {
      rows.push(...(await beside(store, server, plan)));
    } finally {
      await server?.stop();
    }
    plan.tell(`${store.name}: done`);
  }
  return { rows, missing };
}

async function beside(store, server, plan) {
  const opened = await store.open(server);
  const locker = createLocker({ backends: [opened.backend], ttlMs: 10_000, waitMs: 0 });
  try {
    await (await locker.acquire("warm-up", { waitMs: 10_000 })).release();
    const subjects = {
      [RAW]: rawSubject(opened),
      [OURS]: {
        async acquire(key) {
          const lease = await locker.acquire(key);
          return () => lease.release();
        },
      },
    };
    const rows = [];
    for (const concurrency of plan.storeConcurrencies) {
      const runs = await inTurns([RAW, OURS], plan.storeRounds, (name, round) =>
        measure(subjects[name], {
          ms: plan.storeMs,
          concurrency,
          prefix: `${name}:${concurrency}:${round}`,
        }),
      );
      const own = runs[OURS];
      const raw = runs[RAW];
      rows.push({
        store: store.name,
        version: server?.version,
        raw: store.raw,
        concurrency,
        rawP50: median(raw.map((run) => run.p50)),
        p50: median(own.map((run) => run.p50)),
        p50Ratio: ratio(own, raw, "p50"),
        rawPerSecond: median(raw.map((run) => run.perSecond)),
        perSecond: median(own.map((run) => run.perSecond)),
        throughputRatio: ratio(own, raw, "perSecond"),
        cpuRatio: ratio(own, raw, "cpu"),
      });
    }
    return rows;
  } finally {
    await locker.close();
    await opened.close();
  }
}
