/** The same adapter through node:sqlite, on a Node that has it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import { newestNode } from "../../scripts/newest-node.mjs";
import { test } from "./kit.ts";

test("a locker over node:sqlite: grants, refuses, hands over, lists, waits for a writer", async ({
  path,
}) => {
  const node = await newestNode();
  const program = fileURLToPath(new URL("node-sqlite-process.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(node.path, [program, path], { timeout: 20_000 });
  expect(JSON.parse(stdout)).toEqual({
    held: "LOCK_HELD",
    released: "released",
    increasing: true,
    listed: ["report 🔒\0"],
    server: expect.stringMatching(/^SQLite 3/) as unknown,
    lifted: true,
    secondReleased: "released",
  });
}, 400_000);
