/** What the tests of this folder share: servers, backends on them, and requests that are held up on their way. */
import { afterAll } from "vitest";
import { consul, type ConsulBackendOptions, type FetchLike } from "../../src/adapters/consul.js";
import type { Backend } from "../../src/backend.js";
import { test as plainTest } from "../redis/kit.ts";
import type { RunningServer } from "../servers/running-server.ts";
import { startConsul } from "../servers/start-consul.ts";

export interface ConsulKit {
  /** `hcl` is added to its configuration. */
  readonly consulServer: (options?: {
    readonly port?: number;
    readonly hcl?: string;
  }) => Promise<RunningServer>;
  /** One server for all tests of a file, which neither empty nor stop it, and a prefix of the test's own. */
  readonly place: Place;
}

/** A server and a prefix on it. */
export interface Place {
  readonly port: number;
  readonly prefix: string;
}

let places = 0;
let shared: Promise<RunningServer> | undefined;
afterAll(async () => {
  const server = await shared;
  await server?.stop();
});

export const test = plainTest.extend<ConsulKit>({
  consulServer: async ({ after }, use) => {
    await use(async ({ port, hcl } = {}) => {
      const started = await startConsul({
        ...(port === undefined ? {} : { port }),
        args: hcl === undefined ? [] : ["-hcl", hcl],
      });
      after(() => started.stop());
      return started;
    });
  },
  // oxlint-disable-next-line no-empty-pattern -- vitest demands a pattern here
  place: async ({}, use) => {
    shared ??= startConsul();
    const { port } = await shared;
    await use({ port, prefix: `place${++places}` });
  },
});

export function addressOf({ port }: { readonly port: number }): string {
  return `http://127.0.0.1:${port}`;
}

export function backendOn(
  server: { readonly port: number; readonly prefix?: string },
  options: ConsulBackendOptions = {},
): Backend {
  const { prefix } = server;
  return consul(addressOf(server), { ...(prefix === undefined ? {} : { prefix }), ...options });
}

/** Consul's own interface, asked by somebody else. */
export async function ask(
  server: { readonly port: number },
  method: "GET" | "PUT" | "DELETE",
  path: string,
  more: { readonly body?: string; readonly token?: string } = {},
): Promise<{ readonly status: number; readonly text: string }> {
  const { body, token } = more;
  const response = await fetch(`${addressOf(server)}${path}`, {
    method,
    ...(body === undefined ? {} : { body }),
    headers: token === undefined ? {} : { "X-Consul-Token": token },
  });
  return { status: response.status, text: await response.text() };
}

/** The names of all keys that begin with it. */
export async function keysOn(server: { readonly port: number }, begin: string): Promise<readonly string[]> {
  const { status, text } = await ask(server, "GET", `/v1/kv/${begin}?keys&consistent`);
  return status === 404 ? [] : (JSON.parse(text) as string[]);
}

/** A fetch with a gate: what writes a record waits there while `meanwhile` runs, once. */
export function heldUp(meanwhile: () => Promise<void>): FetchLike {
  let held = false;
  return async (url, init) => {
    if (!held && init.body?.includes("/keys/") === true && init.body.includes('"cas"')) {
      held = true;
      await meanwhile();
    }
    return fetch(url, init);
  };
}
