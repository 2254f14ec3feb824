/** The example of the adapter's page runs as it stands, but for the address. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { install, root, type Installed } from "../package/installed.ts";
import { describeWithServer } from "../servers/needs.ts";
import { startPostgres, type RunningSql } from "../servers/sql-server.mjs";

await describeWithServer("postgres", "the page of the adapter", () => {
  let project: Installed;
  let server: RunningSql;
  beforeAll(async () => {
    server = await startPostgres();
    project = await install(["pg"]);
  });
  afterAll(async () => {
    await server.stop();
    await project.remove();
  });

  test("its example runs", async () => {
    const page = readFileSync(`${root}docs/adapters/postgres.md`, "utf8");
    const code = /^```js\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? "";
    const here = code.replace(/postgres:\/\/app@127\.0\.0\.1:5432\/app/, server.url);
    expect(here).toContain(server.url);
    await project.write("example.mjs", here);
    expect(await project.run(process.execPath, ["example.mjs"])).toMatch(/^reporting with token \d+\n$/);
  });
});
