/** What the kinds share that run on a server of test/servers as it is, with its own clock. */
import type { ServerName } from "../../../scripts/servers.mjs";
import { startServer } from "../../servers/start-server.ts";
import type { ChaosServer } from "../kind.ts";

/** Started, and restarted in the words of this folder. */
export async function started(name: ServerName): Promise<ChaosServer> {
  const server = await startServer(name);
  return {
    port: server.port,
    version: server.version,
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    kill: () => server.kill(),
    restart: ({ empty }) => server.restart(empty ? "lost" : "kept"),
    stop: () => server.stop(),
  };
}
