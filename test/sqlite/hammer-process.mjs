// A process that takes and gives back one lock of a file as fast as it can, together with others. Prints what it saw as JSON.
import { randomBytes } from "node:crypto";
import { closeSync, openSync, unlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "libsql";
import { sqlite } from "../../dist/adapters/sqlite.js";

const [, , path, forMs, synchronous] = process.argv;
const client = new Database(path);
const session = sqlite(client, { synchronous }).open({
  backends: 1,
  quorum: 1,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  quarantineMs: 1_000,
  tokenRetentionMs: 3_600_000,
  restartGuard: "off",
});
const seen = { tokens: [], held: 0, faults: [], overlaps: 0, longestMs: 0 };

async function timed(promise) {
  const from = performance.now();
  try {
    return await promise;
  } catch (error) {
    seen.faults.push(error.message);
    return undefined;
  } finally {
    seen.longestMs = Math.max(seen.longestMs, performance.now() - from);
  }
}

const until = performance.now() + Number(forMs);
while (performance.now() < until) {
  const owner = randomBytes(16).toString("hex");
  const proposal = BigInt(Date.now()) * 1000n;
  const reply = await timed(session.acquire({ key: "k", owner, ttlMs: 30_000, proposal }));
  if (reply?.kind === "granted") {
    seen.tokens.push(reply.fence.toString());
    try {
      closeSync(openSync(`${path}.inside`, "wx"));
      await sleep(0);
      unlinkSync(`${path}.inside`);
    } catch {
      seen.overlaps++;
    }
    // What is owed, however long the file is busy: nobody else could go on.
    while ((await timed(session.release("k", owner))) === undefined) await sleep(10);
  } else {
    seen.held++;
  }
  await sleep(Math.random() * 2);
}
await session.close();
client.close();
process.stdout.write(JSON.stringify(seen));
