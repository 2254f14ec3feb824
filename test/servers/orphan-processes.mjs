// Starts a server of several processes, freezes it, says which they are and waits to be killed.
// @ts-check
import { treeOf } from "./process-tree.mjs";
import { startPostgres } from "./sql-server.mjs";

const server = await startPostgres();
await server.freeze();
console.log(JSON.stringify({ dir: server.dir, pids: treeOf(server.pid) }));
setInterval(() => undefined, 60_000);
