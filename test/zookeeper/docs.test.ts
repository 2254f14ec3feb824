/** The page of the adapter: its example, and the options that it names. */
import { describe, expect } from "vitest";
import { zookeeper } from "../../src/adapters/zookeeper.js";
import { runDocsExample } from "../package/docs-example.ts";
import { describeWithServer } from "../servers/needs.ts";
import { createClient, test } from "./kit.ts";

await describeWithServer("zookeeper", "docs/adapters/zookeeper.md", () => {
  test("has an example that runs as it stands, but for the addresses, and ends", async ({ zooServer }) => {
    const servers = await Promise.all([zooServer(), zooServer(), zooServer()]);
    const printed = await runDocsExample({
      page: "docs/adapters/zookeeper.md",
      packages: ["node-zookeeper-client"],
      addresses: /\w\.internal:2181/g,
      by: servers.map(({ port }) => `127.0.0.1:${port}`),
    });
    expect(printed).toMatch(/^reporting with token \d+\n$/);
  });
});

describe("the options of zookeeper()", () => {
  const refused = (call: () => unknown, words: RegExp): void => {
    expect(call).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringMatching(words) }),
    );
  };
  const client = createClient("a.internal:2181,b.internal:2181/app");

  test("are refused where they break their rule", () => {
    refused(() => zookeeper({} as never), /zookeeper\(client\) must be a client of node-zookeeper-client/);
    refused(() => zookeeper(undefined as never), /zookeeper\(client\)/);
    refused(() => zookeeper(client, { prefix: "a/b" }), /prefix/);
    refused(() => zookeeper(client, { prefix: "zookeeper" }), /prefix/);
    refused(() => zookeeper(client, { acl: [] }), /acl/);
    refused(() => zookeeper(client, { acl: [{ id: {} }] }), /acl/);
    refused(() => zookeeper(client, { requestTimeoutMs: 1.5 }), /requestTimeoutMs/);
    refused(() => zookeeper(client, { name: "" }), /name/);
    refused(() => zookeeper(client, { durable: true } as never), /one of the options of zookeeper\(\)/);
  });

  test("name the backend after its connection string", () => {
    expect(zookeeper(client).name).toBe("a.internal:2181,b.internal:2181/app");
  });
});
