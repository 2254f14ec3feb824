import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startRedises, type RunningRedis } from "../servers/redis-server.ts";

await describeWithServer("redis-7", "the README's example over Redis", () => {
  let project: Installed;
  let servers: RunningRedis[] = [];
  beforeAll(async () => {
    servers = await startRedises(3);
    project = await install(["ioredis"]);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await project.remove();
  });

  test("runs as it stands, but for the ports", async () => {
    const readme = readFileSync(`${root}README.md`, "utf8");
    const code = [...readme.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((block) => block[1] ?? "");
    const overRedis = code.find((block) => block.includes("quorum-lock/redis")) ?? "";
    const ports = servers.map(({ port }) => port);
    const here = overRedis.replaceAll(/127\.0\.0\.1:63\d\d/g, () => `127.0.0.1:${ports.shift()}`);
    expect(ports).toEqual([]);
    await project.write("example.mjs", here);
    expect(await project.run(process.execPath, ["example.mjs"])).toMatch(/^reporting with token \d+\n$/);
  });
});
