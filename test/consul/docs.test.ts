/** The page of the adapter: its example, and the options that it names. */
import { describe, expect } from "vitest";
import { consul } from "../../src/adapters/consul.js";
import { runDocsExample } from "../package/docs-example.ts";
import { describeWithServer } from "../servers/needs.ts";
import { addressOf, test } from "./kit.ts";

await describeWithServer("consul", "docs/adapters/consul.md", () => {
  test("has an example that runs as it stands, but for the addresses", async ({ consulServer }) => {
    const servers = await Promise.all([consulServer(), consulServer(), consulServer()]);
    const printed = await runDocsExample({
      page: "docs/adapters/consul.md",
      packages: [],
      addresses: /http:\/\/\w\.internal:8500/g,
      by: servers.map(addressOf),
    });
    expect(printed).toMatch(/^reporting with token \d+\n$/);
  });
});

describe("the options of consul()", () => {
  const refused = (call: () => unknown, words: RegExp): void => {
    expect(call).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringMatching(words) }),
    );
  };

  test("are refused where they break their rule, and no secret is shown", () => {
    refused(() => consul("nowhere"), /consul\(address\) must be an http or https URL/);
    refused(() => consul("tcp://a:1"), /consul\(address\)/);
    refused(() => consul(undefined as never), /consul\(address\)/);
    refused(() => consul("http://user:secret@a:8500"), /^(?!.*secret).*consul\(address\)/);
    refused(() => consul("http://a:8500/?token=secret"), /^(?!.*secret).*consul\(address\)/);
    refused(() => consul("http://a:8500", { token: "two words" }), /^(?!.*words).*token/);
    refused(() => consul("http://a:8500", { prefix: "a/b" }), /prefix/);
    refused(() => consul("http://a:8500", { requestTimeoutMs: 0 }), /requestTimeoutMs/);
    refused(() => consul("http://a:8500", { fetch: 1 as never }), /fetch/);
    refused(() => consul("http://a:8500", { name: "" }), /name/);
    refused(
      () => consul("http://a:8500", { Token: "x" } as never),
      /must be one of the options of consul\(\)/,
    );
  });

  test("name the backend after its host, and leave a path in front of Consul's alone", async ({
    session,
  }) => {
    const asked: string[] = [];
    const backend = consul("http://a.internal:8500/behind/a/proxy/", {
      fetch: async (url) => {
        asked.push(url);
        return Response.json({ Results: [] }, { headers: { date: new Date().toUTCString() } });
      },
    });
    expect(backend.name).toBe("a.internal:8500");
    await session(backend).inspect("k");
    expect(asked).toEqual(["http://a.internal:8500/behind/a/proxy/v1/txn?consistent"]);
  });
});
