/** The page of the adapter: its example, and the options that it names. */
import { MongoClient } from "mongodb";
import { describe, expect } from "vitest";
import { mongodb } from "../../src/adapters/mongodb.js";
import { runDocsExample } from "../package/docs-example.ts";
import { describeWithServer } from "../servers/needs.ts";
import { test } from "./kit.ts";

await describeWithServer("mongodb", "docs/adapters/mongodb.md", () => {
  test("has an example that runs as it stands, but for the addresses, and ends", async ({ mongoServer }) => {
    const servers = await Promise.all([mongoServer(), mongoServer(), mongoServer()]);
    const printed = await runDocsExample({
      page: "docs/adapters/mongodb.md",
      packages: ["mongodb"],
      addresses: /\w\.internal:27017/g,
      by: servers.map(({ port }) => `127.0.0.1:${port}`),
    });
    expect(printed).toMatch(/^reporting with token \d+\n$/);
  });
});

describe("the options of mongodb()", () => {
  const refused = (call: () => unknown, words: RegExp): void => {
    expect(call).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringMatching(words) }),
    );
  };
  const client = new MongoClient("mongodb://user:secret@a.internal:27017,b.internal:27018/?replicaSet=r");

  test("are refused where they break their rule, and no secret is shown", () => {
    refused(() => mongodb({} as never), /mongodb\(client\) must be a MongoClient/);
    refused(() => mongodb(undefined as never), /mongodb\(client\)/);
    refused(() => mongodb("mongodb://a:secret@b" as never), /mongodb\(client\)/);
    refused(() => mongodb(client, { database: "a/b" }), /database/);
    refused(() => mongodb(client, { collection: "a.b" }), /collection/);
    refused(() => mongodb(client, { requestTimeoutMs: 0 }), /requestTimeoutMs/);
    refused(() => mongodb(client, { name: "" }), /name/);
    refused(() => mongodb(client, { durable: true } as never), /one of the options of mongodb\(\)/);
  });

  test("name the backend after the hosts of the client", () => {
    expect(mongodb(client).name).toBe("a.internal:27017,b.internal:27018");
  });
});
