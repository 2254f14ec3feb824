// Uses the backend through node:sqlite, which the Node that runs the tests may not have. Prints what came of it as JSON.
import { DatabaseSync } from "node:sqlite";
import { sqlite } from "../../dist/adapters/sqlite.js";
import { createLocker } from "../../dist/index.js";

const [, , path] = process.argv;
const database = new DatabaseSync(path);
const backend = sqlite(database);
const [one, other] = [1, 2].map(() => createLocker({ backends: [backend] }));
const first = await one.acquire("report 🔒\0");
await first.extend();
const held = await other.acquire("report 🔒\0", { waitMs: 0 }).catch((error) => error.code);
const waiting = other.acquire("report 🔒\0", { waitMs: 5_000 });
const released = await first.release();
const second = await waiting;

const session = backend.open({
  backends: 1,
  quorum: 1,
  maxTtlMs: 60_000,
  clockSkewMs: 1_000,
  quarantineMs: 62_000,
  tokenRetentionMs: 3_600_000,
  restartGuard: "auto",
});
const listed = await session.list({ prefix: "report", cursor: undefined, pageSize: 10 });
const { server } = await session.examine();
// Another process in a long write.
const writer = new DatabaseSync(path);
writer.exec("BEGIN IMMEDIATE");
const busy = session.lift("report 🔒\0", second.token + 1n).catch((error) => error.code);
setTimeout(() => writer.exec("COMMIT"), 100);
const lifted = await busy;
process.stdout.write(
  JSON.stringify({
    held,
    released,
    increasing: second.token > first.token,
    listed: listed.keys,
    server,
    lifted: lifted === second.token + 1n,
    secondReleased: await second.release(),
  }),
);
await session.close();
await one.close();
await other.close();
writer.close();
database.close();
