/** The example of the adapter's page runs as it stands, but for the address. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startMariadb, type RunningSql } from "../servers/sql-server.mjs";

await describeWithServer("mariadb", "the page of the adapter", () => {
  let project: Installed;
  let server: RunningSql;
  beforeAll(async () => {
    server = await startMariadb();
    project = await install(["mysql2"]);
  });
  afterAll(async () => {
    await server.stop();
    await project.remove();
  });

  test("its example runs", async () => {
    const page = readFileSync(`${root}docs/adapters/mysql.md`, "utf8");
    const code = /^```js\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "";
    const here = code.replace(/mysql:\/\/app@127\.0\.0\.1:3306\/app/, server.url);
    expect(here).toContain(server.url);
    await project.write("example.mjs", here);
    expect(await project.run(process.execPath, ["example.mjs"])).toMatch(/^reporting with token \d+\n$/);
  });
});
