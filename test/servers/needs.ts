// Tests that need a real server: in CI its absence is a failure, elsewhere a skip that says how to get it.
import { describe, test } from "vitest";
import { isCi, resolveServer, type ServerName } from "../../scripts/servers.mjs";

const told = new Set<ServerName>();

/**
 * Like `describe`, for tests of a real server: `await describeWithServer("redis-7", "what it does", (server) => { test(…) })` at the top level of
 * a test file. Finding the server, which may take seconds the first time, happens before the tests are collected and is in nobody's time limit.
 */
export async function describeWithServer(
  name: ServerName,
  title: string,
  define: (server: ServerName) => void,
): Promise<void> {
  const found = await resolveServer(name);
  const fullTitle = `${title} [${name}]`;
  if (!("missing" in found)) {
    describe(fullTitle, () => define(name));
    return;
  }
  if (isCi()) {
    describe(fullTitle, () => {
      test("has the server it needs", () => {
        throw new Error(`in CI a missing server is a failure: ${found.missing}`);
      });
    });
    return;
  }
  if (!told.has(name)) console.warn(`skipped: ${found.missing}`);
  told.add(name);
  describe.skip(fullTitle, () => define(name));
}
