/** One contender of the contention case: a process that takes one key again and again. Told what to do by its parent. */
import { setTimeout as sleep } from "node:timers/promises";
import { measure } from "./measure.mjs";
import { createSubject } from "./subjects.mjs";

process.once("message", async ({ name, ports, holdMs, thinkMs, seconds, warmCycles }) => {
  const subject = await createSubject(name, ports, { waitMs: 12_000 });
  // Those who contend for long have been compiled.
  await measure(subject, { cycles: warmCycles, concurrency: 4, prefix: `warm-up:${process.pid}` });
  process.send?.("ready");
  process.once("message", async () => {
    const until = performance.now() + seconds * 1000;
    const holds = [];
    let failed = 0;
    const before = process.cpuUsage();
    while (performance.now() < until) {
      await sleep(Math.random() * thinkMs);
      const asked = now();
      try {
        const release = await subject.acquire("contended");
        const got = now();
        if (holdMs > 0) await sleep(holdMs);
        const given = now();
        await release();
        holds.push([asked, got, given]);
      } catch {
        failed++;
      }
    }
    const cpu = process.cpuUsage(before);
    const cpuMs = (cpu.user + cpu.system) / 1000;
    process.send?.({ holds, failed, cpuMs, until: performance.timeOrigin + until }, () => process.exit(0));
  });
});
process.on("disconnect", () => process.exit(0));

/** On one machine all processes read the same clock. */
function now() {
  return performance.timeOrigin + performance.now();
}
