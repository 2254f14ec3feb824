/**
 * `npm run build && node bench/profile.mjs [CONCURRENCY] [SERVERS]`: where the time of this process goes in acquire and release
 * of free keys, by who runs, in µs per cycle. Warm, and without the start of the process. Compare only what was taken one
 * behind the other: a busy machine makes system calls look longer than they are.
 */
import { Session } from "node:inspector/promises";
import { measure } from "./measure.mjs";
import { startServers } from "./servers.mjs";
import { createSubject } from "./subjects.mjs";

const [concurrency = 1, servers = 3] = process.argv.slice(2).map(Number);
const CYCLES = concurrency === 1 ? 10_000 : 40_000;

/**
 * The first that fits.
 * @type {readonly (readonly [string, (frame: { functionName: string, url: string }) => boolean])[]}
 */
const GROUPS = [
  ["writes to sockets", ({ functionName }) => /^write(Utf8|Latin1)String$/.test(functionName)],
  ["reads of the boot clock", ({ functionName, url }) => url === "" && functionName === "read"],
  ["garbage collection", ({ functionName }) => functionName === "(garbage collector)"],
  ["the locker (lock/, engine/)", ({ url }) => /\/dist\/(lock|engine|options|errors)/.test(url)],
  ["the adapter (adapters/redis/)", ({ url }) => /\/dist\/adapters\//.test(url)],
  ["ioredis", ({ url }) => /\/node_modules\//.test(url)],
  ["timers", ({ url }) => /timers/.test(url)],
  ["the rest of Node", () => true],
];

const trio = await startServers(servers);
for (const name of ["bare fan-out", "quorum-lock"]) {
  const subject = await createSubject(
    name,
    trio.list.map(({ port }) => port),
  );
  await measure(subject, { cycles: CYCLES / 4, concurrency, prefix: `warm:${name}` });
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.start");
  const run = await measure(subject, { cycles: CYCLES, concurrency, prefix: `profile:${name}` });
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  await subject.close();
  console.log(`${name}: ${run.cpu.toFixed(0)} µs of processor time per cycle`);
  for (const [group, micros] of byGroup(profile))
    console.log(`| ${group} | ${(micros / CYCLES).toFixed(1)} |`);
}
await trio.stop();
process.exit(0);

function byGroup({ nodes, samples, timeDeltas }) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const sums = new Map(GROUPS.map(([group]) => [group, 0]));
  samples.forEach((id, i) => {
    const frame = frames.get(id);
    if (frame.functionName === "(idle)" || frame.functionName === "(program)") return;
    const [group] = GROUPS.find(([, fits]) => fits(frame));
    sums.set(group, sums.get(group) + timeDeltas[i]);
  });
  return sums;
}
