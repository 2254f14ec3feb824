import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { install, type Installed } from "./installed.ts";

const CONSUMER = `
import { createLocker, type Lease } from "quorum-lock";
import { memory } from "quorum-lock/memory";
import { redis } from "quorum-lock/redis";
import { conformanceCases } from "quorum-lock/testing";
const locker = createLocker({ backends: [memory()] });
export const names: readonly string[] = conformanceCases.map((each) => each.name);
export const token: Promise<bigint> = locker.withLock("k", (lease: Lease) => lease.token);
export const make: typeof redis = redis;
`;
const STRICT = ["--strict", "--noEmit", "--skipLibCheck", "false", "--types", "node", "--target", "es2023"];

describe("the package, installed without any client", () => {
  let project: Installed;
  beforeAll(async () => {
    project = await install(["typescript", "@types/node", "undici-types"]);
  });
  afterAll(() => project.remove());

  test("can be imported, and so can every entry point", async () => {
    await project.write(
      "all.mjs",
      `for (const entry of ["quorum-lock", "quorum-lock/redis", "quorum-lock/memory", "quorum-lock/testing",
         "quorum-lock/noop", "quorum-lock/adapter",
         "quorum-lock/guard/postgres", "quorum-lock/guard/mysql", "quorum-lock/guard/redis", "quorum-lock/guard/http"]) {
         const names = Object.keys(await import(entry));
         if (names.length === 0) throw new Error(entry + " exports nothing");
       }
       console.log("imported");`,
    );
    expect(await project.run(process.execPath, ["all.mjs"])).toBe("imported\n");
  });

  test("can be loaded with require()", async () => {
    await project.write("all.cjs", `console.log(typeof require("quorum-lock").createLocker);`);
    expect(await project.run(process.execPath, ["all.cjs"])).toBe("function\n");
  });

  test("has types that resolve from ES modules under NodeNext", async () => {
    await project.write("consumer.mts", CONSUMER);
    await project.tsc(["--module", "nodenext", ...STRICT, "consumer.mts"]);
  });

  test("has types that resolve with require() under NodeNext", async () => {
    await project.write(
      "consumer.cts",
      `import quorumLock = require("quorum-lock");
       export const code: quorumLock.ErrorCode = new quorumLock.ClosedError().code;`,
    );
    await project.tsc(["--module", "nodenext", ...STRICT, "consumer.cts"]);
  });

  test("has types that resolve for bundlers", async () => {
    await project.write("bundled.ts", CONSUMER);
    await project.tsc(["--module", "esnext", "--moduleResolution", "bundler", ...STRICT, "bundled.ts"]);
  });

  test("a mistake in using them is found", async () => {
    await project.write("wrong.mts", CONSUMER.replace("Promise<bigint>", "Promise<string>"));
    await expect(project.tsc(["--module", "nodenext", ...STRICT, "wrong.mts"])).rejects.toThrow("TS2322");
  });

  test("brings the command", async () => {
    const version = await project.run(process.execPath, [
      "node_modules/quorum-lock/dist/cli/main.js",
      "--version",
    ]);
    expect(version).toMatch(/^\S*\d+\.\d+\.\d+\n$/);
  });
});
