import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startMemcached } from "../servers/start-memcached.ts";

await describeWithServer("memcached-1.6.38", "the example of docs/adapters/memcached.md", () => {
  let project: Installed;
  let servers: readonly RunningServer[] = [];
  beforeAll(async () => {
    servers = await Promise.all([0, 1, 2].map(() => startMemcached("memcached-1.6.38")));
    project = await install(["memjs"]);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await project.remove();
  });

  test("runs as it stands, but for the ports", async () => {
    const page = readFileSync(`${root}docs/adapters/memcached.md`, "utf8");
    const code = /^```js\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "";
    const ports = servers.map(({ port }) => port);
    const here = code.replace("[11211, 11212, 11213]", JSON.stringify(ports));
    expect(here).not.toBe(code);
    await project.write("example.mjs", here);
    expect(await project.run(process.execPath, ["example.mjs"])).toMatch(/^reporting with token \d+\n$/);
  });
});
