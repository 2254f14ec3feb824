import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startEtcd } from "../servers/start-etcd.ts";

await describeWithServer("etcd-3.5", "the example of docs/adapters/etcd.md", () => {
  let project: Installed;
  let server: RunningServer;
  beforeAll(async () => {
    server = await startEtcd("etcd-3.5");
    project = await install(["etcd3"]);
  });
  afterAll(async () => {
    await server.stop();
    await project.remove();
  });

  test("runs as it stands, but for the port", async () => {
    const page = readFileSync(`${root}docs/adapters/etcd.md`, "utf8");
    const code = /^```js\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "";
    expect(code).toContain("127.0.0.1:2379");
    await project.write("example.mjs", code.replaceAll("127.0.0.1:2379", `127.0.0.1:${server.port}`));
    expect(await project.run(process.execPath, ["example.mjs"])).toMatch(/^reporting with token \d+\n$/);
  });
});
