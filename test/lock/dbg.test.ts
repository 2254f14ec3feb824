import { it } from "vitest";
import { createStage, type Client } from "./stage.js";
it("dbg", async () => {
  for (const count of [2, 5, 30]) {
  const stage = createStage();
  const clients = Array.from({ length: count }, () => { const c = stage.client({ ttlMs: 10_000, waitMs: 60_000 }); for (const l of c.links) l.setDelay({ toMs: [1,1], backMs: [1,1] }); return c; }) as Client[];
  for (const client of clients) {
    const [first = client] = clients.filter((o) => o !== client);
    const lease = await stage.wait(first.locker.acquire("warm-up"));
    const next = client.locker.acquire("warm-up"); await stage.time.advance(50); await stage.wait(lease.release()); await stage.wait((await stage.wait(next)).release());
  }
  const hist = new Map<number, number>(); const t0 = stage.time.trueMs(); const waits: number[]=[];
  for (const c of clients) c.locker.on("acquired", (e) => { hist.set(e.attempts, (hist.get(e.attempts) ?? 0) + 1); waits.push(e.waitedMs); });
  await stage.wait(Promise.all(clients.map(async ({ locker }) => { for (let i = 0; i < 10; i++) await (await locker.acquire("k")).release(); })));
  console.log(count, "ms per hold", (stage.time.trueMs()-t0)/(10*count), [...hist].sort((a,b)=>a[0]-b[0]).map(x=>x.join(":")).join(" "));
  }
});
