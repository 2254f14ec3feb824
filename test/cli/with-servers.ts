/** Tests of commands that start servers for themselves; those are gone with the test. */
import type { ServerName } from "../../scripts/servers.mjs";
import type { RunningServer } from "../servers/running-server.ts";
import { startServer, type StartOptions } from "../servers/start-server.ts";
import { test as plainTest } from "./running-cli.ts";

export interface Servers {
  readonly started: (name: ServerName, options?: StartOptions) => Promise<RunningServer>;
}

export const test = plainTest.extend<Servers>({
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  started: async ({}, use) => {
    const servers: RunningServer[] = [];
    await use(async (name, options = {}) => {
      const server = await startServer(name, options);
      servers.push(server);
      return server;
    });
    await Promise.all(servers.map((server) => server.stop()));
  },
});
